"""Weightless features of snippets of 16 frames: how fast and how widely things move, and how they stand out from the background.

A few statistics of each frame, each a strength (of the largest windows of the picture, so they say how much and not where), then how far above each of
eight fixed levels it is: `codes` in (0, 1), averaged over the snippet's frames. A code of a level is the soft share of the snippet's frames that reach it.
So a feature grows with the strength, is bounded however strong that gets, and keeps the strength's order where a normalised layer would lose it.

motion (M = 32)        window speeds by rank (RANKS): cell means of DIS flow magnitude (`flow.py`) in windows of 2 x 2 cells, a median over 5 frames in each
appearance (A = 200)   against the video's own background: deviation in windows of three sizes by rank; brighter and darker parts by rank; the strongest
                       window of gradients of each of nine orientations, of the pixels that deviate

Sizes are in cells of `cell` pixels, speeds in pixels a frame, grey values in parts of full scale.
"""
from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from gfvad.eval.floors import flow_floor

SNIPPET = 16  # frames
RANKS = (1, 4, 16, 64)  # of windows, 1 the largest
MEDIAN = 5  # frames of the temporal median of window speeds: flow flickers for a frame or two
SPEEDS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)  # levels in pixels a frame, half an octave apart
GREYS = (0.02, 0.04, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4)  # levels in parts of full scale
LEAST_SPEED, LEAST_GREY = 0.1, 0.01  # added before logarithms: what noise reaches
SOFTNESS = 0.35  # of a code, in the logarithm: the half octave between two levels
ORIENTATIONS = 9  # unsigned, of 20 degrees
SIDES = (2, 4, 8)  # cells of a window's side
DEVIATES = 0.1  # of full scale: a pixel further from the background is of an object
BACKGROUND_FRAMES = 64  # evenly over the video, of which the background is the median
PICTURE = len(SIDES) * len(RANKS) + 2 * 2 + ORIENTATIONS  # statistics of a frame by `picture_statistics`
MOTION = len(RANKS) * len(SPEEDS)
APPEARANCE = PICTURE * len(GREYS)


def mean(x: np.ndarray) -> np.ndarray:
    """Vectors of frames [T, D] -> their means over snippets [N, D] float32; the last snippet is the mean of the frames it has."""
    return np.stack([x[start : start + SNIPPET].mean(0, dtype=np.float64) for start in range(0, len(x), SNIPPET)]).astype(np.float32)


def codes(x: np.ndarray, levels: tuple[float, ...], least: float) -> np.ndarray:
    """Strengths [T, K], 0 or more -> [T, K len(levels)]: sigmoid((log(x + least) - log(level + least)) / SOFTNESS), the levels of a strength side by side."""
    ratio = np.log(np.asarray(x, np.float64) + least)[..., None] - np.log(np.asarray(levels) + least)
    return (1 / (1 + np.exp(-ratio / SOFTNESS))).reshape(len(x), -1)


def ranked(maps: np.ndarray, ranks: tuple[int, ...]) -> np.ndarray:
    """Values [T, a, b] -> those of the given ranks [T, len(ranks)], 1 the largest; the smallest value where there are fewer."""
    x = np.sort(maps.reshape(len(maps), -1), axis=1)[:, ::-1]
    return x[:, np.minimum(ranks, x.shape[1]) - 1]


def motion_features(cells: np.ndarray) -> np.ndarray:
    """Flow cells [T, a, b, 3] of (u, v, magnitude), a and b at least 2 -> motion of the snippets [N, MOTION] float32."""
    speed = flow_floor(np.asarray(cells[..., 2], np.float32), MEDIAN, 1)  # [T, a - 1, b - 1]
    return mean(codes(ranked(speed, RANKS), SPEEDS, LEAST_SPEED))


def appearance_features(pictures: np.ndarray) -> np.ndarray:
    """`picture_statistics` [T, PICTURE] of a video -> appearance of its snippets [N, APPEARANCE] float32."""
    return mean(codes(pictures, GREYS, LEAST_GREY))


def floor_scores(magnitude: np.ndarray, frames: int, side: int) -> np.ndarray:
    """Floor of `eval/floors.py` on flow magnitude cells [T, a, b]: the mean over each snippet of its frames' scores, [N] float32."""
    return mean(flow_floor(magnitude, frames, side).max((1, 2))[:, None])[:, 0]


# ---- pictures --------------------------------------------------------------------------------------------------------------------------


def background(frames: np.ndarray) -> np.ndarray:
    """Median [H, W] float32 of at most BACKGROUND_FRAMES of a video's grey frames uint8 [T, H, W], taken evenly."""
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), BACKGROUND_FRAMES)).round().astype(int)
    return np.median(frames[chosen], axis=0).astype(np.float32)


def picture_statistics(frames: np.ndarray, cell: int) -> Iterator[np.ndarray]:
    """Grey frames uint8 [T, H, W] of one video (H, W multiples of cell) -> float32 [PICTURE] of each, against the video's background."""
    still = background(frames)
    return (deviation_statistics(frame, still, cell) for frame in frames)


def deviation_statistics(frame: np.ndarray, still: np.ndarray, cell: int) -> np.ndarray:
    """A grey frame [H, W] against its background [H, W] -> float32 [PICTURE]; see the file's head for the columns."""
    deviation = (frame.astype(np.float32) - still) / 255
    # [a, b] means of cells
    brighter, darker = (cell_means(np.maximum(sign * deviation, 0), cell) for sign in (1, -1))
    sizes = [ranked(boxes(brighter + darker, side)[None], RANKS)[0] for side in SIDES]
    signs = [ranked(boxes(part, SIDES[1])[None], RANKS[:2])[0] for part in (brighter, darker)]
    edges = oriented(frame.astype(np.float32) / 255, np.abs(deviation) > DEVIATES, cell)
    strongest = np.array([boxes(part, SIDES[1]).max() for part in edges])
    return np.concatenate([*sizes, *signs, strongest]).astype(np.float32)


def oriented(frame: np.ndarray, counted: np.ndarray, cell: int) -> np.ndarray:
    """Gradients of each cell by orientation [ORIENTATIONS, a, b]: mean over the cell of the magnitude of the counted pixels of an orientation.

    frame float32 [H, W] in [0, 1], counted bool [H, W]. Gradients are Sobel's over 8, grey value a pixel; orientations are unsigned, bin 0 from 0 to 20
    degrees between the gradient and the horizontal (histogram of oriented gradients, Dalal and Triggs 2005, without its blocks).
    """
    dx, dy = (cv2.Sobel(frame, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1)))
    strength = np.where(counted, np.hypot(dx, dy), 0)
    bins = np.floor(np.mod(np.arctan2(dy, dx), np.pi) / np.pi * ORIENTATIONS).astype(int) % ORIENTATIONS
    return np.stack([cell_means(np.where(bins == k, strength, 0), cell) for k in range(ORIENTATIONS)])


def cell_means(x: np.ndarray, cell: int) -> np.ndarray:
    """Pixels [H, W] -> means over cells [H / cell, W / cell]."""
    h, w = x.shape
    return x.reshape(h // cell, cell, w // cell, cell).mean((1, 3))


def boxes(cells: np.ndarray, side: int) -> np.ndarray:
    """Means over side x side cells at every position that lies inside, [a, b] -> [a - side + 1, b - side + 1]; a smaller picture is one box."""
    sides = tuple(np.minimum(side, cells.shape))
    return np.lib.stride_tricks.sliding_window_view(cells, sides).mean((2, 3))
