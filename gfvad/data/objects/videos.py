"""Videos as sets of tracked objects: what the novelty model learns from and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.arrays import load_npz
from gfvad.base.names import some
from gfvad.base.types import DataError
from gfvad.data import company
from gfvad.data.objects.features import SETS
from gfvad.data.objects.tracks import Tracks, read_split, total_boxes
from gfvad.data.unit_videos import UnitVideos


class ObjectVideos(UnitVideos):
    """The videos of a split, by name, with the features of their boxes."""

    what = "tracked boxes"

    def __init__(
        self,
        name: str,
        split: str,
        tracks: Mapping[str, Tracks],
        data_cfg: Any,
        labels: Mapping[str, np.ndarray] | None = None,
    ):
        """Args: data_cfg: config.data; labels: frames of each video, where they are known."""
        names = sorted(tracks)
        super().__init__(name, split, [tracks[n] for n in names], names, data_cfg)
        if labels is not None:
            self.labels = [labels[n] for n in names]
            lengths = zip(self.labels, self.lengths, strict=True)
            self.lengths = [len(y) or frames for y, frames in lengths]

    def sources(self) -> dict[str, Sequence[np.ndarray]]:
        """The boxes."""
        return {"tracks": [np.column_stack([t.frame, t.person, t.box]) for t in self.tracks]}

    def features(self, index: int) -> dict[str, np.ndarray]:
        """Feature set -> float32 [boxes, D] of a video."""
        span, reach = int(self.cfg.span), int(self.cfg.window)
        found = {
            name: SETS[name](self.tracks[index], span, reach).astype(np.float32)
            for name in self.cfg.modalities
            if name in SETS
        }
        return company.added(found, company.places_of(self.units(index)), self.cfg)


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
