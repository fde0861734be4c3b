"""A layout in memory, for the tests of records and pipeline."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.types import Video


class FakeEntry(NamedTuple):
    """A video of FakeLayout."""

    name: str
    files: dict[str, Path] = {}


def make_video(
    name, length, label=0, split="train", crops=5, seed=0, dtype=np.float32, **changes
) -> Video:
    """A video with 'rgb' [crops, length, 8] and 'audio' [1, length, 3] of random features."""
    rng = np.random.default_rng([seed, length, label + 1])
    features = {
        "rgb": rng.normal(size=(crops, length, 8)).astype(dtype),
        "audio": rng.normal(size=(1, length, 3)).astype(np.float32),
    }
    spans = np.array([[3, 9], [12, 15]], np.int64) if label == 1 else np.zeros((0, 2), np.int64)
    classes = ("fighting", "riot") if label == 1 else ()
    video = Video(name, split, features, label, classes, 16 * length - 5, spans, classes, 16, 29.97)
    return video._replace(**changes)


def counted_video(name, length, label=0, split="train", crops=5, number=0) -> Video:
    """A video whose every value says where it is from: video number, unit and crop (rgb); video
    number and unit (audio)."""
    units = number * 1000 + np.arange(length, dtype=np.float64)  # [N]
    rgb = units[None, :, None] + np.arange(crops)[:, None, None] / 8 + np.zeros(8)  # [C, N, D]
    audio = units[None, :, None] + np.zeros(3)
    video = make_video(name, length, label, split, crops)
    return video._replace(
        features={"rgb": rgb.astype(np.float32), "audio": audio.astype(np.float32)}
    )


class FakeLayout:
    """Videos given one by one; counts the calls of load."""

    name = "fake"

    def __init__(self, videos, modalities=None, files=None):
        self.modalities = modalities or {"rgb": 8, "audio": 3}
        self.videos = {(v.split, v.name): v for v in videos}
        self.order = [(v.split, v.name) for v in videos]
        self.files = files or {}
        self.loads = 0

    def entries(self, split):
        return [
            FakeEntry(name, self.files.get(name, {}))
            for where, name in self.order
            if where == split
        ]

    def load(self, entry):
        self.loads += 1
        return next(
            self.videos[split, entry.name]
            for split in ("train", "test")
            if (split, entry.name) in self.videos
        )
