"""What of a picture a score of graph novelty comes from: boxes of objects, or a map of patches."""

from __future__ import annotations

import numpy as np

from gfvad.data.unit_videos import UnitVideo
from gfvad.measure.score_result import Boxes
from gfvad.tasks.novelty.score import FrameScore

HALF = 128  # of a map: a score that is the threshold


def boxes_of_objects(found: FrameScore, units: UnitVideo, size: tuple[int, int]) -> Boxes:
    """All objects of every frame; size: width and height of the pictures, (0, 0) where unknown."""
    tracks = units.tracks
    order = np.argsort(tracks.frame, kind="stable")
    first = np.searchsorted(tracks.frame[order], np.arange(units.frames + 1))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    highest = np.full(units.frames, -1, np.int64)
    some = found.unit >= 0
    highest[some] = place[found.unit[some]]
    return Boxes(
        size, first, tracks.box[order], tracks.person[order], found.of_units[order], highest
    )


def boxes_of_patches(found: FrameScore, units: UnitVideo, size: tuple[int, int]) -> Boxes:
    """Of every frame the one patch that counted most."""
    some = found.unit >= 0
    chosen = found.unit[some]
    highest = np.full(units.frames, -1, np.int64)
    highest[some] = np.arange(len(chosen))
    first = np.concatenate([[0], np.cumsum(some)])
    tracks = units.tracks
    return Boxes(
        size, first, tracks.box[chosen], tracks.person[chosen], found.of_units[chosen], highest
    )


def patch_maps(
    found: FrameScore, units: UnitVideo, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 [S, rows, columns] scores of the patches of the finest grid, each the mean with those
    of the coarser grids that it lies in; int64 [S] the frame of each map). See
    `levels`."""
    tracks, group = units.tracks, units.group
    frames = np.unique(tracks.frame)
    grids = [np.flatnonzero(group == g) for g in np.unique(group)]
    parts = [grid[tracks.frame[grid] == frames[0]] for grid in grids]  # of the first picture
    finest = max(parts, key=len)
    middles = (tracks.box[finest, :2] + tracks.box[finest, 2:]) / 2
    rows = len(np.unique(middles[:, 1]))
    total = np.zeros((len(frames), len(finest)))
    for grid, part in zip(grids, parts, strict=True):
        inside = np.all(
            (middles[:, None] >= tracks.box[part, :2]) & (middles[:, None] < tracks.box[part, 2:]),
            axis=-1,
        )
        by_time = grid[np.lexsort((tracks.person[grid], tracks.frame[grid]))]
        scores = found.of_units[by_time].reshape(len(frames), len(part))
        persons = np.argsort(np.argsort(tracks.person[part]))  # their places in `scores`
        total += scores[:, persons[inside.argmax(1)]]
    order = np.lexsort((middles[:, 0], middles[:, 1]))
    maps = (total / len(grids))[:, order].reshape(len(frames), rows, -1)
    return levels(maps, threshold), frames


def levels(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Scores -> uint8: 0 what is ordinary (0 and below), HALF the threshold, 255 the highest."""
    most = float(scores.max(initial=0))
    if threshold <= 0:  # nothing to be told apart by
        found = scores * (255 / max(most, 1e-9))
    elif most <= threshold:
        found = scores * (HALF / threshold)
    else:
        found = np.interp(scores, [0, threshold, most], [0, HALF, 255])
    return np.clip(np.round(found), 0, 255).astype(np.uint8)
