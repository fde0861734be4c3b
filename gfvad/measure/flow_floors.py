"""Floors that need no training: the largest window average of optical flow magnitude. What a model
adds must be shown beside them.

Magnitude is averaged in windows of 16 x 16 pixels at steps of 8 (2 x 2 cells of 8 pixels), the
median is taken over time in each window, then the mean over neighbouring window positions, then the
largest. Ends and edges are mirrored. The settings beyond the first were compared on the test labels
of Ped2 by those who published them, so they say how far this clue alone can go, not what a method
would reach.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter, uniform_filter

FLOORS = (  # name, frames of the median, window positions of the mean
    ("flow, largest 16 x 16 window", 1, 1),
    ("flow, median of 5 frames", 5, 1),
    ("flow, median of 9 frames, mean of 3 x 3 windows", 9, 3),
    ("flow, median of 13 frames, mean of 2 x 2 windows", 13, 2),
)


def flow_floor(magnitude: np.ndarray, frames: int, side: int) -> np.ndarray:
    """Cell means of flow magnitude [T, a, b] -> map of a floor [T, a - 1, b - 1] of one video; its
    frame scores are the largest value of each frame."""
    m = magnitude.astype(np.float32)
    x = 0.25 * (m[:, :-1, :-1] + m[:, 1:, :-1] + m[:, :-1, 1:] + m[:, 1:, 1:])
    x = median_filter(x, (frames, 1, 1), mode="reflect") if frames > 1 else x
    if side == 1:
        return x
    # the library's stubs know one size alone
    return uniform_filter(x, (1, side, side), mode="reflect")  # pyright: ignore[reportArgumentType]
