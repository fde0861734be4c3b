"""How far each place of a picture is from all the normal pictures that are known: small pictures
read, and a bank of those of training videos (ours). Pure numpy.

A picture is cut into patches; a patch is compared with the patches at the same place of every
picture of the bank, by how bright its cells are and where its edges are at once: the joint relation
of gfvad/graphs/bipartite.py, `1 / (1 + d / softness^2)`, d the sum of both squared distances over
how much each varies. Novelty is `-log` of the mean of the NEAREST largest. A picture has the mean
of the half of its places that are newest.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from gfvad.data.frames.store import fit
from gfvad.data.pictures.features import SIDE, Grid, cell_means, grey, texture

GRID = Grid(4, 8)
SIZE = (2 * SIDE * GRID.rows, 2 * SIDE * GRID.columns)  # of a small picture, pixels
NEAREST = 4
SOFTNESS = 0.2
LEAST_SPREAD = 1e-3  # of features, in their own unit
PICTURES = 2000  # of training videos, at most
BLOCK = 64  # pictures that are compared at once
NO_VIDEO = -1


def small_pictures(frames: np.ndarray) -> np.ndarray:
    """Frames uint8 [T, H, W, C], grey or RGB -> grey pictures uint8 [T, *SIZE], by area."""
    pictures = [
        x[..., 0] if x.shape[-1] == 1 else cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in frames
    ]
    return np.stack([fit(x, SIZE) for x in pictures])


def patch_features(pictures: np.ndarray) -> list[np.ndarray]:
    """uint8 [T, *SIZE] -> grey and texture of the patches, float32 [P, T, D] each."""
    x = pictures.astype(np.float32) / 255
    sets = grey(x, GRID), texture(x, GRID)
    return [np.ascontiguousarray(found.transpose(1, 0, 2), np.float32) for found in sets]


class PictureBank:
    """Normal pictures uint8 [K, *SIZE], ready to be compared with, and the video [K] that each
    comes from: a training video is compared with the others."""

    def __init__(self, pictures: np.ndarray, videos: np.ndarray):
        self.pictures, self.videos = pictures, videos
        known = patch_features(pictures)
        # a step of one spread in every feature is a squared distance of 1
        spreads = [np.sqrt(x.var(1).mean(-1)) + LEAST_SPREAD for x in known]
        self._scales = [1 / (s * np.sqrt(x.shape[-1])) for s, x in zip(spreads, known)]
        joined = self._join(known)
        self._center = joined.mean(1, keepdims=True)  # for the precision of squares below
        self._known = joined - self._center
        self._square = (self._known**2).sum(-1)[:, None]

    def _join(self, sets: Sequence[np.ndarray]) -> np.ndarray:
        scaled = [x * s[:, None, None] for x, s in zip(sets, self._scales)]
        return np.concatenate(scaled, -1)

    def novelty(self, pictures: np.ndarray, own: int = NO_VIDEO) -> np.ndarray:
        """Novelty of each place: pictures uint8 [T, *SIZE] -> float32 [T, rows, columns]. own: the
        video that they come from, whose pictures are left out (unless there are no others)."""
        others = self.videos != own
        others = others if others.any() else ~others
        nearest, parts = min(NEAREST, int(others.sum())), []
        for start in range(0, len(pictures), BLOCK):
            seen = self._join(patch_features(pictures[start : start + BLOCK])) - self._center
            products = seen @ self._known[:, others].transpose(0, 2, 1)  # [P, T, K]
            square = (seen**2).sum(-1)[..., None] + self._square[..., others]
            apart = np.maximum(square - 2 * products, 0)
            closest = np.partition(apart, nearest - 1, axis=-1)[..., :nearest]
            parts.append(-np.log((1 / (1 + closest / SOFTNESS**2)).mean(-1)).T)
        found = np.concatenate(parts).astype(np.float32)
        return found.reshape(len(pictures), GRID.rows, GRID.columns)

    def relations(self, pictures: np.ndarray) -> np.ndarray:
        """Relations of each place to the same place of every picture of the bank: uint8 [T, *SIZE]
        -> float64 [T, P, K], 1 where they are the same."""
        seen = self._join(patch_features(pictures)) - self._center  # [P, T, D]
        apart = ((seen[:, :, None].astype(np.float64) - self._known[:, None]) ** 2).sum(-1)
        return 1 / (1 + apart.transpose(1, 0, 2) / SOFTNESS**2)

    def nearest(self, pictures: np.ndarray) -> np.ndarray:
        """Distance of the whole grey picture, in cells, to the nearest one: uint8 [T, *SIZE] ->
        float32 [T]. The simplest thing that can be asked: a floor."""
        known, seen = (
            cell_means(x.astype(np.float32) / 255, GRID).reshape(len(x), -1)
            for x in (self.pictures, pictures)
        )
        found = [np.sqrt(((known - x) ** 2).mean(1).min()) for x in seen]
        return np.array(found, np.float32)


def newest(places: np.ndarray) -> np.ndarray:
    """Mean over the half of the places that are newest: [T, rows, columns] -> [T]."""
    flat = places.reshape(len(places), -1).astype(np.float64)
    count = max(1, flat.shape[1] // 2)
    return np.sort(flat, 1)[:, -count:].mean(1)
