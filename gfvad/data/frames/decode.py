"""Images (OpenCV) and video files (PyAV) to frames, uint8 [H, W] grey or [H, W, 3] RGB; whatever
is damaged is an error by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from av import VideoFrame
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from gfvad.base.files import read_bytes
from gfvad.base.types import DataError
from gfvad.data.frames.containers import EXACT, JUMP, Packets, open_file, video_stream
from gfvad.data.frames.video_folders import VideoFile

GREY, RGB = 1, 3  # channels
DEFAULT_FPS = 10.0  # of folders of frames, and of files that do not say
# first bytes -> what a file is; the first that fits
MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
    (b"RIFF", "RIFF (WebP or AVI)"),
    (b"PK\x03\x04", "zip archive"),
    (b"%PDF", "PDF"),
    (b"<", "text (HTML or XML)"),
    (b"version https://git-lfs", "Git LFS pointer"),
)
KINDS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
LARGEST_IMAGE = 256 << 20  # bytes


def read_image(path: Path, channels: int) -> np.ndarray:
    """One image, uint8 [H, W] (channels 1) or [H, W, 3] RGB (channels 3).

    Raises DataError for a file that cannot be read, is of another kind than its name says (a GIF
    named .jpg), is cut off, or is damaged.
    """
    content = read_bytes(path, "an image: extract this video again", LARGEST_IMAGE)
    _check_kind(path, content)
    try:
        image = cv2.imdecode(
            np.frombuffer(content, np.uint8),
            cv2.IMREAD_GRAYSCALE if channels == GREY else cv2.IMREAD_COLOR,
        )
    except (cv2.error, MemoryError):  # a header that claims absurdly many pixels
        image = None
    if image is None:
        raise DataError(
            f"{path}: damaged or cut off ({len(content):,} bytes), expected a whole"
            f" {KINDS[path.suffix.lower()]} image: extract it again"
        )
    return image if channels == GREY else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _check_kind(path: Path, content: bytes) -> None:
    """Raises DataError where the first bytes are not those of the suffix, or a JPEG or PNG lacks
    its end."""
    if not content:
        raise DataError(f"{path}: empty file, expected an image: extract this video again")
    expected = KINDS[path.suffix.lower()]
    found = next(
        (kind for magic, kind in MAGIC if content.startswith(magic)),
        f"unknown ({content[:4].hex(' ')} ...)",
    )
    if found != expected:
        raise DataError(
            f"{path}: found a file of kind {found}, expected {expected} as its name says: convert"
            " it, or give it its right name"
        )
    # OpenCV fills what a cut JPEG lacks with grey, so its end marker is looked for (some writers
    # pad behind it)
    end = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xae\x42\x60\x82"}.get(expected)
    if end and end not in content[-4096:]:
        raise DataError(
            f"{path}: cut off after {len(content):,} bytes, expected the end marker of a"
            f" {expected}: extract or copy it again"
        )


def read_frames(
    video: VideoFile, channels: int, times: list[float] | None = None
) -> Iterator[np.ndarray]:
    """The frames of a video in order, one at a time: uint8 [H, W] or [H, W, 3]. times: of a video
    file gets each frame's, see `read_video`.

    Raises DataError as `read_image` and `read_video` do, and for a frame of another size than the
    video's first.
    """
    first = None
    if video.frames:
        frames = ((path, read_image(path, channels)) for path in video.frames)
    else:
        numbered = enumerate(read_video(video.path, channels, times), 1)
        frames = ((f"{video.path}, frame {number}", frame) for number, frame in numbered)
    for where, frame in frames:
        first = frame.shape if first is None else first
        require_size(where, frame.shape, first)
        yield frame


def require_size(where: Path | str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raises DataError where a frame is not of its video's size."""
    if found[:2] != expected[:2]:
        raise DataError(
            f"{where}: {found[0]}x{found[1]} pixels (height x width), expected"
            f" {expected[0]}x{expected[1]} as the video's first frame: extract this video again"
        )


def first_frame(video: VideoFile, channels: int = GREY) -> np.ndarray:
    """The first frame of a video: its shape is the video's source size. Raises DataError as
    `read_frames`."""
    if video.frames:
        return read_image(video.frames[0], channels)
    return next(read_video(video.path, channels))


def read_video(path: Path, channels: int, times: list[float] | None = None) -> Iterator[np.ndarray]:
    """The frames of a video file as they come (a variable rate is not resampled), turned as its
    rotation tag says.

    times: gets the seconds of each frame before it is given, from 0 at the first; one frame's
    length behind the last where stamps lack or run back. Transport streams that were joined are
    read through, their times go on.
    Raises DataError where the file cannot be opened, has no video stream or no frame, cannot be
    decoded to its end, holds fewer frames than its container states (cut off while it was copied),
    or lacks packets in the middle.
    """
    with open_file(path) as container:
        stream = video_stream(str(path), container)
        stream.thread_type = "AUTO"
        gap, first, last, shift = 1.0 / float(stream.average_rate or DEFAULT_FPS), None, 0.0, 0.0
        step, decoded = gap, 0  # step: between the last two frames
        packets = Packets(str(path), container, stream, gap)
        # one a video: a frame's own would be made anew, at many times the cost of decoding
        convert = VideoReformatter()
        try:
            for packet in container.demux(stream):
                for frame in packets.decoded(packet):
                    decoded += 1
                    if times is not None:
                        first = (frame.time or 0.0) if first is None else first
                        at = None if frame.time is None else frame.time - first + shift
                        # another stream begins here: go on from the last frame
                        if at is not None and not -1 < at - last < JUMP:
                            shift += last + step - at
                            at = last + step
                        before = last
                        if decoded > 1:
                            last = at if at is not None and at > last else last + gap
                            step = last - before
                        times.append(last)
                    yield _to_array(frame, convert, channels)
        except DataError:
            raise
        except (FFmpegError, ValueError, IndexError, MemoryError, OverflowError) as error:
            raise packets.broken(error) from None
        packets.end()


def stated_frames(video: VideoFile) -> int:
    """How many frames a video has by its container (exact for a folder of frames); 0 where it
    does not say. For progress only."""
    if video.frames:
        return len(video.frames)
    with open_file(video.path) as container:
        return video_stream(str(video.path), container).frames


def exact_frames(video: VideoFile) -> int:
    """The same where the number can be relied on; else 0."""
    if video.frames:
        return len(video.frames)
    with open_file(video.path) as container:
        sure = any(name in EXACT for name in container.format.name.split(","))
        return video_stream(str(video.path), container).frames if sure else 0


def frame_rate(video: VideoFile) -> float:
    """Frames a second of a video file (its average); 0.0 where unknown, as for a folder of
    frames."""
    if video.frames:
        return 0.0
    with open_file(video.path) as container:
        return float(video_stream(str(video.path), container).average_rate or 0)


def _to_array(frame: VideoFrame, convert: VideoReformatter, channels: int) -> np.ndarray:
    """uint8 [H, W] or [H, W, 3], upright; grey is made from RGB as OpenCV makes it of images."""
    image = convert.reformat(frame, format="rgb24").to_ndarray()
    if frame.rotation:
        image = np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90) % 4))
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if channels == GREY else image
