"""Scores of patches of pictures as frames come: only earlier frames are looked at, in bounded
memory."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import cv2
import numpy as np

from gfvad.base.types import DataError
from gfvad.data.company import Places, added
from gfvad.data.objects.tracks import Tracks
from gfvad.data.pictures.features import cells_of_grid
from gfvad.data.pictures.videos import every_of, grids_of, patch_features
from gfvad.data.unit_videos import UnitVideo
from gfvad.encoders.units import Picture, Sound
from gfvad.measure.score_result import Culprit, UnitScore
from gfvad.tasks.novelty.opened import OpenedModel
from gfvad.tasks.novelty.score import frame_scores, new_parts

SIDE = 1 << 14  # pixels of the long side of frames: as large as they come, as files are read


class Kept(NamedTuple):
    """A picture whose patches may still pass messages on."""

    frame: int
    novelty: np.ndarray  # float64 [P, T]
    first: np.ndarray  # float32 [P, D] of the first feature set


class PatchStreamer:
    """Causal scores of a stream: `push` a frame, get its score; equal to those of the whole video
    whose messages come from earlier frames alone.

    config.data.pictures_a_second frames are looked at, the others have the score of the last one
    that was. A frame that lies behind a break of the stream goes on as if there had been none.
    """

    def __init__(self, model: OpenedModel, camera: str, fps: float):
        """camera: as the bank knows it; fps: of the source."""
        self.model, self.data = model, model.config.data
        self.grids = grids_of(self.data)
        self.fps, self.every = fps, every_of(fps, self.data)
        places = sum(grid.patches for grid in self.grids)
        self.person = np.arange(places, dtype=np.int64)
        self.group = np.repeat(np.arange(len(self.grids)), [grid.patches for grid in self.grids])
        first = model.cameras.index(camera) * places
        self.code = (first + np.arange(places)).astype(np.int32)
        self.names = tuple("*".join(t) for t in model.columns[: model.terms])
        self.delay = "none but the time of scoring a frame"
        self.number = 0  # frames so far
        self._kept: deque[Kept] = deque()
        self._last: tuple[float, dict[str, float], Culprit] | None = None
        self._shape: tuple[int, ...] | None = None
        self._novelty(np.zeros((self.data.height, self.data.width), np.uint8))  # compiles

    def push(self, piece: Picture | Sound) -> list[UnitScore]:
        """One more frame; sound is not heard. Raises DataError for a frame of another size."""
        if isinstance(piece, Sound):
            return []
        if self._shape is not None and self._shape != piece.rgb.shape:
            raise DataError(
                f"stream: frame {self.number} has shape {list(piece.rgb.shape)}, expected"
                f" {list(self._shape)} as before: start the stream anew"
            )
        self._shape = piece.rgb.shape
        if self.number % self.every == 0:
            self._look(piece.rgb)
        self.number += 1
        assert self._last is not None
        score, shares, culprit = self._last
        return [UnitScore(piece.time, piece.time + 1 / self.fps, score, shares, culprit)]

    def finish(self) -> list[UnitScore]:
        """Nothing waits."""
        return []

    def _boxes(self, picture: np.ndarray) -> np.ndarray:
        """float64 [P, 4] of the patches of a picture."""
        return np.concatenate([cells_of_grid(grid, *picture.shape[:2]) for grid in self.grids])

    def _novelty(self, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the patches of a picture (novelty [P, T], first feature set [P, D])."""
        features = patch_features([grey], self.data, self.grids)
        units = {name: x[0].astype(np.float32) for name, x in features.items()}
        places = Places(np.zeros_like(self.person), self.group, self._boxes(grey))
        units = added(units, places, self.data)
        model = self.model
        found = model.reader.read(model.state, units, self.code, new_parts(len(self.code)))
        return found[:, : model.terms], units[self.data.modalities[0]]

    def _look(self, rgb: np.ndarray) -> None:
        """Scores a frame."""
        config = self.model.config
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        self._kept.append(Kept(self.number, *self._novelty(grey)))
        while self._kept[0].frame < self.number - int(config.score.reach):
            self._kept.popleft()
        began, count = self._kept[0].frame, len(self._kept)
        frame = np.tile([kept.frame - began for kept in self._kept], len(self.person))
        boxes = self._boxes(rgb)
        person = np.repeat(self.person, count)
        tracks = Tracks(frame.astype(np.int64), person, np.repeat(boxes, count, 0))
        units = UnitVideo(tracks, self.number - began + 1, np.repeat(self.group, count))
        novelty = np.stack([kept.novelty for kept in self._kept], 1)
        first = np.stack([kept.first for kept in self._kept], 1)
        found = frame_scores(
            novelty.reshape(-1, novelty.shape[-1]),
            units,
            self.model.calibration(),
            config.score,
            past=True,
            first=first.reshape(-1, first.shape[-1]),
        )
        i = int(found.unit[-1])
        x1, y1, x2, y2 = map(float, tracks.box[i])
        shares = dict(zip(self.names, map(float, found.shares[-1]), strict=True))
        self._last = float(found.score[-1]), shares, Culprit(int(person[i]), (x1, y1, x2, y2))
