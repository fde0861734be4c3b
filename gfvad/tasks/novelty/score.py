"""From the novelty of units to scores of frames: calibrated on held-out normal units, spread along
tracks, the highest of a frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from gfvad.data.objects.features import track_sums, window_bounds
from gfvad.data.objects.tracks import Tracks
from gfvad.tasks.novelty.model import NEW, GraphNovelty
from gfvad.tasks.novelty.step import UnitBatch, term_novelty
from gfvad.train.parallel import Mapper
from gfvad.train.state import TrainState


class Calibration(NamedTuple):
    """What is ordinary, by held-out normal units."""

    centre: np.ndarray  # float64 [T] median novelty of each term
    spread: np.ndarray  # float64 [T] its standard deviation
    weight: np.ndarray  # float64 [T] of each term in the score; they sum to 1
    scale: float  # standard deviation of the weighted sum

    @property
    def lowest(self) -> float:
        """The score of what is known by heart, and of a frame without any object."""
        return float((self.weight * -self.centre / self.spread).sum() / self.scale)


class FrameScore(NamedTuple):
    """Scores of the frames of a video."""

    score: np.ndarray  # float64 [T]
    shares: np.ndarray  # float64 [T, terms], which sum to the score
    unit: np.ndarray  # int64 [T] the box that has the highest score; -1 in a frame without one


class Reader:
    """Runs the model over units; compiled once."""

    def __init__(self, mapper: Mapper, model: GraphNovelty, batch: int):
        self.mapper, self.batch, self.widths = mapper.local(), batch, model.widths
        self.step = self.mapper.map_eval(partial(term_novelty, model=model))

    def read(
        self,
        state: TrainState,
        features: Mapping[str, np.ndarray],
        camera: np.ndarray,
        part: np.ndarray,
        advance: Callable[[int], object] = lambda units: None,
    ) -> np.ndarray:
        """float64 [U, T] the novelty of units, in batches; arguments as the model's."""
        count, found = len(camera), []
        replicas = self.mapper.replicate(state._replace(opt_state=()))
        for first in range(0, count, self.batch):
            size = min(self.batch, count - first)
            pad = lambda x, first=first, size=size: np.concatenate(
                [x[first : first + size], np.repeat(x[:1], self.batch - size, 0)]
            )
            valid = np.arange(self.batch) < size
            batch = UnitBatch(
                {n: pad(x) for n, x in features.items()},
                pad(camera),
                pad(part),
                np.zeros(self.batch, np.float32),
                valid,
                np.zeros(self.batch, np.int32),
            )
            shares = self.step(replicas, self.mapper.shard(batch))
            found.append(np.asarray(self.mapper.to_host(shares), np.float64)[:size])
            advance(size)
        return np.concatenate(found) if found else np.zeros((0, 0))


def calibrate(novelty: np.ndarray, weights: np.ndarray) -> Calibration:
    """novelty: [U, T] of normal units, none compared with its own part; weights: of the terms, [T],
    above 0."""
    centre, spread = np.median(novelty, 0), np.maximum(novelty.std(0), 1e-6)
    weight = weights / weights.sum()
    together = ((novelty - centre) / spread * weight).sum(1)
    return Calibration(centre, spread, weight, max(float(together.std()), 1e-6))


def frame_scores(
    novelty: np.ndarray, tracks: Tracks, frames: int, calibration: Calibration, score_cfg: Any
) -> FrameScore:
    """Scores of the frames of a video.

    Along a track messages pass between the boxes within score.reach frames: each has the mean of
    them all and of score.prior ordinary ones. A frame has the score of its most unusual object.

    Args: novelty: [n, T] of the boxes of `tracks`; score_cfg: config.score.
    """
    c = calibration
    shares = (novelty - c.centre) / c.spread * c.weight / c.scale
    bounds = window_bounds(tracks, int(score_cfg.reach))
    counts = (bounds[1] - bounds[0])[:, None] + float(score_cfg.prior)
    shares = track_sums(shares, bounds) / counts
    terms = shares.shape[1]
    found = np.tile(c.weight * -c.centre / c.spread / c.scale, (frames, 1))
    unit = np.full(frames, -1, np.int64)
    score = shares.sum(1)
    order = np.lexsort((score, tracks.frame))  # the last one of a frame is its highest
    frame = tracks.frame[order]
    last = order[np.flatnonzero(np.diff(frame, append=frame[-1:] + 1))] if len(frame) else order
    unit[tracks.frame[last]] = last
    found[tracks.frame[last]] = shares[last]
    assert found.shape == (frames, terms)
    return FrameScore(found.sum(1), found, unit)


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
