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
from gfvad.data.unit_videos import UnitVideos
from gfvad.measure import false_alarms
from gfvad.settings.config import flatten
from gfvad.settings.kinds import earlier
from gfvad.tasks.job import require_checkpoints
from gfvad.tasks.novelty.known import Known, KnownStates
from gfvad.tasks.novelty.model import GraphNovelty, build_model, with_columns
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

# of a kept calibration, whichever version wrote it
NEEDED = {"centre", "spread", "scale", "bank", "widths", "cameras", "threshold", "rule", "settings"}
PLAIN = SimpleNamespace(
    reach=0, prior=0.0, beside=0.0, alike=0.0, highest=0.0
)  # nothing passes along tracks


@dataclass
class OpenedModel:
    """All that scoring needs. Columns are the terms of the model and, for comparison, each feature
    set alone and all of them in one relation."""

    config: ConfigDict
    step: int
    state: TrainState  # of the columns
    reader: Reader
    columns: tuple[tuple[str, ...], ...]
    centre: np.ndarray  # float64 [groups, columns]
    spread: np.ndarray
    scale: float  # of the weighted sum of the terms
    cameras: Sequence[str]
    threshold: float
    threshold_rule: str
    # false alarms on normal video that such a threshold was not made from; '' where not measured
    measured: str = ""
    # threshold of scores whose messages come from earlier frames alone, and its rule; where known
    causal: tuple[float, str] | None = None
    known: Known | None = None  # what its state was compared with already

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
        centre, spread = self.centre[:, chosen], self.spread[:, chosen]
        return Calibration(centre, spread, weight / weight.sum(), scale)

    def read(
        self,
        videos: UnitVideos,
        index: int,
        parts: np.ndarray | None = None,
        advance: Callable[[int], object] = lambda units: None,
    ) -> np.ndarray:
        """float64 [n, columns] the novelty of the units of a video; parts: of a training video."""
        count = len(videos.tracks[index].frame)
        if not count:
            return np.zeros((0, len(self.columns)))

        def compared() -> np.ndarray:
            return self.reader.read(
                self.state,
                videos.features(index),
                videos.code(index, self.cameras, self.reader.several),
                new_parts(count) if parts is None else parts,
                advance,
            )

        if self.known is None:
            return compared()
        return self.known.novelty((id(videos), index, parts is None), compared)

    def score(self, videos: UnitVideos, index: int) -> FrameScore:
        """Scores of the frames of a video."""
        return self.score_of(self.read(videos, index), videos, index)

    def score_of(
        self, novelty: np.ndarray, videos: UnitVideos, index: int, past: bool = False
    ) -> FrameScore:
        """The same from the novelty of its units [n, columns]; past: as `frame_scores` has it."""
        own, units = novelty[:, : self.terms], videos.units(index)
        first = self.first_set(videos, index)
        return frame_scores(own, units, self.calibration(), self.config.score, past, first)

    def first_set(self, videos: UnitVideos, index: int) -> np.ndarray | None:
        """Of the units of a video, [n, D], where messages depend on it."""
        asked = self.config.score.beside > 0 and self.config.score.alike > 0
        return videos.features(index)[self.config.data.modalities[0]] if asked else None


def restore(config: ConfigDict, workdir: Path, which: str, model: GraphNovelty, identity: Any = ""):
    """A checkpoint of a run."""
    transform = make_optimiser(config.optim, config.train.steps).transform
    one = {name: np.zeros((1, width), np.float32) for name, width in model.widths}
    index = np.zeros(1, np.int32)
    shapes = shapes_from(model, transform, (one, index, index))
    with Checkpoints(workdir / loop.CHECKPOINTS, config, identity) as kept:
        return kept.restore(which, shapes)


def calibrated(
    config: ConfigDict,
    workdir: Path,
    which: str,
    training: Training,
    say: Callable[[str], None],
    known: KnownStates | None = None,
) -> OpenedModel:
    """The model of a checkpoint, calibrated on its training videos, each compared with the others;
    what it is calibrated by is kept. known: of runs on the same videos."""
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
        np.zeros((1, columns)),
        np.ones((1, columns)),
        1.0,
        training.units.cameras,
        0.0,
        "",
        known=known and known.of(state, model),
    )
    videos = training.videos
    counts = [len(t.frame) for t in videos.tracks]
    chosen = evenly(counts, config.score.calibration_units)
    with Progress(sum(counts[i] for i in chosen), "calibrating", "units") as progress:
        novelty = [found.read(videos, i, videos.parts[i], progress.advance) for i in chosen]
    every = np.concatenate(novelty)
    weights = weights_of(state)[: found.terms]
    group = np.concatenate([videos.units(i).group for i in chosen])
    fitted = calibrate(every, group, np.ones(columns))
    found.centre, found.spread = fitted.centre, fitted.spread
    found.scale = calibrate(every[:, : found.terms], group, weights).scale
    scores = [
        false_alarms.Normal(found.score_of(n, videos, i).score, videos.fps(i))
        for n, i in zip(novelty, chosen, strict=True)
    ]
    asked = config.score.false_alarms, config.score.alarm_gap
    rate = false_alarms.for_rate(scores, *asked)
    found.threshold, found.threshold_rule = rate
    found.measured = str(false_alarms.crossed(scores, *asked))
    streamed = [
        false_alarms.Normal(found.score_of(n, videos, i, past=True).score, videos.fps(i))
        for n, i in zip(novelty, chosen, strict=True)
    ]
    live = false_alarms.for_rate(streamed, *asked)
    found.causal = live.threshold, live.rule
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
    write_sealed(file_of(workdir, model.step), told_of(model))


def told_of(model: OpenedModel) -> dict[str, Any]:
    """All of a calibration, for JSON."""
    return {
        "centre": model.centre.tolist(),
        "spread": model.spread.tolist(),
        "scale": model.scale,
        "bank": model.reader.model.bank,
        "banks": model.reader.model.banks,
        "widths": dict(model.reader.model.widths),
        "cameras": list(model.cameras),
        "threshold": model.threshold,
        "rule": model.threshold_rule,
        "measured": model.measured,
        "causal": model.causal,
        "weights": weights_of(model.state)[: model.terms].tolist(),
        "settings": score_settings(model.config),
    }


def of_told(
    config: ConfigDict, step: int, state: TrainState, reader: Reader, told: Mapping[str, Any]
) -> OpenedModel:
    """The model that `told_of` tells of; its columns are those of the reader's model."""
    columns = len(reader.model.terms)
    causal = told.get("causal")
    return OpenedModel(
        config,
        step,
        state,
        reader,
        reader.model.terms,
        np.atleast_2d(told["centre"])[:, :columns],
        np.atleast_2d(told["spread"])[:, :columns],
        float(told["scale"]),
        told["cameras"],
        float(told["threshold"]),
        told["rule"],
        told.get("measured", ""),
        None if causal is None else (float(causal[0]), str(causal[1])),
    )


def name_of(model: OpenedModel) -> str:
    """'room, grey + texture, seed 0, step 100'."""
    config = model.config
    sets = " + ".join(config.data.modalities)
    return f"{config.data.dataset}, {sets}, seed {config.seed}, step {model.step}"


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
    if lacking := sorted(NEEDED - set(told)):
        raise DataError(f"{path}: damaged (lacks {', '.join(lacking)}); {again}")
    now = score_settings(config)
    if earlier({**told["settings"], "kind": config.kind}, now) != {**now, "kind": config.kind}:
        raise DataError(f"{path}: made with other settings of the score; {again}")
    model = build_model(config, told["widths"], told["bank"], told.get("banks", 1))
    restored = restore(config, workdir, which, model)
    state = restored.state._replace(opt_state=())
    if compared:
        model, state = with_columns(model, state, config)
    reader = Reader(mapper, model, config.data.eval_batch_size)
    return of_told(config, restored.step, state, reader, told)
