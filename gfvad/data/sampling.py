"""Static lengths from videos of any length, the shuffling order, and the validation split. Pure
numpy, no state.

N is the static length of an example, n the number of units of a video.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gfvad.base.types import ConfigError

MODES = ("uniform", "window", "mean")


class Units(NamedTuple):
    """Which units of a video make up an example: slot k is the mean of units [start_k, stop_k),
    nothing where mask is False."""

    start: np.ndarray  # int64 [N]
    stop: np.ndarray  # int64 [N]
    mask: np.ndarray  # bool [N]


class Window(NamedTuple):
    """Units [start, start + count) of a video, padded to a static length."""

    start: int
    count: int
    length: int


def sample_units(n: int, target: int, mode: str, rng: np.random.Generator | None = None) -> Units:
    """Chooses `target` slots from the n >= 1 units of a video.

    uniform: evenly spaced units, the floors of linspace(0, n - 1, target) (the sampling of
    XD-Violence's published baselines).
    window: a random run of consecutive units; needs `rng`.
    Both keep a shorter video as it is and pad it (mask False).
    mean: means of `target` segments cut at the floors of linspace(0, n, target + 1); a segment
    without a unit of its own repeats the one at its start (the segments of RTFM, Tian et al. 2021,
    `process_feat`). No slot is masked.
    """
    if mode not in MODES:
        raise ConfigError(f"data.train_sampling is {mode!r}; valid: {', '.join(MODES)}")
    if mode == "mean":
        edges = np.linspace(0, n, target + 1).astype(np.int64)  # [N + 1]
        return Units(edges[:-1], np.maximum(edges[1:], edges[:-1] + 1), np.ones(target, bool))
    if n <= target:
        first = np.arange(target) * (np.arange(target) < n)
    elif mode == "uniform":
        first = np.linspace(0, n - 1, target).astype(np.int64)
    else:
        assert rng is not None  # of a window
        first = rng.integers(n - target + 1) + np.arange(target)
    mask = np.arange(target) < n
    return Units(first, first + mask, mask)


def take(x: np.ndarray, units: Units) -> np.ndarray:
    """Features [..., n, D] of a video -> float32 [..., N, D] of an example; masked slots are 0.
    Means are taken in float64."""
    if (units.stop - units.start <= 1).all():
        taken = x[..., units.start, :].astype(np.float32)  # [..., N, D]
        taken[..., ~units.mask, :] = 0
        return taken
    # reduceat sums [start_k, start_k+1) and gives the unit at start_k itself where that is empty:
    # exactly the segments of `mean`
    total = np.add.reduceat(x, units.start, axis=-2, dtype=np.float64)  # [..., N, D]
    return (total / (units.stop - units.start)[:, None]).astype(np.float32)


def pad(x: np.ndarray, length: int) -> np.ndarray:
    """Features [..., n, D], n <= length -> float32 [..., length, D], zeros behind the n units."""
    padded = np.zeros((*x.shape[:-2], length, x.shape[-1]), np.float32)
    padded[..., : x.shape[-2], :] = x
    return padded


def windows(n: int, lengths: Sequence[int]) -> list[Window]:
    """Cuts a video of n >= 1 units into windows that hold each unit exactly once, each padded to
    the smallest static length that fits.

    A video no longer than the longest length is one window. A longer one is cut into the fewest
    windows possible, of equal size up to one
    unit: a rest of a few units would have next to nothing to relate to.
    """
    lengths = sorted(lengths)
    pieces = -(-n // lengths[-1])
    # whole numbers: a rounding error must not make a window longer than lengths[-1]
    edges = [k * n // pieces for k in range(pieces + 1)]
    counts = [b - a for a, b in zip(edges, edges[1:])]
    return [
        Window(start, count, next(length for length in lengths if length >= count))
        for start, count in zip(edges, counts)
    ]


def epoch_order(n: int, seed: int, stream: int, epoch: int) -> np.ndarray:
    """Order of n examples in one pass of a stream: int64 [n], a permutation fixed by (seed,
    stream, epoch)."""
    return np.random.default_rng((seed, 1, stream, epoch)).permutation(n)


def example_rng(seed: int, position: int) -> np.random.Generator:
    """Random numbers of the example at a place in the global stream, the same on any number of
    processes."""
    return np.random.default_rng((seed, 2, position))


def damage_rng(seed: int, position: int) -> np.random.Generator:
    """Others, for what is damaged of that example on purpose."""
    return np.random.default_rng((seed, 3, position))


def split_validation(
    names: Sequence[str], labels: Sequence[int], fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """(train, validation) indices, int64, ascending: of every label, `fraction` of the videos are
    held out.

    The held-out ones are those with the smallest SHA-256 of the name, so the split depends on
    neither the order of the videos nor a seed. Each label gives the nearest whole number, at least
    1 where fraction > 0 and it has 2 videos or more, and keeps at least 1 for training.
    """
    if not 0 <= fraction < 1:
        raise ConfigError(f"data.validation_fraction is {fraction}; expected 0 <= fraction < 1")
    digests = [hashlib.sha256(name.encode()).digest() for name in names]
    held_out: list[int] = []
    for label in np.unique(labels):
        own = np.flatnonzero(np.asarray(labels) == label).tolist()
        stratum = sorted(own, key=digests.__getitem__)
        count = int(fraction * len(stratum) + 0.5)
        held_out += stratum[: min(max(count, int(fraction > 0)), len(stratum) - 1)]
    validation = np.sort(np.array(held_out, np.int64))
    return np.setdiff1d(np.arange(len(labels)), validation), validation
