"""Weightless features of snippets of 16 frames: how fast things move, and how much of the picture
they fill and with what outline.

A few statistics of each frame, each a strength by rank over windows of the picture (so they say how
much and not where), become an angle each, and the snippet holds the mean over its frames of (cos,
sin) of the angles. An angle grows with the logarithm of the strength from 0 at the lower end of a
fixed range to SPAN at its upper end, and stays there beyond. So

- the cosine of two snippets' features is that of their strengths' difference: the relation of the
  paper, without standardisation;
- features are bounded and of nearly constant length, so a normalised layer keeps the order of the
  strengths; on an arc of SPAN = 45 degrees a classifier that tells slow from fast goes on rising to
  the end of the range (on one of 90 degrees it turns, and takes the fastest for less abnormal than
  the fast).

motion (M = 8)        window speeds by rank: cell means of DIS flow magnitude (`flow.py`) in windows
of 2 x 2 cells, in each the median over 5 frames appearance (A = 42)   of the pixels that deviate
from the video's own background: the share of windows of three sizes that they fill, by rank; and
how much
                      outline the strongest window has of each of nine orientations. Which pixels
                      deviate counts, not by how much: contrast does not enter.

Sizes are in cells of `cell` pixels, speeds in pixels a frame.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gfvad.encoders.appearance import ORIENTATIONS, by_orientation
from gfvad.measure.flow_floors import flow_floor

SNIPPET = 16  # frames
RANKS = (1, 2, 4, 8)  # of windows, 1 the largest: one moving object, not how many there are
MEDIAN = 5  # frames of the temporal median of window speeds: flow flickers for a frame or two
SPAN = np.pi / 4  # of an angle
# range of angles, pixels a frame: from slower than a walk to what training videos reach
SPEEDS = (0.5, 4.0)
FILLS = (0.05, 1.0)  # the same, share of a window
OUTLINES = (0.005, 0.1)  # the same, mean gradient of the outline in a window (0 to 1 across it)
SIDES = (2, 4, 8)  # cells of a window's side
DEVIATES = 0.1  # of full scale: a pixel further from the background is of an object
BACKGROUND_FRAMES = 64  # evenly over the video, of which the background is the median
FILL = len(SIDES) * len(RANKS)
PICTURE = FILL + ORIENTATIONS  # statistics of a frame by `picture_statistics`
MOTION, APPEARANCE = 2 * len(RANKS), 2 * PICTURE


def mean(x: np.ndarray) -> np.ndarray:
    """Vectors of frames [T, D] -> their means over snippets [N, D] float32; the last snippet is
    the mean of the frames it has."""
    parts = [x[start : start + SNIPPET] for start in range(0, len(x), SNIPPET)]
    return np.stack([part.mean(0, dtype=np.float64) for part in parts]).astype(np.float32)


def angles(x: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """Strengths [T, K] -> [T, 2 K]: cos and sin, side by side, of SPAN (log x - log low) / (log
    high - log low), cut to [0, SPAN]; ends = (low, high)."""
    low, high = np.log(ends)
    part = (np.log(np.maximum(np.asarray(x, np.float64), ends[0])) - low) / (high - low)
    angle = SPAN * np.minimum(part, 1.0)
    return np.stack([np.cos(angle), np.sin(angle)], -1).reshape(len(x), -1)


def ranked(maps: np.ndarray, ranks: tuple[int, ...] = RANKS) -> np.ndarray:
    """Values [T, a, b] -> those of the given ranks [T, len(ranks)], 1 the largest; the smallest
    value where there are fewer."""
    x = np.sort(maps.reshape(len(maps), -1), axis=1)[:, ::-1]
    return x[:, np.minimum(ranks, x.shape[1]) - 1]


def motion_features(cells: np.ndarray) -> np.ndarray:
    """Flow cells [T, a, b, 3] of (u, v, magnitude), a and b at least 2 -> motion of the snippets
    [N, MOTION] float32."""
    speed = flow_floor(np.asarray(cells[..., 2], np.float32), MEDIAN, 1)  # [T, a - 1, b - 1]
    return mean(angles(ranked(speed), SPEEDS))


def appearance_features(pictures: np.ndarray) -> np.ndarray:
    """`picture_statistics` [T, PICTURE] of a video -> appearance of its snippets [N, APPEARANCE]
    float32."""
    return mean(
        np.concatenate([angles(pictures[:, :FILL], FILLS), angles(pictures[:, FILL:], OUTLINES)], 1)
    )


def floor_scores(magnitude: np.ndarray, frames: int, side: int) -> np.ndarray:
    """Floor of `measure/flow_floors.py` on flow magnitude cells [T, a, b]: the mean over each
    snippet of its frames' scores, [N] float32."""
    return mean(flow_floor(magnitude, frames, side).max((1, 2))[:, None])[:, 0]


# ---- pictures


def background(frames: np.ndarray) -> np.ndarray:
    """Median [H, W] float32 of at most BACKGROUND_FRAMES of a video's grey frames uint8 [T, H,
    W], taken evenly."""
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), BACKGROUND_FRAMES)).round()
    return np.median(frames[chosen.astype(int)], axis=0).astype(np.float32)


def picture_statistics(frames: np.ndarray, cell: int) -> Iterator[np.ndarray]:
    """Grey frames uint8 [T, H, W] of one video (H, W multiples of cell) -> float32 [PICTURE] of
    each, against the video's background."""
    still = background(frames)
    return (figure_statistics(np.abs(frame - still) > DEVIATES * 255, cell) for frame in frames)


def figure_statistics(figure: np.ndarray, cell: int) -> np.ndarray:
    """The pixels of objects, bool [H, W] -> float32 [PICTURE]: fill of windows by size, then
    rank, then outline by orientation."""
    filled = cell_means(figure.astype(np.float32), cell)  # [a, b]
    sizes = [ranked(boxes(filled, side)[None])[0] for side in SIDES]
    outlines = [cell_means(part, cell) for part in by_orientation(figure.astype(np.float32))]
    outline = np.array([boxes(part, SIDES[1]).max() for part in outlines])
    return np.concatenate([*sizes, outline]).astype(np.float32)


def cell_means(x: np.ndarray, cell: int) -> np.ndarray:
    """Pixels [H, W] -> means over cells [H / cell, W / cell]."""
    h, w = x.shape
    return x.reshape(h // cell, cell, w // cell, cell).mean((1, 3))


def boxes(cells: np.ndarray, side: int) -> np.ndarray:
    """Means over side x side cells at every position that lies inside, [a, b] -> [a - side + 1,
    b - side + 1]; a smaller picture is one box."""
    sides = tuple(np.minimum(side, cells.shape))
    return np.lib.stride_tricks.sliding_window_view(cells, sides).mean((2, 3))
