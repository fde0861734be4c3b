"""Frames of a split at the size a model reads: prepared once (a memory map), or decoded on
demand for sets too large for the disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import cv2
import numpy as np

from gfvad.base.names import some
from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames import decode
from gfvad.data.frames.cache import Cache, open_store
from gfvad.data.frames.frame_arrays import FrameArrays, Spec, Store, checked
from gfvad.data.frames.video_folders import VideoFile, VideoFolder

MODES = ("store", "direct")
AREA = "area"  # the usual way of resizing; others are part of a cache's name
LRU_BYTES = 1 << 28  # decoded frames that direct mode remembers


class DirectFrames(FrameArrays):
    """The interface of `Store` on image files, without a cache on disk: frames are decoded when
    asked for and the last ones remembered.

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
        super().__init__([v.name for v in self._videos], [len(v.frames) for v in self._videos])
        self.source_sizes = np.array(
            [decode.first_frame(video).shape[:2] for video in self._videos], np.int64
        )
        self._path = folder.root
        self._frame = lru_cache(max(16, LRU_BYTES // spec.item_bytes))(self._read)

    def __repr__(self) -> str:
        return f"DirectFrames({str(self._path)!r})"

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
        fitted = fit(image, self.size, self.spec.settings.get("resize", AREA))
        return fitted[..., None] if image.ndim == 2 else fitted


def fit(image: np.ndarray, size: tuple[int, int], resize: str = AREA) -> np.ndarray:
    """An image [H, W(, 3)] brought to (height, width) pixels by area averages, or bicubic as Pillow
    (and so torchvision) has it, without keeping its aspect ratio."""
    if image.shape[:2] == tuple(size):
        return image
    if resize == AREA:
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    from PIL import Image  # comes with matplotlib

    width, height = size[::-1]
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def open_frames(
    folder: VideoFolder,
    split: str,
    size: tuple[int, int, int],
    cache: Cache,
    mode: str = "store",
    resize: str = AREA,
) -> Store | DirectFrames:
    """The frames of a split, uint8, at size = (height, width, channels): pixels, and 1 (grey) or 3
    (RGB) channels; resize: 'area' or 'bicubic'.

    mode 'store': prepared once in `cache` (complete, or gone on with; anew where source files
    changed), then one memory map. mode 'direct': nothing on disk; images only. A video of one frame
    is allowed (clips repeat it), and is told of.
    Raises DataError where a file is damaged, missing or of another size, ConfigError for an
    impossible size, channels or mode.
    """
    height, width, channels = map(int, size)
    if channels not in (decode.GREY, decode.RGB) or min(height, width) < 1:
        raise ConfigError(
            f"frames of {height}x{width} with {channels} channels; expected a positive size and 1"
            " (grey) or 3 (RGB) channels"
        )
    if mode not in MODES:
        raise ConfigError(f"frames: mode {mode!r}; valid: {', '.join(MODES)}")
    settings = {} if resize == AREA else {"resize": resize}
    spec = Spec("frames", (height, width, channels), "uint8", (height, width), settings)

    def convert(video: VideoFile) -> Iterator[np.ndarray]:
        return (fit(frame, spec.size, resize) for frame in decode.read_frames(video, channels))

    direct = mode == "direct"
    frames = (
        DirectFrames(folder, split, spec)
        if direct
        else open_store(folder, split, spec, convert, cache)
    )
    single = [name for name, length in zip(frames.names, frames.lengths) if length == 1]
    if single:
        cache.say(
            f"frames: {len(single)} videos have one frame, which is repeated to fill a clip:"
            f" {some(single)}"
        )
    return frames
