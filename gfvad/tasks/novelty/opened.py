"""A trained model of graph novelty, calibrated on held-out normal units: what scores videos.

What it is calibrated by is kept beside the run, in novelty-STEP.json, so that a run scores videos
where its training set is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from gfvad.base.files import lies_at
from gfvad.base.progress import Progress
from gfvad.base.seals import read_sealed, write_sealed
from gfvad.base.types import DataError
from gfvad.data.objects.videos import ObjectVideos
from gfvad.measure import false_alarms
from gfvad.measure.alarms import GAP
from gfvad.settings.config import flatten
from gfvad.tasks.job import require_checkpoints
from gfvad.tasks.novelty.model import GraphNovelty, build_model, split_term
from gfvad.tasks.novelty.score import (
    Calibration,
    FrameScore,
    Reader,
    calibrate,
    evenly,
    frame_scores,
    new_parts,
    weights_of,
)
from gfvad.tasks.novelty.training import Training
from gfvad.train import loop
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.optim import make_optimiser
from gfvad.train.parallel import Mapper
from gfvad.train.state import TrainState, shapes_from

PLAIN = SimpleNamespace(reach=0, prior=0.0)  # nothing passes along tracks


@dataclass
class OpenedModel:
    """All that scoring needs. Columns are the terms of the model and, for comparison, each feature
    set alone and all of them in one relation."""

    config: ConfigDict
    step: int
    state: TrainState  # of the columns
    reader: Reader
    columns: tuple[tuple[str, ...], ...]
    centre: np.ndarray  # float64 [columns]
    spread: np.ndarray
    scale: float  # of the weighted sum of the terms
    cameras: Sequence[str]
    threshold: float
    threshold_rule: str
    # false alarms on normal video that such a threshold was not made from; '' where not measured
    measured: str = ""

    @property
    def terms(self) -> int:
        """How many columns are terms of the model; the first ones."""
        return len(self.config.model.terms)

    def calibration(self) -> Calibration:
        """Of the model's own terms."""
        return self.of_columns(range(self.terms), weights_of(self.state)[: self.terms], self.scale)

    def fit(self) -> dict[str, dict[str, float]]:
        """The fitted numbers: scale of each feature set (standard deviations that count as one,
        before the softness), share of each term in the score."""
        params, config = jax.device_get(self.state.params), self.config
        scales = 1 / (np.asarray(config.model.scales) * np.exp(np.asarray(params["scale"])))
        weight = self.calibration().weight
        return {
            "scales": dict(zip(config.data.modalities, map(float, scales), strict=True)),
            "weights": dict(zip(config.model.terms, map(float, weight), strict=True)),
        }

    def of_columns(
        self, columns: Sequence[int], weights: np.ndarray | None = None, scale: float = 1.0
    ) -> Calibration:
        """Of some columns, each of which counts the same where no weights are given."""
        chosen = list(columns)
        weight = np.ones(len(chosen)) if weights is None else np.asarray(weights)
        return Calibration(self.centre[chosen], self.spread[chosen], weight / weight.sum(), scale)

    def read(
        self,
        videos: ObjectVideos,
        index: int,
        parts: np.ndarray | None = None,
        advance: Callable[[int], object] = lambda units: None,
    ) -> np.ndarray:
        """float64 [n, columns] the novelty of the boxes of a video; parts: of a training video."""
        count = len(videos.tracks[index].frame)
        if not count:
            return np.zeros((0, len(self.columns)))
        camera = self.cameras.index(videos.cameras[index])
        return self.reader.read(
            self.state,
            videos.features(index),
            np.full(count, camera, np.int32),
            new_parts(count) if parts is None else parts,
            advance,
        )

    def score(self, videos: ObjectVideos, index: int) -> FrameScore:
        """Scores of the frames of a video."""
        return self.score_of(self.read(videos, index), videos, index)

    def score_of(self, novelty: np.ndarray, videos: ObjectVideos, index: int) -> FrameScore:
        """The same from the novelty of its boxes [n, columns]."""
        own, tracks, frames = novelty[:, : self.terms], videos.tracks[index], videos.lengths[index]
        return frame_scores(own, tracks, frames, self.calibration(), self.config.score)


def all_columns(config: ConfigDict) -> tuple[tuple[str, ...], ...]:
    """The terms of a config, each feature set alone, and all of them."""
    sets = tuple(config.data.modalities)
    others = [(name,) for name in sets] + [sets]
    return (*(split_term(t) for t in config.model.terms), *dict.fromkeys(others))


def with_columns(model: GraphNovelty, state: TrainState, config: ConfigDict):
    """(the model of all columns, its state)."""
    columns = all_columns(config)
    weight = np.zeros(len(columns), np.float32)
    weight[: len(config.model.terms)] = np.asarray(state.params["weight"])
    wider = model.clone(terms=columns)
    return wider, state._replace(params={**state.params, "weight": weight}, opt_state=())


def restore(config: ConfigDict, workdir: Path, which: str, model: GraphNovelty, identity: Any = ""):
    """A checkpoint of a run."""
    transform = make_optimiser(config.optim, config.train.steps).transform
    one = {name: np.zeros((1, width), np.float32) for name, width in model.widths}
    index = np.zeros(1, np.int32)
    shapes = shapes_from(model, transform, (one, index, index))
    with Checkpoints(workdir / loop.CHECKPOINTS, config, identity) as kept:
        return kept.restore(which, shapes)


def calibrated(
    config: ConfigDict, workdir: Path, which: str, training: Training, say: Callable[[str], None]
) -> OpenedModel:
    """The model of a checkpoint, calibrated on its training videos, each compared with the others;
    what it is calibrated by is kept."""
    require_checkpoints(workdir)
    restored = restore(config, workdir, which, training.model, training.identity)
    model, state = with_columns(training.model, restored.state, config)
    columns = len(model.terms)
    found = OpenedModel(
        config,
        restored.step,
        state,
        Reader(training.mapper, model, config.data.eval_batch_size),
        model.terms,
        np.zeros(columns),
        np.ones(columns),
        1.0,
        training.units.cameras,
        0.0,
        "",
    )
    videos = training.videos
    counts = [len(t.frame) for t in videos.tracks]
    chosen = evenly(counts, config.score.calibration_units)
    with Progress(sum(counts[i] for i in chosen), "calibrating", "units") as progress:
        novelty = [found.read(videos, i, videos.parts[i], progress.advance) for i in chosen]
    every = np.concatenate(novelty)
    weights = weights_of(state)[: found.terms]
    fitted = calibrate(every, np.ones(columns))
    found.centre, found.spread = fitted.centre, fitted.spread
    found.scale = calibrate(every[:, : found.terms], weights).scale
    scores = [found.score_of(n, videos, i).score for n, i in zip(novelty, chosen, strict=True)]
    asked = config.data.fps, config.score.false_alarms, GAP
    rate = false_alarms.for_rate(scores, *asked)
    found.threshold, found.threshold_rule = rate
    found.measured = str(false_alarms.crossed(scores, *asked))
    keep(workdir, found)
    say(f"threshold: {rate.threshold:.3g}, {rate.rule}; measured: {found.measured}")
    return found


def file_of(workdir: Path, step: int) -> Path:
    """Where a checkpoint's calibration is kept."""
    return workdir / f"novelty-{step}.json"


def score_settings(config: ConfigDict) -> dict[str, Any]:
    """What a calibration depends on besides the checkpoint."""
    names = ("score.", "model.", "data.fps")
    return {
        k: list(v) if isinstance(v, tuple) else v
        for k, v in flatten(config).items()
        if k.startswith(names)
    }


def keep(workdir: Path, model: OpenedModel) -> None:
    """Writes the calibration of a model."""
    write_sealed(
        file_of(workdir, model.step),
        {
            "centre": model.centre.tolist(),
            "spread": model.spread.tolist(),
            "scale": model.scale,
            "bank": len(model.state.constants["bank"]["part"]),
            "widths": dict(model.reader.widths),
            "cameras": list(model.cameras),
            "threshold": model.threshold,
            "rule": model.threshold_rule,
            "measured": model.measured,
            "settings": score_settings(model.config),
        },
    )


def open_model(
    workdir: Path, which: str, mapper: Mapper, config: ConfigDict, compared: bool
) -> OpenedModel:
    """The model of a checkpoint, as it was calibrated; compared: with the columns that stand beside
    a headline, not its terms alone. Raises DataError where it was not calibrated, or with other
    settings."""
    require_checkpoints(workdir)
    with Checkpoints(workdir / loop.CHECKPOINTS, config) as kept:
        step = kept.step_of(which)
    path = file_of(workdir, -1 if step is None else step)
    again = "evaluate the run once where its training videos are (--mode=evaluate)"
    if not lies_at(path):
        raise DataError(
            f"{path}: not found; expected the calibration of checkpoint {which!r}: {again}"
        )
    told: Mapping[str, Any] = read_sealed(path, "a calibration of graph novelty")
    if told["settings"] != score_settings(config):
        raise DataError(f"{path}: made with other settings of the score; {again}")
    model = build_model(config, told["widths"], told["bank"])
    restored = restore(config, workdir, which, model)
    state = restored.state._replace(opt_state=())
    if compared:
        model, state = with_columns(model, state, config)
    columns = len(model.terms)
    return OpenedModel(
        config,
        restored.step,
        state,
        Reader(mapper, model, config.data.eval_batch_size),
        model.terms,
        np.array(told["centre"])[:columns],
        np.array(told["spread"])[:columns],
        float(told["scale"]),
        told["cameras"],
        float(told["threshold"]),
        told["rule"],
        told.get("measured", ""),
    )
