"""Features of tracked boxes: what somebody does (velocity), how he looks (aspect, size),
where he is (place). Ours.

Lengths are measured in heights of the box, so that near and far people are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from gfvad.data.objects.tracks import Tracks

SECONDS_STEP = 24.0  # frames that a velocity is stated for: about a second
LARGEST = 1 << 40  # frames of a track's key


def window_bounds(tracks: Tracks, reach: int, past: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """For each box the half-open range of boxes of the same track within `reach` frames (past: of
    those up to it alone): int64 [n] twice."""
    key = tracks.person * LARGEST + tracks.frame
    first = np.searchsorted(key, key - min(reach, LARGEST // 2))
    start = np.searchsorted(tracks.person, tracks.person)
    if past:
        return np.maximum(first, start), np.arange(1, len(key) + 1)
    last = np.searchsorted(key, key + min(reach, LARGEST // 2), side="right")
    end = np.searchsorted(tracks.person, tracks.person, side="right")
    return np.maximum(first, start), np.minimum(last, end)


def track_sums(values: np.ndarray, bounds: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Sums of `values` [n, ...] over ranges of boxes."""
    total = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, 0, np.float64)])
    return total[bounds[1]] - total[bounds[0]]


def track_means(values: np.ndarray, tracks: Tracks, reach: int) -> np.ndarray:
    """Means of `values` [n, D] over the boxes of the same track within `reach` frames."""
    bounds = window_bounds(tracks, reach)
    return track_sums(values, bounds) / (bounds[1] - bounds[0])[:, None]


def velocity(tracks: Tracks, span: int, reach: int) -> np.ndarray:
    """float64 [n, 2]: heights a second that the middle of the box moves, right and down, between
    the boxes `span` frames before and after; its mean over `reach` frames."""
    box = tracks.box
    middle, height = (box[:, :2] + box[:, 2:]) / 2, box[:, 3] - box[:, 1]
    first, last = window_bounds(tracks, span)
    last = last - 1
    time = np.maximum(tracks.frame[last] - tracks.frame[first], 1)
    scale = (height[first] + height[last] + height) / 3
    steps = (middle[last] - middle[first]) / (time * scale)[:, None] * SECONDS_STEP
    return track_means(steps, tracks, reach)


def log_sizes(tracks: Tracks, reach: int) -> np.ndarray:
    """float64 [n, 2]: logs of width and height in pixels, means over `reach` frames."""
    box = tracks.box
    return track_means(np.log(box[:, 2:] - box[:, :2]), tracks, reach)


def aspect(tracks: Tracks, reach: int) -> np.ndarray:
    """float64 [n, 1]: log of width over height."""
    logs = log_sizes(tracks, reach)
    return logs[:, :1] - logs[:, 1:]


def size(tracks: Tracks, reach: int) -> np.ndarray:
    """float64 [n, 1]: log of the height in pixels; comparable within one camera."""
    return log_sizes(tracks, reach)[:, 1:]


def place(tracks: Tracks) -> np.ndarray:
    """float64 [n, 2]: the middle of the lower edge in pixels; comparable within one camera."""
    box = tracks.box
    return np.stack([(box[:, 0] + box[:, 2]) / 2, box[:, 3]], 1)


# name of a feature set -> (tracks, span, reach) -> [n, D]
SETS: Mapping[str, Callable[[Tracks, int, int], np.ndarray]] = {
    "velocity": velocity,
    "aspect": lambda tracks, span, reach: aspect(tracks, reach),
    "size": lambda tracks, span, reach: size(tracks, reach),
    "place": lambda tracks, span, reach: place(tracks),
}
