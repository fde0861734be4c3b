"""Frames of a split at the size a model reads: prepared once (a memory map), or decoded on
demand for sets too large for the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache

import cv2
import numpy as np

from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames import decode
from gfvad.data.frames.cache import Say, open_store, say_on_stderr
from gfvad.data.frames.frame_arrays import Spec, Store, checked
from gfvad.data.frames.video_folders import VideoFile, VideoFolder, open_layout

MODES = ("store", "direct")
LRU_BYTES = 1 << 28  # decoded frames that direct mode remembers


class FrameStore(Store):
    """`Store` of frames: data uint8 [T_total, h, w, C], C = 1 grey or 3 RGB."""


class DirectFrames:
    """The interface of `FrameStore` on image files, without a cache on disk: frames are decoded
    when asked for and the last ones remembered.

    No `data`; `video(i)` decodes the whole video into memory.
    """

    def __init__(self, folder: VideoFolder, split: str, spec: Spec):
        self._videos, self.spec, self.size = folder.videos(split), spec, spec.size
        files = [video for video in self._videos if not video.frames]
        if files:
            raise DataError(
                f"{files[0].path}: a video file, expected a folder of images for mode='direct' (no"
                " random access in video files): use mode='store'"
            )
        self.names = tuple(video.name for video in self._videos)
        self.lengths = np.array([len(video.frames) for video in self._videos], np.int64)
        self.offsets = np.cumsum(self.lengths) - self.lengths
        self.fps = np.zeros(len(self.names))
        self.source_sizes = np.array(
            [decode.first_frame(video).shape[:2] for video in self._videos], np.int64
        )
        self._path = folder.root
        self._frame = lru_cache(max(16, LRU_BYTES // spec.item_bytes))(self._read)

    def __repr__(self) -> str:
        return f"DirectFrames({str(self._path)!r})"

    def __len__(self) -> int:
        return len(self.names)

    total = Store.total
    source_size = Store.source_size

    def video(self, i: int) -> np.ndarray:
        """Frames of video i, [T_i, h, w, C], in memory."""
        return self.clip(i, np.arange(self.lengths[i]))

    def clip(self, video: int, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some frames (0-based) of a video: uint8 [n, h, w, C]. Raises DataError for a damaged
        frame or one of another size."""
        return np.stack(
            [self._frame(int(video), int(t)) for t in checked(indices, int(self.lengths[video]))]
        )

    def _read(self, video: int, t: int) -> np.ndarray:
        path = self._videos[video].frames[t]
        image = decode.read_image(path, self.spec.item[-1])
        decode.require_size(path, image.shape, tuple(map(int, self.source_sizes[video])))
        return fit(image, self.size)[..., None] if image.ndim == 2 else fit(image, self.size)


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image [H, W(, 3)] brought to (height, width) pixels by area averages, without keeping
    its aspect ratio."""
    return (
        image
        if image.shape[:2] == tuple(size)
        else cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    )


def open_frames(
    root: str | os.PathLike,
    layout: str,
    split: str,
    *,
    height: int,
    width: int,
    channels: int,
    cache: str | os.PathLike,
    workers: int = 2,
    mode: str = "store",
    say: Say = say_on_stderr,
) -> FrameStore | DirectFrames:
    """The frames of a split at height x width pixels, 1 (grey) or 3 (RGB) channels.

    mode 'store': prepared once in `cache` by `workers` threads (complete, or gone on with; anew
    where source files changed), then one memory map. mode 'direct': nothing on disk; images only. A
    video of one frame is allowed (clips repeat it) and `say` tells of it.
    Raises DataError where a file is damaged, missing or of another size, ConfigError for an
    impossible size, channels or mode.
    """
    if channels not in (decode.GREY, decode.RGB) or min(height, width) < 1:
        raise ConfigError(
            f"frames of {height}x{width} with {channels} channels; expected a positive size and 1"
            " (grey) or 3 (RGB) channels"
        )
    if mode not in MODES:
        raise ConfigError(f"frames: mode {mode!r}; valid: {', '.join(MODES)}")
    folder = open_layout(layout, root)
    spec = Spec(
        "frames", (int(height), int(width), int(channels)), "uint8", (int(height), int(width))
    )

    def convert(video: VideoFile) -> Iterator[np.ndarray]:
        return (fit(frame, spec.size) for frame in decode.read_frames(video, channels))

    if mode == "direct":
        frames = DirectFrames(folder, split, spec)
    else:
        frames = open_store(
            folder, split, spec, convert, cache=cache, workers=workers, say=say, cls=FrameStore
        )
    say_short(frames, say)
    return frames


def say_short(frames: FrameStore | DirectFrames, say: Say) -> None:
    """Tells of videos of a single frame, which are scored by repeating it."""
    single = [name for name, length in zip(frames.names, frames.lengths) if length == 1]
    if single:
        say(
            f"frames: {len(single)} videos have one frame, which is repeated to fill a clip:"
            f" {', '.join(single[:5])}{', ...' if len(single) > 5 else ''}"
        )
