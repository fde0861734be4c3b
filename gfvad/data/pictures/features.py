"""Features of the patches of a picture: what is there (grey), what is there beside how bright the
picture is (contrast), where edges are (texture), what a network takes it for (tokens), and how fast
it moves (speed). Ours.

A patch is one of rows x columns equal parts of the picture; a feature set gives SIDE x SIDE cells
of it, so that large and small patches are described alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.ndimage import median_filter

from gfvad.base.types import ConfigError

SIDE = 4  # cells of a patch, down and across
DARK = 0.05  # added to grey before the logarithm; below it is noise
FAINT = 0.02  # the same for means of cells
STILL = 0.3  # % of the width a second, the same for flow
SPEED_SECONDS = 1.2


class Grid(NamedTuple):
    """Equal parts of a picture."""

    rows: int
    columns: int

    @property
    def patches(self) -> int:
        """rows x columns."""
        return self.rows * self.columns


def cell_means(x: np.ndarray, grid: Grid, side: int = SIDE) -> np.ndarray:
    """Maps [n, H, W] -> means over the cells of a grid's patches [n, side rows, side columns]. H
    and W must be multiples of those."""
    n, height, width = x.shape
    down, across = grid.rows * side, grid.columns * side
    return x.reshape(n, down, height // down, across, width // across).mean((2, 4))


def by_patch(cells: np.ndarray, grid: Grid) -> np.ndarray:
    """[n, SIDE rows, SIDE columns] -> [n, patches, SIDE * SIDE], patches row by row."""
    n = len(cells)
    parts = cells.reshape(n, grid.rows, SIDE, grid.columns, SIDE)
    return parts.transpose(0, 1, 3, 2, 4).reshape(n, grid.patches, SIDE * SIDE)


def grey(pictures: np.ndarray, grid: Grid) -> np.ndarray:
    """[n, H, W] in 0..1 -> [n, patches, 16] means of the cells."""
    return by_patch(cell_means(pictures, grid), grid)


def contrast(pictures: np.ndarray, grid: Grid) -> np.ndarray:
    """[n, H, W] in 0..1 -> [n, patches, 16]: log of each cell over the median cell of its picture,
    which a brighter lamp does not change."""
    cells = cell_means(pictures, grid)
    usual = np.median(cells.reshape(len(cells), -1), 1)[:, None, None]
    return by_patch(np.log((cells + FAINT) / (usual + FAINT)), grid)


def texture(pictures: np.ndarray, grid: Grid) -> np.ndarray:
    """[n, H, W] in 0..1 -> [n, patches, 32]: root of the mean absolute step of the log grey, across
    and down, in each cell."""
    logs = np.log(pictures + DARK)
    across = np.abs(np.diff(logs, axis=2, append=logs[:, :, -1:]))
    down = np.abs(np.diff(logs, axis=1, append=logs[:, -1:]))
    edges = [by_patch(np.sqrt(cell_means(x, grid)), grid) for x in (across, down)]
    return np.concatenate(edges, -1)


def speed(shares: np.ndarray, fps: float) -> np.ndarray:
    """Mean flow of patches, [T, patches] in % of the picture's width a second -> [T, patches, 1]:
    log of the median over SPEED_SECONDS."""
    frames = 2 * round(SPEED_SECONDS * fps / 2) + 1
    usual = median_filter(shares, (frames, 1), mode="nearest") if frames > 1 else shares
    return np.log(usual + STILL)[..., None]


def tokens(pictures: np.ndarray, grid: Grid) -> np.ndarray:
    """[n, H, W] in 0..1 -> [n, patches, 112]: what EfficientNet-Lite0 has of each place in the
    middle of the network (gfvad/encoders/efficientnet.py), as a direction, the mean over a patch.
    Raises ConfigError for a grid that does not divide its map."""
    from gfvad.encoders.efficientnet import network_map, squared  # which loads jax

    shown = np.stack([squared(np.round(p * 255).astype(np.uint8)) for p in pictures])
    late = network_map(np.repeat(shown[..., None], 3, -1))
    side = late.shape[1]
    if side % grid.rows or side % grid.columns:
        raise ConfigError(
            f"config.data.grids: tokens lie on {side} x {side} places; expected rows and columns"
            f" that divide {side}, found {grid.rows}x{grid.columns}"
        )
    down, across = side // grid.rows, side // grid.columns
    cells = late.reshape(len(late), grid.rows, down, grid.columns, across, -1).mean((2, 4))
    found = cells.reshape(len(late), grid.patches, -1)
    return found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-6)


# name of a feature set -> (pictures [n, H, W] in 0..1, grid) -> [n, patches, D]
SETS: Mapping[str, Callable[[np.ndarray, Grid], np.ndarray]] = {
    "grey": grey,
    "contrast": contrast,
    "texture": texture,
    "tokens": tokens,
}
# the same of those that need the frames between the pictures: (mean flow [T, patches], fps)
MOVING: Mapping[str, Callable[[np.ndarray, float], np.ndarray]] = {"speed": speed}


def cells_of_grid(grid: Grid, height: int, width: int) -> np.ndarray:
    """float64 [patches, 4] x1, y1, x2, y2 of the patches in a picture of height x width pixels."""
    row, column = np.divmod(np.arange(grid.patches), grid.columns)
    edges = np.stack([column, row, column + 1, row + 1], 1).astype(np.float64)
    return edges * ([width / grid.columns, height / grid.rows] * 2)
