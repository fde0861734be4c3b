"""Videos as sets of tracked objects: what the novelty model learns from and scores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.arrays import load_npz
from gfvad.base.names import some
from gfvad.base.types import DataError
from gfvad.data.objects.features import SETS
from gfvad.data.objects.tracks import Tracks, read_split, total_boxes

PARTS = 8  # that a set of fewer videos is cut into, so that a unit can be compared with other parts


class ObjectVideos:
    """The videos of a split, by name, with the features of their boxes."""

    def __init__(
        self,
        name: str,
        split: str,
        tracks: Mapping[str, Tracks],
        data_cfg: Any,
        labels: Mapping[str, np.ndarray] | None = None,
    ):
        """Args: data_cfg: config.data; labels: frames of each video, where they are known."""
        self.dataset, self.split, self.cfg = name, split, data_cfg
        self.names = sorted(tracks)
        self.tracks = [tracks[n] for n in self.names]
        self.labels = None if labels is None else [labels[n] for n in self.names]
        known = self.labels or [np.zeros(0)] * len(self.names)
        self.lengths = [len(y) or t.frames for y, t in zip(known, self.tracks, strict=True)]

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        digest = hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:8]
        return f"{self.dataset} {self.split}, {len(self)} videos ({digest}) of tracked boxes"

    @cached_property
    def content(self) -> dict[str, str]:
        """Digests of the boxes and of the labels."""
        parts: dict[str, Sequence[np.ndarray]] = {
            "tracks": [np.column_stack([t.frame, t.person, t.box]) for t in self.tracks]
        }
        if self.labels is not None:
            parts["labels"] = self.labels
        return {n: _digest(self.names, arrays) for n, arrays in parts.items()}

    def features(self, index: int) -> dict[str, np.ndarray]:
        """Feature set -> float32 [boxes, D] of a video."""
        span, reach = int(self.cfg.span), int(self.cfg.window)
        return {
            name: SETS[name](self.tracks[index], span, reach).astype(np.float32)
            for name in self.cfg.modalities
        }

    @cached_property
    def cameras(self) -> list[str]:
        """Of each video: the first characters of its name, '' where there is one camera."""
        return [name[: self.cfg.camera_characters] for name in self.names]

    @cached_property
    def parts(self) -> list[np.ndarray]:
        """Of each box of each video, the part of the split that it is in, int32: a video, or an
        equal span of one where there are few. A unit is never compared with its own part."""
        pieces = -(-PARTS // len(self)) if len(self) < PARTS else 1
        found = []
        for i, tracks in enumerate(self.tracks):
            piece = tracks.frame * pieces // max(self.lengths[i], 1)
            found.append((i * pieces + np.minimum(piece, pieces - 1)).astype(np.int32))
        return found


def open_videos(dataset: str, split: str, path: Path, data_cfg: Any) -> ObjectVideos:
    """A split without labels. Raises DataError where it has no boxes."""
    tracks = read_split(path)
    if not total_boxes(tracks):
        raise DataError(f"{path}: {len(tracks)} videos without a single box; expected some")
    return ObjectVideos(dataset, split, tracks, data_cfg)


def open_labelled(dataset: str, path: Path, labels: Path, data_cfg: Any) -> ObjectVideos:
    """The test split with the labels of its frames: an npz, one array of 0 and 1 a video. Raises
    DataError where they do not fit each other."""
    tracks = read_split(path)
    truth = load_npz(labels) if labels.is_file() else None
    if truth is None:
        raise DataError(
            f"{labels}: not found; expected an .npz with the frame labels of each video"
        )
    if missing := sorted(set(tracks) ^ set(truth)):
        raise DataError(
            f"{labels}: {len(truth)} videos, {path} has {len(tracks)}; expected the same ones,"
            f" different: {some(missing)}"
        )
    for name, y in truth.items():
        if y.ndim != 1 or y.dtype.kind not in "biu" or not set(np.unique(y)) <= {0, 1}:
            raise DataError(
                f"{labels}: {name} is {y.dtype} {list(y.shape)}; expected 0 and 1 [frames]"
            )
        if tracks[name].frames > len(y):
            raise DataError(
                f"{labels}: {name} has {len(y)} frames, {path} a box in frame"
                f" {tracks[name].frames - 1}; expected a label for every frame"
            )
    return ObjectVideos(
        dataset, "test", tracks, data_cfg, {n: y.astype(np.uint8) for n, y in truth.items()}
    )


def _digest(names: Sequence[str], arrays: Sequence[np.ndarray]) -> str:
    found = hashlib.sha256()
    for name, array in zip(names, arrays, strict=True):
        found.update(name.encode() + b"\0" + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]
