"""From the novelty of units to scores of frames: calibrated on held-out normal units, spread along
tracks, the highest of a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from gfvad.data.company import places_of, spread_beside
from gfvad.data.objects.features import track_sums, window_bounds
from gfvad.data.unit_videos import UnitVideo, UnitVideos
from gfvad.tasks.novelty.model import NEW
from gfvad.tasks.novelty.step import UnitBatch, term_novelty
from gfvad.train.parallel import Mapper
from gfvad.train.state import TrainState

NARROW = 16  # units of a batch at least


class Calibration(NamedTuple):
    """What is ordinary, by held-out normal units."""

    centre: np.ndarray  # float64 [G, T] median novelty of each term in each group of units
    spread: np.ndarray  # float64 [G, T] its standard deviation
    weight: np.ndarray  # float64 [T] of each term in the score; they sum to 1
    scale: float  # standard deviation of the weighted sum

    @property
    def lowest(self) -> np.ndarray:
        """float64 [T] the shares of what is known by heart, and of a frame without any unit."""
        return (self.weight * -self.centre / self.spread).mean(0) / self.scale


class FrameScore(NamedTuple):
    """Scores of the frames of a video."""

    score: np.ndarray  # float64 [T]
    shares: np.ndarray  # float64 [T, terms], which sum to the score
    unit: np.ndarray  # int64 [T] the unit that has the highest score; -1 in a frame without one
    of_units: np.ndarray  # float64 [n] score of each unit, with what passed along its track


class Reader:
    """Runs the model over units; compiled once."""

    floors: Reader | None = None  # what reads columns that a comparator's terms do not hold

    def __init__(self, mapper: Mapper, model: Any, batch: int):
        """model: GraphNovelty, or a comparator (readers.py)."""
        self.mapper, self.batch, self.model = mapper.local(), batch, model
        self.several, self.columns = model.banks > 1, model.terms
        self._bound: tuple[TrainState, Any] | None = None
        self.step = self.mapper.map_eval(self.program())

    def program(self) -> Callable[..., Any]:
        """(state, batch) -> [B, T] the novelty of each column."""
        return partial(term_novelty, model=self.model, alike=self.several)

    def read(
        self,
        state: TrainState,
        features: Mapping[str, np.ndarray],
        camera: np.ndarray,
        part: np.ndarray,
        advance: Callable[[int], object] = lambda units: None,
    ) -> np.ndarray:
        """float64 [U, T] the novelty of units, in batches; arguments as the model's. Units of
        several banks come bank by bank."""
        found, bound = [], self.bind(state)
        how = self.batch, self.several, self.mapper.n_local
        for first, size, width in batches_of(camera, *how):
            rows = np.arange(first, first + width)
            rows[size:] = first
            batch = self.batch_of(features, camera[rows], part[rows], rows, size)
            found.append(self.run(bound, batch)[:size])
            advance(size)
        return np.concatenate(found) if found else np.zeros((0, 0))

    def beside_of(self, state: TrainState) -> TrainState:
        """The state that `floors` reads by."""
        return state

    def inputs(self, videos: UnitVideos, index: int) -> dict[str, np.ndarray]:
        """What of a video `read` takes as features."""
        return videos.features(index)

    @staticmethod
    def batch_of(
        features: Mapping[str, np.ndarray],
        camera: np.ndarray,
        part: np.ndarray,
        rows: np.ndarray,
        size: int,
    ) -> Any:
        """The units at some rows, of which the first `size` count; camera, part: theirs."""
        width = len(rows)
        return UnitBatch(
            {n: x[rows] for n, x in features.items()},
            camera,
            part,
            np.zeros(width, np.float32),
            np.arange(width) < size,
            np.zeros(width, np.int32),
        )

    def bind(self, state: TrainState) -> Any:
        """The state on all devices, for `run`; that of the last call is kept, for a stream asks for
        it again with every frame."""
        if self._bound is None or self._bound[0] is not state:
            self._bound = state, self.mapper.replicate(state._replace(opt_state=()))
        return self._bound[1]

    def run(self, bound: Any, batch: UnitBatch) -> np.ndarray:
        """float64 [B, T] of one batch."""
        shares = self.step(bound, self.mapper.shard(batch))
        return np.asarray(self.mapper.to_host(shares), np.float64)


def batches_of(
    code: np.ndarray, most: int, alike: bool, devices: int = 1
) -> Iterator[tuple[int, int, int]]:
    """(first unit, units, width of the batch) of the batches of units; alike: none has units of
    more than one code [U]. A batch is at most `most` wide, as wide as all others, and divides over
    the devices as `most` does."""
    starts = np.flatnonzero(np.diff(code, prepend=code[:1] - 1)) if alike else np.arange(1)
    starts = starts[: len(code)]
    ends = np.append(starts[1:], len(code))[: len(starts)]
    longest = max((ends - starts).max(initial=0), NARROW)
    width = most
    while alike and not width % (2 * devices) and width // 2 >= longest:
        width //= 2
    for start, end in zip(starts, ends, strict=True):
        for first in range(start, end, width):
            yield int(first), int(min(width, end - first)), width


def calibrate(
    novelty: np.ndarray, group: np.ndarray, weights: np.ndarray, adds: bool = False
) -> Calibration:
    """novelty: [U, T] of normal units, none compared with its own part; group: int64 [U] below G;
    weights: of the terms, [T], above 0; adds: terms of one group have one spread, that of their
    weighted sum, so that they add up as they are."""
    groups = range(int(group.max()) + 1)
    weight = weights / weights.sum()
    centre = np.stack([np.median(novelty[group == g], 0) for g in groups])
    alone = np.repeat((novelty @ weight)[:, None], len(weight), 1) if adds else novelty
    spread = np.stack([np.maximum(alone[group == g].std(0), 1e-6) for g in groups])
    together = ((novelty - centre[group]) / spread[group] * weight).sum(1)
    return Calibration(centre, spread, weight, max(float(together.std()), 1e-6))


def frame_scores(
    novelty: np.ndarray,
    units: UnitVideo,
    calibration: Calibration,
    score_cfg: Any,
    past: bool = False,
    first: np.ndarray | None = None,
) -> FrameScore:
    """Scores of the frames of a video.

    Along a track messages pass between the units within score.reach frames: each has the mean of
    them all and of score.prior ordinary ones. Where score.beside says how near, each then has the
    mean of the units of its frame that are near it (and, by score.alike, alike). A frame has, of
    each group, the mean score of the share score.highest of its units, the most unusual ones (one
    at least), and of all groups the mean.

    Args: novelty: [n, T] of the units of a video; score_cfg: config.score; past: messages come from
    earlier frames alone, as in a stream; first: [n, D] of the first feature set, needed where
    score.alike is above 0.
    """
    c, (tracks, frames, group, hold) = calibration, units
    shares = (novelty - c.centre[group]) / c.spread[group] * c.weight / c.scale
    bounds = window_bounds(tracks, int(score_cfg.reach), past)
    counts = (bounds[1] - bounds[0])[:, None] + float(score_cfg.prior)
    shares = track_sums(shares, bounds) / counts
    if score_cfg.beside > 0:
        x, alike = (first, float(score_cfg.alike)) if score_cfg.alike > 0 else (None, 1.0)
        shares = spread_beside(shares, places_of(units), float(score_cfg.beside), x, alike)
    found = np.tile(c.lowest, (frames, 1))
    unit = np.full(frames, -1, np.int64)
    if not len(group):
        return FrameScore(found.sum(1), found, unit, np.zeros(0))
    score = shares.sum(1)
    highest, counted = most_unusual(score, tracks.frame, group, float(score_cfg.highest))
    seen = np.unique(tracks.frame)
    found[seen] = 0
    np.add.at(found, tracks.frame[highest], shares[highest] * counted[:, None])
    order = highest[np.lexsort((score[highest], tracks.frame[highest]))]
    unit[tracks.frame[order]] = order  # the last one of a frame is its highest
    if hold > 1:
        since = np.maximum.accumulate(np.where(unit >= 0, np.arange(frames), 0))
        near = np.arange(frames) - since < hold
        found[near], unit[near] = found[since[near]], unit[since[near]]
    return FrameScore(found.sum(1), found, unit, score)


def most_unusual(
    score: np.ndarray, frame: np.ndarray, group: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """(int64 [m] units, float64 [m] how much each counts in its frame): of each frame and group the
    share of the units with the highest score, one at least; a frame's sum to 1. Args: of units,
    [n]."""
    order = np.lexsort((-score, group, frame))
    here = np.stack([frame[order], group[order]])
    new = np.any(np.diff(here, prepend=here[:, :1] - 1), axis=0)
    starts = np.flatnonzero(new)
    sizes = np.diff(np.append(starts, len(order)))
    wanted = np.maximum(np.floor(sizes * share + 1e-9), 1)
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    chosen = rank < np.repeat(wanted, sizes)
    _, back, groups = np.unique(here[0, starts], return_inverse=True, return_counts=True)
    counted = np.repeat(1 / (wanted * groups[back]), sizes)
    return order[chosen], counted[chosen]


def new_parts(count: int) -> np.ndarray:
    """Parts of units that the bank cannot hold, int32 [count]."""
    return np.full(count, NEW, np.int32)


def weights_of(state: TrainState) -> np.ndarray:
    """float64 [T] weights of the terms."""
    return np.exp(np.asarray(jax.device_get(state.params["weight"]), np.float64))


def evenly(counts: Sequence[int], most: int) -> list[int]:
    """Indices of whole videos, evenly chosen, with about `most` units in all (one video at
    least)."""
    total = sum(counts)
    step = max(total / max(most, 1), 1.0)
    chosen = np.unique((np.arange(0, len(counts), step)).astype(int))
    return [int(i) for i in chosen]
