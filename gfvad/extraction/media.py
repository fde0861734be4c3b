"""Video files and streams to frames and sound in the order of time (PyAV): small pictures, mono
sound, little memory whatever the size of the video.

Pictures are upright, scaled by area averages so that the long side is at most SIDE, of even sizes;
times count from 0 at the first frame and are the container's (a variable rate stays one). Sound is
never given far ahead of the pictures, and where it stops or lacks, silence takes its place LAG
seconds later, so that `units.Grouper` never waits for it with more than that in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import av
import numpy as np
from av import Packet, VideoFrame
from av.container import InputContainer
from av.error import DemuxerNotFoundError, FFmpegError, ProtocolNotFoundError

from gfvad.base.secrets import redact
from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames.containers import Packets, open_file, video_stream
from gfvad.encoders.units import SIDE, Picture, Sound
from gfvad.extraction.clocks import Clock, Hearing, Order, seconds_of

FPS = 25.0  # where a container does not say
# seconds (or END_SHARE of its length) that may lack at the end of a container that states its
# length
END = 2.0
END_SHARE = 0.02


class MediaInfo(NamedTuple):
    """What a container says of a video."""

    duration: float  # seconds; 0.0 where it does not say
    fps: float  # average frames a second; FPS where it does not say
    frames_stated: int  # 0 where it does not say
    width: int  # pixels, upright
    height: int
    sound: bool  # has a sound track that can be decoded
    rotation: int  # degrees counterclockwise that its frames are turned by to be upright


def info(path: str | os.PathLike) -> MediaInfo:
    """Facts of a video file, of which one frame is decoded. Raises DataError as `open_media` does,
    but for what is wrong behind that frame."""
    with open_media(path) as media:
        next(iter(media))
        return media.info


def open_media(path: str | os.PathLike, side: int = SIDE, threads: int = 0) -> Media:
    """A video file, to be iterated once; a context manager. threads: of the decoder (0: as it sees
    fit).

    Raises DataError where the file cannot be opened, is no video, has no video stream or no frame,
    is cut off, or a frame cannot be decoded. Sound that cannot be decoded is silence.
    """
    return Media(open_file(path), str(path), side, threads, strict=True)


def open_url(url: str, side: int = SIDE, format: str | None = None, seconds: float = 10.0) -> Media:
    """A camera's device or a stream of a network, as `open_media`; damaged packets are passed over.

    seconds: wait for data no longer than that. Raises DataError where it is not there, ConfigError
    where it never can be. No message holds a password.
    """
    options = {"rtsp_transport": "tcp"} if url.startswith("rtsp") else {}
    where = redact(url)
    try:
        container = av.open(url, format=format, options=options, timeout=(seconds, seconds))
    except (ValueError, ProtocolNotFoundError, DemuxerNotFoundError) as error:
        raise ConfigError(
            f"{where}: this FFmpeg cannot read such a source ({redact(str(error))}); expected"
            " rtsp://, http://, ... or camera:0: check its beginning"
        ) from None
    except (FFmpegError, OSError) as error:
        reason = redact(str(getattr(error, "strerror", None) or error))
        raise DataError(
            f"{where}: cannot be opened ({reason}); expected a camera or a stream that is there:"
            " check its address, the network and your rights"
        ) from None
    return Media(container, where, side, 0, strict=False)


def versions() -> dict[str, str]:
    """Of PyAV and of FFmpeg's libraries."""
    return {"av": av.__version__} | {
        name: ".".join(map(str, version)) for name, version in sorted(av.library_versions.items())
    }


class Media:
    """Pictures and sound of an open container. Fields: info (rotation, width and height as
    upright once the first frame was given)."""

    def __init__(
        self, container: InputContainer, where: str, side: int, threads: int, strict: bool
    ):
        self._container, self._where, self._side, self._strict = container, where, side, strict
        self._video = video_stream(where, container)
        self._audio = next(
            (s for s in container.streams.audio if s.codec_context is not None), None
        )
        # frames on several threads come later, which a live stream must not
        self._video.thread_type = "AUTO" if strict else "SLICE"
        self._video.codec_context.thread_count = threads
        self._matroska = "matroska" in container.format.name.split(",") and len(
            container.streams
        ) == 1 + (self._audio is not None)
        rate = float(self._video.average_rate or self._video.guessed_rate or FPS)
        duration = (container.duration or 0) / av.time_base
        size = self._video.codec_context
        self.info = MediaInfo(
            max(duration, 0.0),
            rate if 0 < rate <= 1000 else FPS,
            self._video.frames,
            size.width,
            size.height,
            self._audio is not None,
            0,
        )
        self._size: tuple[int, int] | None = None
        self._packets = Packets(where, container, self._video, 1 / self.info.fps, strict)

    def __enter__(self) -> Media:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Picture | Sound]:
        clock, hearing, order = Clock(1 / self.info.fps), Hearing(), Order(self.info.sound)
        for packet in self._demuxed():
            if packet.stream is self._audio:
                for time, samples in hearing.push(packet):
                    yield from order.sound(time, samples)
                continue
            for frame in self._packets.decoded(packet):
                yield from order.picture(clock(seconds_of(frame)), self._to_array(frame))
        for time, samples in hearing.flush():
            yield from order.sound(time, samples)
        yield from order.finish()

    def _demuxed(self) -> Iterator[Packet]:
        """Packets of the two streams. Raises DataError where the container breaks off or holds
        less than it states."""
        streams = [self._video, *([self._audio] if self._audio else [])]
        last, duration = 0.0, self.info.duration
        try:
            for packet in self._container.demux(streams):
                if packet.pts is not None:
                    length = (packet.pts + (packet.duration or 0)) * packet.time_base
                    last = max(last, float(length))
                yield packet
        except (FFmpegError, IndexError) as error:
            # IndexError: a stream that the header states twice
            raise self._packets.broken(error) from None
        if self._strict and self._matroska and last < duration - max(END, END_SHARE * duration):
            raise DataError(
                f"{self._where}: cut off after {last:.1f} s, expected {duration:.1f} s as its"
                " container states: copy or encode it again"
            )
        self._packets.end()

    def _to_array(self, frame: VideoFrame) -> np.ndarray:
        """uint8 [h, w, 3], upright, all of the first one's size (a stream may change its own)."""
        if self._size is None:
            self._size = _fit(frame.width, frame.height, self._side)
            turned = round(frame.rotation / 90) % 4
            width, height = (
                (frame.height, frame.width) if turned % 2 else (frame.width, frame.height)
            )
            self.info = self.info._replace(width=width, height=height, rotation=90 * turned)
        try:
            small = frame.reformat(*self._size, format="rgb24", interpolation="AREA", threads=1)
        except (FFmpegError, ValueError, MemoryError, OverflowError) as error:
            raise self._packets.broken(error) from None
        return np.ascontiguousarray(np.rot90(small.to_ndarray(), self.info.rotation // 90))


def _fit(width: int, height: int, side: int) -> tuple[int, int]:
    """Even (width, height) whose long side is at most `side`, the aspect kept; nothing is
    enlarged but a side of one pixel."""
    scale = min(1.0, side / max(width, height))
    even = lambda x: max(2, int(x * scale + 0.5) // 2 * 2)
    return even(width), even(height)
