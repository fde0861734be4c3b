"""A comparator as gfvad/train/run.py trains it: windows of normal units, some of which are held
out to follow training by, and to calibrate scores on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from gfvad.data.unit_videos import UnitVideos
from gfvad.tasks.novelty import compared_step
from gfvad.tasks.novelty.compared_step import WindowBatch
from gfvad.tasks.novelty.comparing import STATISTICS
from gfvad.tasks.novelty.model import BANK
from gfvad.tasks.novelty.registry import build_compared, comparator_of
from gfvad.tasks.novelty.training import (
    CountedBatches,
    Held,
    Training,
    Units,
    UnitsOf,
    bank_of,
)
from gfvad.tasks.novelty.windows import Series, series_of, window_rows
from gfvad.train.parallel import Mapper
from gfvad.train.run import Evaluation
from gfvad.train.state import TrainState, init_from

FOLLOWED = 2048  # held-out units that training is followed on
LEAST = 0.1  # of a feature's spread over all units: the least within one camera or place


class Windows:
    """Windows of the units of a split."""

    def __init__(self, units: Units, videos: UnitVideos, config: ConfigDict):
        self.units, self.length = units, int(config.model.window)
        self.stride = int(config.model.stride)
        counts = [len(t.frame) for t in videos.tracks]
        starts = np.concatenate([[0], np.cumsum(counts)])
        parts = [series_of(t, int(s)) for t, s in zip(videos.tracks, starts, strict=False)]
        self.series = Series(*(np.concatenate(x) for x in zip(*parts, strict=True)))

    def of(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """(set -> float32 [n, W, D], bool [n, W]) of the units at some rows, int64 [n]."""
        there, mask = window_rows(rows, self.series.of(rows), self.length, self.stride)
        return {name: x[there] for name, x in self.units.features.items()}, mask

    def batch(self, rows: np.ndarray, position: np.ndarray) -> WindowBatch:
        """The units at some rows; position: of each in the stream of batches."""
        features, mask = self.of(rows)
        camera, video = self.units.camera[rows], self.units.video[rows]
        return WindowBatch(features, mask, camera, position, np.ones(len(rows), bool), video)


class WindowBatches(CountedBatches):
    """Batches of normal units."""

    def __init__(self, windows: Windows, rows: np.ndarray, seed: int, size: int, mapper: Mapper):
        """rows: of the units that are trained on; size: of a batch over all processes."""
        self.windows, self.rows, self.seed, self.size = windows, rows, seed, size
        super().__init__(mapper.process_index, mapper.process_count)

    def __next__(self) -> WindowBatch:
        rng = np.random.default_rng((self.seed, 1, self.taken))
        chosen = self.rows[rng.integers(len(self.rows), size=self.size)]
        position = (self.taken * self.size + np.arange(self.size)) % (1 << 31)
        self.taken += 1
        share = self.share_of(self.size)
        return self.windows.batch(chosen[share], position[share].astype(np.int32))


class ComparedTraining(Training):
    """The comparator of a config on a split (gfvad/train/run.py: Trainable)."""

    train_step = staticmethod(compared_step.comparator_step)

    def __init__(
        self,
        config: ConfigDict,
        videos: UnitVideos,
        mapper: Mapper,
        say: Callable[[str], None],
        made: UnitsOf | None = None,
    ):
        """Args: as of Training."""
        super().__init__(config, videos, mapper, say, made)
        units, share = self.units, float(config.model.held_out)
        codes = units.banks if units.banks > 1 else len(units.cameras)
        self.model = build_compared(config, units.widths, self.bank, units.banks, codes)
        self.held = held_parts(units, share)
        out = np.isin(units.part, self.held)
        self.rows, self.rows_held = np.flatnonzero(~out), np.flatnonzero(out)
        whole = {i for i, p in enumerate(videos.parts) if len(p) and np.isin(p, self.held).all()}
        self.validation = np.array(sorted(whole), int)
        self.training = np.setdiff1d(np.arange(len(videos)), self.validation)

    @cached_property
    def windows(self) -> Windows:
        """Of all units of the split."""
        return Windows(self.units, self.videos, self.config)

    def calibration(self) -> list[Held]:
        """The held-out parts, evenly chosen."""
        return self.pieces([i for i, p in enumerate(self.videos.parts) if self._out(p).any()])

    def _out(self, parts: np.ndarray) -> np.ndarray:
        return np.isin(parts, self.held)

    def held_of(self, index: int) -> Held:
        """What of a video is held out."""
        out, frame = self._out(self.videos.parts[index]), self.videos.tracks[index].frame
        if out.all():
            return Held(index, out, slice(None))
        return Held(index, out, slice(int(frame[out].min()), int(frame[out].max()) + 1))

    def initial(self, transform: Any, seed: int) -> TrainState:
        """The state before the first step: statistics are those of the units that are trained on,
        the bank is that which graph novelty would have by this seed."""
        state = init_from(self.model, transform, self.model.example(), seed)
        constants = {**state.constants, STATISTICS: self.statistics}
        bank = {**state.constants[BANK], **bank_of(self.units, self.bank, seed)}
        if fill := comparator_of(self.config).fill:
            rng = np.random.default_rng((seed, 3))
            bank["inner"] = {**fill(self.config, *self.standardised(), rng)}
        return state._replace(constants={**constants, BANK: bank})

    @cached_property
    def statistics(self) -> dict[str, np.ndarray]:
        """Mean and spread of each feature, float32 [codes, D]: of all units, or, where a set is
        compared within one camera or place, of each of those."""
        found, units = {}, self.units
        camera, codes = units.camera[self.rows], self.model.codes
        for name, x in units.features.items():
            x = x[self.rows].astype(np.float64)
            mean = np.tile(x.mean(0), (codes, 1))
            spread = np.tile(np.maximum(x.std(0), 1e-6), (codes, 1))
            if units.banks > 1 or name in self.config.model.within_camera:
                for code in np.unique(camera):
                    own = x[camera == code]
                    mean[code] = own.mean(0)
                    spread[code] = np.maximum(own.std(0), LEAST * spread[code])
            found[f"mean_{name}"] = mean.astype(np.float32)
            found[f"spread_{name}"] = spread.astype(np.float32)
        return found

    def standardised(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """(set -> float32 [U, D], part int32 [U]) of the units that are trained on."""
        camera, found = self.units.camera[self.rows], {}
        for name, x in self.units.features.items():
            mean, spread = (self.statistics[f"{s}_{name}"][camera] for s in ("mean", "spread"))
            found[name] = (x[self.rows] - mean) / spread
        return found, self.units.part[self.rows]

    def batches(self, seed: int) -> WindowBatches:
        """Normal units of the parts that are trained on."""
        size = self.config.train.batch_size
        return WindowBatches(self.windows, self.rows, seed, size, self.mapper)

    @cached_property
    def _followed(self) -> tuple[WindowBatch, Callable[..., dict[str, jax.Array]]]:
        """Units that are held out, and what gives their mean losses."""
        rows = self.rows_held
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, FOLLOWED).astype(int))]
        batch = self.windows.batch(rows, np.arange(len(rows), dtype=np.int32))
        model = self.model
        losses = jax.jit(lambda state, batch: compared_step.mean_losses(state, batch, model=model))
        return batch, losses

    def evaluate(self, state: TrainState, step: int) -> Evaluation:
        """Losses of normal units that are held out; they rank nothing."""
        batch, losses = self._followed
        found = losses(state._replace(opt_state=()), batch)
        return Evaluation({"held_out": {f"loss/{n}": float(x) for n, x in found.items()}}, {})


def held_parts(units: Units, share: float) -> np.ndarray:
    """Parts of a split that are not trained on, int32: of each camera about a share, evenly; one at
    least in all, of the camera with the most."""
    cameras = (
        units.camera if units.banks == 1 else units.camera // (units.banks // len(units.cameras))
    )
    found: list[int] = []
    of_cameras = [np.unique(units.part[cameras == c]) for c in np.unique(cameras)]
    for parts in of_cameras:
        marks = np.floor(np.arange(len(parts) + 1) * share + 0.5)
        found += [int(p) for p in parts[np.diff(marks) > 0]]
    most = max(of_cameras, key=len)
    return np.array(found or [most[len(most) // 2]], np.int32)
