"""A video file or a folder of frames as a small mp4 (H.264, yuv420p, AAC) that every browser plays
and seeks in (PyAV).

Times are those of the units: from 0 at the first frame, a variable rate kept, frames upright.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from gfvad.base.types import DataError
from gfvad.data.frames.decode import DEFAULT_FPS, RGB, read_image
from gfvad.data.frames.video_folders import frames_of
from gfvad.encoders.units import RATE, Picture, Sound
from gfvad.extraction import media

SIDE = 640  # pixels, of the long side at most
CRF = 26  # constant quality of x264: lower is better and larger
KEY = 25  # frames from one that can be sought to the next
TICKS = 90_000  # of a video's clock, a second


class TooLarge(Exception):
    """More bytes than there is room for."""


def to_mp4(source: Path, fps: float = 0.0, room: float = float("inf")) -> bytes:
    """The mp4 of a video file, or of a folder of frames at `fps` (0: DEFAULT_FPS).

    Raises TooLarge as soon as it has more than `room` bytes, DataError where the source cannot be
    read to its end or not be encoded.
    """
    if source.is_dir():
        return encode(source, images(source, fps or DEFAULT_FPS), fps or DEFAULT_FPS, False, room)
    with media.open_media(source, SIDE) as opened:
        return encode(source, opened, opened.info.fps, opened.info.sound, room)


def length_of(source: Path, fps: float = 0.0) -> tuple[float, float]:
    """(seconds, frames a second) as stated by a video file; a folder of frames has its number of
    frames / fps. Raises DataError."""
    if source.is_dir():
        return len(frames_of(source)) / (fps or DEFAULT_FPS), fps or DEFAULT_FPS
    info = media.info(source)
    return info.duration, info.fps


def picture_size(source: Path) -> tuple[int, int]:
    """Width and height of the first picture of a video file or a folder of frames, upright. Raises
    DataError."""
    if source.is_dir():
        height, width = read_image(frames_of(source)[0], RGB).shape[:2]
        return int(width), int(height)
    info = media.info(source)
    return info.width, info.height


def images(folder: Path, fps: float) -> Iterator[Picture]:
    """The frames of a folder, `fps` a second, no larger than SIDE. Raises DataError."""
    for number, path in enumerate(frames_of(folder)):
        frame = av.VideoFrame.from_ndarray(read_image(path, RGB), format="rgb24")
        scale = min(1.0, SIDE / max(frame.width, frame.height))
        sides = (frame.width, frame.height)
        width, height = (max(2, int(side * scale + 0.5) // 2 * 2) for side in sides)
        smaller = frame.reformat(width, height, format="rgb24", interpolation="AREA")
        yield Picture(number / fps, smaller.to_ndarray())


def encode(
    source: Path, pieces: Iterable[Picture | Sound], fps: float, sound: bool, room: float
) -> bytes:
    """Pictures and mono sound in the order of time -> mp4. Raises as `to_mp4`."""
    file = io.BytesIO()
    try:
        with av.open(file, "w", format="mp4") as container:
            # no frames that refer to later ones: they would shift the times by an edit list
            options = {"crf": str(CRF), "preset": "veryfast", "bf": "0", "g": str(KEY)}
            rate = Fraction(fps).limit_denominator(1001)
            video = container.add_stream("libx264", rate=rate, options=options)
            video.codec_context.time_base = Fraction(1, TICKS)
            audio = container.add_stream("aac", rate=RATE, layout="mono") if sound else None
            heard, sized = 0, False
            for piece in pieces:
                if isinstance(piece, Picture):
                    if not sized:
                        video.height, video.width = piece.rgb.shape[:2]
                        video.pix_fmt, sized = "yuv420p", True
                    picture = np.ascontiguousarray(piece.rgb)
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    if (frame.width, frame.height) != (video.width, video.height):
                        frame = frame.reformat(video.width, video.height)
                    frame.pts, frame.time_base = round(piece.time * TICKS), Fraction(1, TICKS)
                    container.mux(video.encode(frame))
                elif audio is not None and len(samples := aligned(piece, heard)):
                    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
                    frame.sample_rate, frame.pts, frame.time_base = RATE, heard, Fraction(1, RATE)
                    heard += len(samples)
                    container.mux(audio.encode(frame))
                if file.tell() > room:
                    raise TooLarge
            container.mux(video.encode())
            if audio is not None and heard:
                container.mux(audio.encode())
    except (FFmpegError, OSError) as error:
        raise DataError(
            f"{source}: cannot be encoded as H.264 ({error.strerror or error}); expected a video of"
            " PyAV's: link to it (--videos=link)"
        ) from None
    if len(file.getvalue()) > room:
        raise TooLarge
    return file.getvalue()


def aligned(sound: Sound, heard: int) -> np.ndarray:
    """Samples that follow the `heard` ones: silence where a piece begins later, none of what was
    heard already (or lies before the first frame)."""
    late = round(sound.time * RATE) - heard
    samples = np.concatenate([np.zeros(max(late, 0), np.float32), sound.samples.astype(np.float32)])
    return np.clip(samples[max(-late, 0) :], -1.0, 1.0)
