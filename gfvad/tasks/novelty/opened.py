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
from gfvad.base.seals import read_sealed, write_sealed
from gfvad.base.types import DataError
from gfvad.data.unit_videos import UnitVideos
from gfvad.settings.config import flatten
from gfvad.settings.kinds import earlier
from gfvad.tasks.job import require_checkpoints
from gfvad.tasks.novelty.known import Known
from gfvad.tasks.novelty.readers import built, reader_of
from gfvad.tasks.novelty.registry import comparator_of, is_comparator
from gfvad.tasks.novelty.score import (
    Calibration,
    FrameScore,
    Reader,
    frame_scores,
    new_parts,
    weights_of,
)
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
    beside: Known | None = None  # the same of the floors of a comparator

    @property
    def terms(self) -> int:
        """How many columns are terms of the model; the first ones."""
        return len((self.reader.model if self.compares else self.config.model).terms)

    @property
    def compares(self) -> bool:
        """Whether it is a comparator, not graph novelty."""
        return is_comparator(self.config)

    @property
    def weights(self) -> np.ndarray:
        """float64 [terms] what each counts."""
        if not self.compares:
            return weights_of(self.state)[: self.terms]
        counts = comparator_of(self.config).counts
        return np.array([counts.get(name, 1.0) for (name,) in self.columns[: self.terms]])

    def calibration(self) -> Calibration:
        """Of the model's own terms."""
        return self.of_columns(range(self.terms), self.weights, self.scale)

    def fit(self) -> dict[str, dict[str, float]]:
        """The fitted numbers: scale of each feature set (standard deviations that count as one,
        before the softness), share of each term in the score; of a comparator the shares alone."""
        config, weight = self.config, self.calibration().weight
        names = ["*".join(term) for term in self.columns[: self.terms]]
        weights = {"weights": dict(zip(names, map(float, weight), strict=True))}
        if self.compares:
            return weights
        params = jax.device_get(self.state.params)
        scales = 1 / (np.asarray(config.model.scales) * np.exp(np.asarray(params["scale"])))
        return {
            "scales": dict(zip(config.data.modalities, map(float, scales), strict=True))
        } | weights

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

        part = new_parts(count) if parts is None else parts
        code = videos.code(index, self.cameras, self.reader.several)
        key, floors = (id(videos), index, parts is None), self.reader.floors

        def compared() -> np.ndarray:
            inputs = self.reader.inputs(videos, index)
            return self.reader.read(self.state, inputs, code, part, advance)

        def distances() -> np.ndarray:
            assert floors is not None
            state = self.reader.beside_of(self.state)
            return floors.read(state, videos.features(index), code, part)

        found = self.known.novelty(key, compared) if self.known else compared()
        if floors is None:
            return found
        beside = self.beside.novelty(key, distances) if self.beside else distances()
        return np.concatenate([found, beside], 1)

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


def restore(config: ConfigDict, workdir: Path, which: str, model: Any, identity: Any = ""):
    """A checkpoint of a run; model: GraphNovelty or Compared."""
    transform = make_optimiser(config.optim, config.train.steps).transform
    shapes = shapes_from(model, transform, model.example())
    with Checkpoints(workdir / loop.CHECKPOINTS, config, identity) as kept:
        return kept.restore(which, shapes)


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
        "weights": model.weights.tolist(),
        "settings": score_settings(model.config),
    }


def of_told(
    config: ConfigDict, step: int, state: TrainState, reader: Reader, told: Mapping[str, Any]
) -> OpenedModel:
    """The model that `told_of` tells of; its columns are those of the reader's model."""
    columns = len(reader.columns)
    causal = told.get("causal")
    return OpenedModel(
        config,
        step,
        state,
        reader,
        reader.columns,
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
    """'room, grey + texture, seed 0, step 100'; of a comparator its name besides."""
    config = model.config
    sets = " + ".join(config.data.modalities) + (f", {config.model.name}" if model.compares else "")
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
    model = built(config, told)
    restored = restore(config, workdir, which, model)
    state = restored.state._replace(opt_state=())
    reader, state = reader_of(config, mapper, model, state, compared)
    return of_told(config, restored.step, state, reader, told)
