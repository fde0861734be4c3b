"""Score maps and masks of a video as cells of one size, each with the pixels of truth in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from scipy.ndimage import label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gfvad.base.types import DataError

RESIZES = ("nearest", "bilinear")


# 8 neighbours in the frame, none in time
WITHIN_FRAME = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])


class MappedVideo(NamedTuple):
    """One video with its score maps and its truth (host side, numpy)."""

    name: str
    maps: np.ndarray  # float [T, h, w], h <= H, w <= W; higher is more abnormal
    masks: np.ndarray  # bool [T, H, W]


class Cells(NamedTuple):
    """A video's maps and the truth at the resolution they are thresholded at, h' x w'. Z pairs
    of a cell and a region, R regions."""

    # float [T, h, w] as given; `values` enlarges them to [T, h', w'], so that no set of large maps
    # is held
    maps: np.ndarray
    # int64 [h', w'] mask pixels of each cell; h' = h, w' = w by 'nearest', H and W by 'bilinear'
    pixels: np.ndarray
    cell: np.ndarray  # int64 [Z] index into the flat values
    region: np.ndarray  # int64 [Z]
    shared: np.ndarray  # int64 [Z] pixels of the region in the cell
    area: np.ndarray  # int64 [R] pixels of each region
    track: np.ndarray  # int64 [R] track of each region, 0 .. tracks - 1


def components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """(int [T, H, W] 0 outside and 1 .. n in a region of its frame, n) of a mask [T, H, W]."""
    return cast(tuple[np.ndarray, int], label(mask, WITHIN_FRAME))


def check_maps(videos: Sequence[MappedVideo], resize: str) -> None:
    """Raises DataError for no video, a repeated name, shapes that do not fit, maps finer than
    masks or not finite, an unknown resize."""
    if resize not in RESIZES:
        raise DataError(f"resize {resize!r}: expected one of {', '.join(RESIZES)}")
    if not videos:
        raise DataError("no video with score maps: expected at least one")
    names: set[str] = set()
    for v in videos:
        m, t = np.shape(v.maps), np.shape(v.masks)
        if v.name in names:
            raise DataError(f"video {v.name!r} has score maps twice: expected every video once")
        names.add(v.name)
        fit = len(m) == len(t) == 3 and m[0] == t[0] and m[1] <= t[1] and m[2] <= t[2]
        if not fit or not np.prod(m):
            raise DataError(
                f"video {v.name!r}: maps {m} and masks {t}, expected [T, h, w] and [T, H, W] with T"
                " >= 1, 1 <= h <= H, 1 <= w <= W"
            )
        if not np.isfinite(v.maps).all():
            raise DataError(
                f"video {v.name!r}: {int((~np.isfinite(v.maps)).sum())} map values are not finite,"
                " expected numbers; check the model"
            )


def _axis_linear(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Linear enlargement of one axis to `size`; a + f (b - a) leaves equal neighbours exactly
    equal."""
    n = values.shape[axis]
    place = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
    low = np.minimum(place.astype(np.int64), max(n - 2, 0))
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    share = (place - low).astype(values.dtype).reshape(shape)
    first, second = np.take(values, low, axis), np.take(values, np.minimum(low + 1, n - 1), axis)
    return first + share * (second - first)


def bilinear(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Maps [T, h, w] -> [T, height, width] by the rule of this file; the type stays where it is
    a float."""
    maps = np.asarray(maps)
    maps = maps if np.issubdtype(maps.dtype, np.floating) else maps.astype(np.float64)
    return _axis_linear(_axis_linear(maps, width, 2), height, 1)


def cell_of(size: int, cells: int) -> np.ndarray:
    """int64 [size]: cell of each mask pixel along one axis, by the rule 'nearest'."""
    return (2 * np.arange(size) + 1) * cells // (2 * size)


def _tracks(labels: np.ndarray, n: int) -> np.ndarray:
    """int64 [R]: track of each of n regions; labels int [T, H, W], 0 outside and 1 .. n in a
    region."""
    both = (labels[:-1] > 0) & (labels[1:] > 0)
    a, b = labels[:-1][both] - 1, labels[1:][both] - 1
    links = coo_array((np.ones(len(a), bool), (a, b)), shape=(n, n))
    return connected_components(links, directed=False)[1].astype(np.int64)


def cells(video: MappedVideo, resize: str = "nearest") -> Cells:
    """A checked video's maps and truth at their common resolution. The truth is kept as its few
    pixels, not as frames."""
    maps, masks = np.asarray(video.maps), np.asarray(video.masks, bool)
    height, width = masks.shape[1:] if resize == "bilinear" else maps.shape[1:]
    labels, n = components(masks)
    t, y, x = np.nonzero(labels)  # [pixels of truth] each
    rows, columns = cell_of(masks.shape[1], height), cell_of(masks.shape[2], width)
    cell = (t * height + rows[y]) * width + columns[x]
    pairs, shared = np.unique(cell * n + labels[t, y, x] - 1, return_counts=True)  # [Z]
    pixels = np.outer(np.bincount(rows), np.bincount(columns))
    cell, region = np.divmod(pairs, max(n, 1))
    area = np.bincount(region, shared, n).astype(np.int64)
    tracks = _tracks(labels, n) if n else np.zeros(0, np.int64)
    return Cells(maps, pixels, cell, region, shared.astype(np.int64), area, tracks)


def values(c: Cells) -> np.ndarray:
    """float [T, h', w']: the maps at the resolution they are thresholded at."""
    return c.maps if c.maps.shape[1:] == c.pixels.shape else bilinear(c.maps, *c.pixels.shape)


def true_pixels(c: Cells) -> tuple[np.ndarray, np.ndarray]:
    """(cells that hold truth [A] as index into the flat maps, ascending; their pixels of truth
    [A])."""
    where, inverse = np.unique(c.cell, return_inverse=True)
    return where, np.bincount(inverse, c.shared, len(where)).astype(np.int64)
