"""Optical flow between consecutive frames as cell means, prepared once: DIS (Kroeger et al. 2016,
Fast Optical Flow using Dense Inverse Search).

Per pixel (u, v) is the displacement from frame t - 1 to frame t, in pixels of the size flow is
taken at (u to the right, v down), and the magnitude sqrt(u^2 + v^2); a cell holds the mean of each
over cell x cell pixels. Frame t has the flow from t - 1 to t; frame 0, which has no past, repeats
frame 1; a video of one frame has zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from gfvad.base.types import ConfigError
from gfvad.data.frames import decode
from gfvad.data.frames.cache import Cache, open_store
from gfvad.data.frames.frame_arrays import Spec, Store
from gfvad.data.frames.store import fit
from gfvad.data.frames.video_folders import VideoFile, VideoFolder

PRESET = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
SMALLEST = 16  # pixels a side that DIS needs at least with this preset (patches of 8 at half size)


class FlowStore(Store):
    """`Store` of flow: data float16 [T_total, height / cell, width / cell, 3], the means of (u,
    v, magnitude)."""

    @property
    def cell(self) -> int:
        """Pixels a side of a cell, of the size flow was taken at (`size`)."""
        return int(self.spec.settings["cell"])


def open_flow(
    folder: VideoFolder, split: str, cache: Cache, cell: int = 8, size: tuple[int, int] = (0, 0)
) -> FlowStore:
    """The flow of a split, taken on grey frames of size = (height, width) pixels (0: the first
    video's, rounded down to whole cells).

    Prepared once in `cache` as `open_frames` prepares frames. Raises DataError as that does,
    ConfigError where cells do not fit the size.
    """
    spec = flow_spec(folder, split, cell, *size)
    with one_thread_each():
        convert = lambda video: video_flow(video, spec)
        return open_store(folder, split, spec, convert, cache, FlowStore)


def flow_spec(folder: VideoFolder, split: str, cell: int, height: int, width: int) -> Spec:
    """What the flow store of a split holds. Raises ConfigError for a size that is too small or
    no multiple of the cell."""
    if not (height and width):
        found = decode.first_frame(folder.videos(split)[0]).shape
        height, width = (height or found[0] // cell * cell), (width or found[1] // cell * cell)
    if cell < 1 or height % cell or width % cell or min(height, width) < SMALLEST:
        raise ConfigError(
            f"flow at {height}x{width} pixels in cells of {cell}; expected multiples of the cell,"
            f" at least {SMALLEST} a side"
        )
    return Spec(
        "flow",
        (height // cell, width // cell, 3),
        "float16",
        (height, width),
        {"cell": cell, "preset": "dis-medium"},
    )


def video_flow(video: VideoFile, spec: Spec) -> Iterator[np.ndarray]:
    """Cell means [h / cell, w / cell, 3] float32 of each frame of a video; see the file's head
    for frame 0."""
    return frames_flow(decode.read_frames(video, decode.GREY), spec)


def array_flow(frames: np.ndarray, spec: Spec) -> np.ndarray:
    """The same of frames in memory, uint8 [T, H, W, C] with C = 1 (grey) or 3 (RGB): float32 [T,
    h / cell, w / cell, 3]."""
    grey = (
        frame[..., 0] if frame.shape[-1] == 1 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        for frame in frames
    )
    with one_thread_each():
        return np.stack(list(frames_flow(grey, spec)))


def frames_flow(grey: Iterator[np.ndarray], spec: Spec) -> Iterator[np.ndarray]:
    """Cell means of each of the grey frames [H, W] of one video."""
    # one a video, for it is not safe to share between threads; OpenCV's stubs lack it
    dis = cv2.DISOpticalFlow_create(PRESET)  # type: ignore[attr-defined]
    frames = (fit(frame, spec.size) for frame in grey)
    last = next(frames)
    count = 0
    for frame in frames:
        cells = cell_means(dis.calc(last, frame, None), spec.settings["cell"])
        if not count:
            yield cells
        yield cells
        last, count = frame, count + 1
    if not count:
        yield np.zeros(spec.item, np.float32)


def cell_means(flow: np.ndarray, cell: int) -> np.ndarray:
    """Flow [h, w, 2] of (u, v) -> means over cells [h / cell, w / cell, 3] of (u, v, magnitude),
    float32."""
    h, w = flow.shape[:2]
    pixels = np.concatenate([flow, np.hypot(flow[..., 0], flow[..., 1])[..., None]], axis=-1)
    return pixels.reshape(h // cell, cell, w // cell, cell, 3).mean((1, 3))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """OpenCV on one thread a call: the workers share the cores already, and the work of a call
    is then cut the same way on every machine."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
