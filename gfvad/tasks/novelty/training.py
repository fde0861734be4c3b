"""Graph novelty as gfvad/train/run.py trains it: the bank, and normal and changed units to fit its
few numbers by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from gfvad.data.unit_videos import UnitVideos
from gfvad.tasks.novelty import step as step_lib
from gfvad.tasks.novelty.model import BANK, build_model, filled_bank
from gfvad.tasks.novelty.score import evenly
from gfvad.tasks.novelty.step import UnitBatch
from gfvad.train.identity import learnt
from gfvad.train.parallel import Mapper
from gfvad.train.run import Evaluation
from gfvad.train.state import TrainState, init_from

START_UNITS = 512  # whose usual novelty the fit starts from
MOVED = (1.0, 3.0)  # standard deviations that a changed feature set is moved by


class Units:
    """All units of a split in arrays: features {set: float32 [U, D]}, camera, part, video int32
    [U]."""

    def __init__(self, videos: UnitVideos, by_place: bool = False):
        """Args: by_place: each place of a camera has a bank of its own."""
        every = [videos.features(i) for i in range(len(videos))]
        counts = [len(t.frame) for t in videos.tracks]
        self.features = {n: np.concatenate([f[n] for f in every]) for n in every[0]}
        self.cameras = sorted(set(videos.cameras))
        codes = [videos.code(i, self.cameras, by_place) for i in range(len(videos))]
        self.camera = np.concatenate(codes)
        self.banks = len(self.cameras) * videos.places if by_place else 1
        self.part = np.concatenate(videos.parts)
        self.video = np.repeat(np.arange(len(videos), dtype=np.int32), counts)

    def __len__(self) -> int:
        return len(self.video)

    @property
    def widths(self) -> dict[str, int]:
        """Feature set -> its features."""
        return {name: x.shape[1] for name, x in self.features.items()}

    @cached_property
    def spread(self) -> dict[str, np.ndarray]:
        """Feature set -> standard deviation of each feature."""
        return {name: x.std(0) + 1e-6 for name, x in self.features.items()}

    @cached_property
    def of_bank(self) -> list[np.ndarray]:
        """Indices of the units of each bank."""
        if self.banks == 1:
            return [np.arange(len(self))]
        order = np.argsort(self.camera, kind="stable")
        return np.split(order, np.searchsorted(self.camera[order], np.arange(1, self.banks)))

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Indices of `count` units of each bank, in order: [count], or [banks, count]."""
        drawn = [np.sort(rng.permutation(len(x))[:count]) for x in self.of_bank]
        chosen = np.stack([x[i] for x, i in zip(self.of_bank, drawn, strict=True)])
        return chosen[0] if self.banks == 1 else chosen


class UnitsOf:
    """The units of a split, with banks of places or without, each made once."""

    def __init__(self, videos: UnitVideos):
        self.videos = videos
        self.made: dict[bool, Units] = {}

    def get(self, by_place: bool) -> Units:
        """As `Units`."""
        if by_place not in self.made:
            self.made[by_place] = Units(self.videos, by_place)
        return self.made[by_place]


class Held(NamedTuple):
    """What of a training video scores are calibrated on."""

    index: int
    units: np.ndarray  # bool [n]
    frames: slice


class CountedBatches:
    """Batches that are known by their number; batch k of a seed is the same on any number of
    processes, each of which takes its share."""

    def __init__(self, index: int, count: int):
        """Args: which process this is, of how many."""
        self.index, self.count, self.taken = index, count, 0

    def share_of(self, size: int) -> slice:
        """This process's part of a batch."""
        return slice(self.index * size // self.count, (self.index + 1) * size // self.count)

    def get_state(self) -> dict[str, int]:
        """How many were taken."""
        return {"taken": self.taken}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Goes on from there."""
        self.taken = int(state["taken"])


class UnitBatches(CountedBatches):
    """Batches of normal and changed units."""

    def __init__(self, units: Units, config: ConfigDict, seed: int, index: int, count: int):
        self.units, self.config, self.seed = units, config, seed
        super().__init__(index, count)

    def __next__(self) -> UnitBatch:
        rng = np.random.default_rng((self.seed, 1, self.taken))
        self.taken += 1
        size = self.config.train.batch_size
        batch = changed_units(self.units, size, self.config.loss.swapped, rng)
        share = self.share_of(size)
        return UnitBatch({n: x[share] for n, x in batch[0].items()}, *(x[share] for x in batch[1:]))


def changed_units(units: Units, size: int, swapped: float, rng: np.random.Generator) -> UnitBatch:
    """Random units; every second one has one feature set changed: that of another unit (a share
    `swapped` of them; of the same place, or, of tracks, of the same camera where one of 32 drawn
    ones is), or moved by MOVED standard deviations in a random direction.
    """
    chosen = rng.integers(len(units), size=size)
    features = {name: x[chosen].copy() for name, x in units.features.items()}
    names, changed = list(features), np.arange(size) % 2
    for i in np.flatnonzero(changed):
        name = names[rng.integers(len(names))]
        if rng.random() < swapped and len(names) > 1:
            features[name][i] = units.features[name][another(units, chosen[i], rng)]
        else:
            direction = rng.standard_normal(features[name].shape[1])
            direction *= rng.uniform(*MOVED) / np.linalg.norm(direction)
            features[name][i] += (direction * units.spread[name]).astype(np.float32)
    return UnitBatch(
        features,
        units.camera[chosen],
        units.part[chosen],
        changed.astype(np.float32),
        np.ones(size, bool),
        units.video[chosen],
    )


def bank_of(units: Units, count: int, seed: int) -> dict[str, np.ndarray]:
    """A bank of so many units, or several of them, drawn by the seed."""
    drawn = units.draw(count, np.random.default_rng((seed, 0)))
    chosen = {n: x[drawn] for n, x in units.features.items()}
    return filled_bank(chosen, units.camera[drawn], units.part[drawn])


def another(units: Units, index: int, rng: np.random.Generator) -> int:
    """A unit of the same place, or, where there is one bank, of the same camera if one of 32 is."""
    if units.banks > 1:
        same = units.of_bank[units.camera[index]]
        return int(same[rng.integers(len(same))])
    others = rng.integers(len(units), size=32)
    return int(others[np.argmax(units.camera[others] == units.camera[index])])


class Training:
    """The bank of a split and the fit of its numbers (gfvad/train/run.py: Trainable)."""

    train_step = staticmethod(step_lib.train_step)

    def __init__(
        self,
        config: ConfigDict,
        videos: UnitVideos,
        mapper: Mapper,
        say: Callable[[str], None],
        made: UnitsOf | None = None,
    ):
        """made: units of the same videos, where other runs have them, too."""
        self.config, self.videos, self.mapper, self.say = config, videos, mapper, say
        self.names, self.identity = videos.names, learnt(videos)
        self.training, self.validation = np.arange(len(videos)), np.arange(0)
        by_place = videos.places > 1 and bool(config.model.within_camera)
        self.units = units = (made or UnitsOf(videos)).get(by_place)
        self.bank = min(config.model.bank, min(map(len, units.of_bank)))
        self.model = build_model(config, units.widths, self.bank, units.banks)

    def initial(self, transform: Any, seed: int) -> TrainState:
        """The state before the first step: the bank is drawn by the seed, the offset is the usual
        novelty of a unit."""
        units = self.units
        one = {n: x[:1] for n, x in units.features.items()}
        state = init_from(self.model, transform, (one, units.camera[:1], units.part[:1]), seed)
        bank = bank_of(units, self.bank, seed)
        state = state._replace(constants={**state.constants, BANK: bank})
        start = changed_units(units, START_UNITS, 0.0, np.random.default_rng((seed, 2)))
        novelty = jax.jit(partial(step_lib.term_novelty, model=self.model))(state, start)
        offset = np.float32(np.median(np.asarray(novelty).mean(1)[start.changed == 0]))
        return state._replace(params={**state.params, "offset": np.asarray(offset)})

    def calibration(self) -> list[Held]:
        """Whole videos, evenly chosen: the model holds none of its numbers by heart, and compares
        no unit with its own video."""
        return self.pieces(range(len(self.videos)))

    def pieces(self, videos: Sequence[int]) -> list[Held]:
        """Of some videos those that are evenly chosen, with what of them is calibrated on."""
        held = [self.held_of(i) for i in videos]
        counts = [int(each.units.sum()) for each in held]
        return [held[i] for i in evenly(counts, self.config.score.calibration_units)]

    def held_of(self, index: int) -> Held:
        """All of a video."""
        return Held(index, np.ones(len(self.videos.tracks[index].frame), bool), slice(None))

    def batches(self, seed: int) -> UnitBatches:
        """Normal and changed units."""
        mapper = self.mapper
        return UnitBatches(
            self.units, self.config, seed, mapper.process_index, mapper.process_count
        )

    def evaluate(self, state: TrainState, step: int) -> Evaluation:
        """The fitted numbers; normal video alone holds nothing out to rank by."""
        return Evaluation({"fit": {n: np.asarray(x) for n, x in state.params.items()}}, {})
