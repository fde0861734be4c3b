"""Videos as sets of units to compare with a bank: tracked objects, or patches of pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gfvad.data.objects.tracks import Tracks

PARTS = 8  # that a set of fewer videos is cut into, so that a unit can be compared with other parts


class UnitVideo(NamedTuple):
    """Where the n units of a video are."""

    tracks: Tracks  # of a patch: its place is the person, its cell the box
    frames: int
    group: np.ndarray  # int64 [n] units of one kind, which are calibrated together
    hold: int = 1  # frames that a unit's score holds for


class UnitVideos:
    """The videos of a split, by name. Subclasses say what a unit is."""

    what = "units"
    located = True  # whether a unit is somewhere in the picture
    patches = False  # whether units are the patches of whole pictures
    places = 1  # where a unit can be in the picture
    groups = 1  # kinds of units

    def __init__(
        self,
        name: str,
        split: str,
        tracks: Sequence[Tracks],
        names: Sequence[str],
        data_cfg: Any,
    ):
        """Args: names: in the order of tracks; data_cfg: config.data."""
        self.dataset, self.split, self.cfg = name, split, data_cfg
        self.names, self.tracks = list(names), list(tracks)
        self.labels: list[np.ndarray] | None = None  # of the frames of each video, where known
        self.lengths: list[int] = [t.frames for t in tracks]

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        digest = hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:8]
        return f"{self.dataset} {self.split}, {len(self)} videos ({digest}) of {self.what}"

    @cached_property
    def content(self) -> dict[str, str]:
        """Digests of what the units are made from, and of the labels."""
        parts = self.sources()
        if self.labels is not None:
            parts = {**parts, "labels": self.labels}
        return {n: _digest(self.names, arrays) for n, arrays in parts.items()}

    def sources(self) -> dict[str, Sequence[np.ndarray]]:
        """What the units of each video are made from, by name."""
        raise NotImplementedError

    def features(self, index: int) -> dict[str, np.ndarray]:
        """Feature set -> float32 [n, D] of the units of a video."""
        raise NotImplementedError

    def units(self, index: int) -> UnitVideo:
        """Where the units of a video are."""
        tracks = self.tracks[index]
        return UnitVideo(tracks, self.lengths[index], np.zeros(len(tracks.frame), np.int64))

    def fps(self, index: int) -> float:
        """Frames a second of a video."""
        return float(self.cfg.fps)

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of a video's pictures in pixels; (0, 0) where they are not known."""
        return 0, 0

    def path(self, index: int) -> str:
        """Where a video lies; '' where that is not known."""
        return ""

    @cached_property
    def cameras(self) -> list[str]:
        """Of each video: the first characters of its name, '' where there is one camera."""
        return [name[: self.cfg.camera_characters] for name in self.names]

    def code(self, index: int, cameras: Sequence[str], by_place: bool) -> np.ndarray:
        """int32 [n] the camera of each unit of a video; by_place: and the place in its picture.
        Args: cameras: those that the bank knows."""
        camera, person = cameras.index(self.cameras[index]), self.tracks[index].person
        if not by_place:
            return np.full(len(person), camera, np.int32)
        return (camera * self.places + person).astype(np.int32)

    @cached_property
    def parts(self) -> list[np.ndarray]:
        """Of each unit of each video, the part of the split that it is in, int32: a video, or an
        equal span of one where there are few. A unit is never compared with its own part."""
        pieces = -(-PARTS // len(self)) if len(self) < PARTS else 1
        found = []
        for i, tracks in enumerate(self.tracks):
            piece = tracks.frame * pieces // max(self.lengths[i], 1)
            found.append((i * pieces + np.minimum(piece, pieces - 1)).astype(np.int32))
        return found


def _digest(names: Sequence[str], arrays: Sequence[np.ndarray]) -> str:
    found = hashlib.sha256()
    for name, array in zip(names, arrays, strict=True):
        found.update(name.encode() + b"\0" + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]
