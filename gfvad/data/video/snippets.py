"""Weightless features of snippets of frames: how fast and how widely things move, and what they look like against the background.

Everything is an order statistic, a count or a histogram over the whole picture, so a feature says how strong or how large something is and
not where. Strengths and counts enter as logarithms: a value above every training value stays above it through any increasing function.

motion (M = 60)      per frame, from cell means of DIS flow (`flow.py`): the largest window speeds by rank, the largest speed along each of 8
                     directions, the number of windows faster than each of LEVELS (a cumulative histogram of magnitude); and the largest windows of the
                     difference to the frame before, by rank
appearance (A = 68)  per frame, against the video's own background: the deviation in windows of three sizes by rank, the histogram of gradient
                     orientations of what deviates, the strongest window of each orientation, and the deviation by sign

A snippet holds the mean and then the maximum over its frames of each. Sizes are in cells of `cell` pixels, speeds in pixels a frame.
"""
from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from gfvad.eval.floors import flow_floor, flow_windows

SNIPPET = 16  # frames
RANKS = (1, 2, 4, 8, 16, 32, 64, 128)  # of windows, 1 the largest
WIDE_RANKS = (1, 4, 16, 64)
MEDIAN = 5  # frames of the temporal median of window speeds: flow flickers for a frame or two
DIRECTIONS = 8
LEVELS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # pixels a frame
LEAST_SPEED, LEAST_GREY = 0.1, 0.01  # added before logarithms: what noise reaches, in pixels a frame and in parts of full scale
ORIENTATIONS = 9  # unsigned, of 20 degrees
SIDES = (2, 4, 8)  # cells of a window's side
DEVIATES = 0.1  # of full scale: a pixel further from the background is of an object
BACKGROUND_FRAMES = 64  # evenly over the video, of which the background is the median
MOTION = 2 * (len(RANKS) + DIRECTIONS + len(LEVELS) + len(RANKS))
APPEARANCE = 2 * (len(SIDES) * len(WIDE_RANKS) + 2 * ORIENTATIONS + 2 * 2)
PICTURE = len(RANKS) + APPEARANCE // 2  # what `picture_statistics` gives of a frame


def snippet_count(frames: int) -> int:
    """Snippets of T frames; the last may be short."""
    return -(-frames // SNIPPET)


def pool(x: np.ndarray) -> np.ndarray:
    """Statistics of frames [T, K] -> of snippets [N, 2 K] float32, the mean and then the maximum over each snippet's own frames."""
    parts = [x[start : start + SNIPPET] for start in range(0, len(x), SNIPPET)]
    return np.stack([np.concatenate([part.mean(0), part.max(0)]) for part in parts]).astype(np.float32)


def mean(x: np.ndarray) -> np.ndarray:
    """Vectors of frames [T, D] -> their means over snippets [N, D] float32."""
    return np.stack([x[start : start + SNIPPET].mean(0) for start in range(0, len(x), SNIPPET)]).astype(np.float32)


def ranked(maps: np.ndarray, ranks: tuple[int, ...]) -> np.ndarray:
    """Values [T, a, b] -> those of the given ranks [T, len(ranks)], 1 the largest; the smallest value where there are fewer."""
    x = np.sort(maps.reshape(len(maps), -1), axis=1)[:, ::-1]
    return x[:, np.minimum(ranks, x.shape[1]) - 1]


def motion_statistics(cells: np.ndarray) -> np.ndarray:
    """Flow cells [T, a, b, 3] of (u, v, magnitude) -> [T, K] of each frame; see the file's head for the columns (a, b at least 2)."""
    cells = np.asarray(cells, np.float32)
    # [T, a - 1, b - 1]
    speed = flow_floor(cells[..., 2], MEDIAN, 1)
    u, v = flow_windows(cells[..., 0]), flow_windows(cells[..., 1])
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    # [T, directions]: along right, right-down, down, ...
    along = np.stack([(u * np.cos(a) + v * np.sin(a)).max((1, 2)) for a in angles], 1)
    counts = np.stack([(speed > level).sum((1, 2)) for level in LEVELS], 1)
    return np.concatenate([np.log(LEAST_SPEED + ranked(speed, RANKS)), np.log(LEAST_SPEED + np.maximum(along, 0)), np.log1p(counts)], 1)


def motion_features(cells: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Flow cells [T, a, b, 3] and `picture_statistics` [T, PICTURE] of a video -> motion of its snippets [N, MOTION] float32."""
    return pool(np.concatenate([motion_statistics(cells), pictures[:, : len(RANKS)]], 1))


def appearance_features(pictures: np.ndarray) -> np.ndarray:
    """`picture_statistics` [T, PICTURE] of a video -> appearance of its snippets [N, APPEARANCE] float32."""
    return pool(np.asarray(pictures, np.float32)[:, len(RANKS) :])


def floor_scores(magnitude: np.ndarray, frames: int, side: int) -> np.ndarray:
    """Floor of `eval/floors.py` on flow magnitude cells [T, a, b]: the mean over each snippet of the frames' scores, [N] float32."""
    return mean(flow_floor(magnitude, frames, side).max((1, 2))[:, None])[:, 0]


# ---- pictures --------------------------------------------------------------------------------------------------------------------------


def background(frames: np.ndarray) -> np.ndarray:
    """Median [H, W] float32 of at most BACKGROUND_FRAMES of a video's grey frames uint8 [T, H, W], taken evenly."""
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), BACKGROUND_FRAMES)).round().astype(int)
    return np.median(frames[chosen], axis=0).astype(np.float32)


def picture_statistics(frames: np.ndarray, cell: int) -> Iterator[np.ndarray]:
    """Grey frames uint8 [T, H, W] of one video (H, W multiples of cell) -> float32 [PICTURE] of each: differences, then appearance.

    The first frame has the difference of the second, as flow has; a video of one frame has none.
    """
    still = background(frames)
    for t, frame in enumerate(frames):
        later = frames[min(max(t, 1), len(frames) - 1)].astype(np.float32)
        change = np.abs(later - frames[max(t - 1, 0)]) / 255
        moved = ranked(flow_windows(cell_sums(change, cell)[None] / cell**2), RANKS)[0]
        yield np.concatenate([np.log(LEAST_GREY + moved), appearance_statistics(frame, still, cell)]).astype(np.float32)


def appearance_statistics(frame: np.ndarray, still: np.ndarray, cell: int) -> np.ndarray:
    """A grey frame [H, W] against its background [H, W] -> [APPEARANCE / 2]; see the file's head for the columns."""
    frame = frame.astype(np.float32)
    deviation = (frame - still) / 255
    # [a, b] means of cells
    brighter, darker = (cell_sums(np.maximum(sign * deviation, 0), cell) / cell**2 for sign in (1, -1))
    sizes = [ranked(boxes((brighter + darker), side)[None], WIDE_RANKS)[0] for side in SIDES]
    signs = [ranked(boxes(part, SIDES[1])[None], WIDE_RANKS[:2])[0] for part in (brighter, darker)]
    # [orientations, a, b] gradient magnitude of what deviates, by orientation, mean of a cell
    edges = oriented(frame / 255, np.abs(deviation) > DEVIATES, cell)
    total = edges.sum((1, 2))
    strongest = np.array([boxes(part, SIDES[1]).max() for part in edges])
    share = total / max(total.sum(), 1e-6)
    return np.concatenate([np.log(LEAST_GREY + np.concatenate(sizes + signs)), share, np.log(LEAST_GREY + strongest)])


def oriented(frame: np.ndarray, counted: np.ndarray, cell: int) -> np.ndarray:
    """Histogram of gradient orientations of each cell [ORIENTATIONS, a, b]: mean magnitude of the counted pixels whose edge has it.

    frame float32 [H, W] in [0, 1], counted bool [H, W]. Gradients are Sobel's, over 8, so that a step of 1 gives 0.5; orientations are unsigned, bin 0 from
    0 to 20 degrees of the gradient against the horizontal.
    """
    dx, dy = (cv2.Sobel(frame, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1)))
    strength = np.where(counted, np.hypot(dx, dy), 0)
    bins = np.floor(np.mod(np.arctan2(dy, dx), np.pi) / np.pi * ORIENTATIONS).astype(int) % ORIENTATIONS
    return np.stack([cell_sums(np.where(bins == k, strength, 0), cell) for k in range(ORIENTATIONS)]) / cell**2


def cell_sums(x: np.ndarray, cell: int) -> np.ndarray:
    """Pixels [H, W] -> sums over cells [H / cell, W / cell]."""
    h, w = x.shape
    return x.reshape(h // cell, cell, w // cell, cell).sum((1, 3))


def boxes(cells: np.ndarray, side: int) -> np.ndarray:
    """Means over side x side cells at every position that lies inside, [a, b] -> [a - side + 1, b - side + 1]; a smaller picture is one box."""
    sides = np.minimum(side, cells.shape)
    return np.lib.stride_tricks.sliding_window_view(cells, tuple(sides)).mean((2, 3))
