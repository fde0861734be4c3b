"""Appearance of a unit without weights: outlines by place and direction (histograms of oriented
gradients, Dalal and Triggs 2005) and colours of its middle frame."""

from __future__ import annotations

import cv2
import numpy as np

from gfvad.encoders.registry import UnitEncoder
from gfvad.encoders.units import Unit

ORIENTATIONS = 9  # unsigned
GRID = 4  # cells a side
HUES, SATURATIONS, BRIGHTNESSES = 8, 6, 6


class Appearance(UnitEncoder):
    """Outlines of each cell [144, each cell of unit length], of the whole picture [9], colours
    [20]."""

    name = modality = "appearance"
    width = GRID * GRID * ORIENTATIONS + ORIENTATIONS + HUES + SATURATIONS + BRIGHTNESSES

    def encode(self, unit: Unit) -> np.ndarray:
        """float32 [width]."""
        frame = np.ascontiguousarray(unit.middle)
        # [4, 4, 9]
        outlines = oriented(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255)
        by_cell = outlines / (np.linalg.norm(outlines, axis=-1, keepdims=True) + 1e-2)
        parts = by_cell.ravel(), np.sqrt(outlines.mean((0, 1))), colours(frame)
        return np.concatenate(parts).astype(np.float32)


def by_orientation(picture: np.ndarray) -> list[np.ndarray]:
    """Magnitudes [h, w] of the gradients of each of ORIENTATIONS, 0 at other pixels.

    picture float32 [h, w] in [0, 1]. Gradients are Sobel's over 8, in change a pixel; orientations
    are unsigned, bin 0 from 0 to 20 degrees between the gradient and the horizontal (histogram of
    oriented gradients, Dalal and Triggs 2005, without its blocks).
    """
    sobel = lambda x, y: cv2.Sobel(picture, cv2.CV_32F, x, y, ksize=3, scale=1 / 8)
    dx, dy = sobel(1, 0), sobel(0, 1)
    strength, turns = np.hypot(dx, dy), np.mod(np.arctan2(dy, dx), np.pi) / np.pi
    bins = np.floor(turns * ORIENTATIONS).astype(int) % ORIENTATIONS
    return [np.where(bins == k, strength, 0) for k in range(ORIENTATIONS)]


def oriented(picture: np.ndarray) -> np.ndarray:
    """Mean gradient of each cell by orientation, float32 [h, w] in [0, 1] -> [GRID, GRID,
    ORIENTATIONS]."""
    cells = lambda part: cv2.resize(part, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.stack([cells(part) for part in by_orientation(picture)], -1)


def colours(rgb: np.ndarray) -> np.ndarray:
    """Square roots of the shares of hues (weighed by saturation), saturations and brightnesses
    of the pixels [20]."""
    h, s, v = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV))
    hues = np.histogram(h, HUES, (0, 180), weights=s.astype(np.float64))[0] / 255
    pale, dark = np.histogram(s, SATURATIONS, (0, 256)), np.histogram(v, BRIGHTNESSES, (0, 256))
    return np.sqrt(np.concatenate([hues, pale[0], dark[0]]) / h.size)
