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

from gfvad.base.secrets import redact
from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames.containers import (
    EXACT,
    SLACK,
    Breaks,
    cut_off,
    is_picture,
    open_file,
    require_decoder,
)
from gfvad.encoders.units import SIDE, Picture, Sound
from gfvad.extraction.clocks import _Clock, _Hearing, _Order, _seconds

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
    """Facts of a video file, of which one frame is decoded. Raises DataError as `pieces` does,
    but for what is wrong behind that frame."""
    with open_media(path) as media:
        next(iter(media))
        return media.info


def pieces(
    path: str | os.PathLike, side: int = SIDE, threads: int = 0
) -> Iterator[Picture | Sound]:
    """Frames and sound of a video file. threads: of the decoder (0: as it sees fit).

    Raises DataError where the file cannot be opened, is no video, has no video stream or no frame,
    is cut off, or a frame cannot be decoded. Sound that cannot be decoded is silence.
    """
    with open_media(path, side, threads) as media:
        yield from media


def open_media(path: str | os.PathLike, side: int = SIDE, threads: int = 0) -> Media:
    """A video file, to be iterated once; a context manager. Raises DataError where it is no
    readable video or has no video stream."""
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
    except (ValueError, av.error.ProtocolNotFoundError, av.error.DemuxerNotFoundError) as error:
        raise ConfigError(
            f"{where}: this FFmpeg cannot read such a source ({redact(str(error))}); expected"
            " rtsp://, http://, ... or camera:0: check its beginning"
        ) from None
    except (av.FFmpegError, OSError) as error:
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

    def __init__(self, container, where: str, side: int, threads: int, strict: bool):
        self._container, self._where, self._side, self._strict = container, where, side, strict
        formats = container.format.name.split(",")
        videos = [
            s
            for s in container.streams.video
            if not s.disposition & av.stream.Disposition.attached_pic
        ]
        if not videos or is_picture(container):
            what = "a picture" if videos else "no video stream in it"
            self.close()
            raise DataError(
                f"{where}: {what}, expected a video: leave the file out, or copy it again if it"
                " was one"
            )
        self._video = videos[0]
        require_decoder(where, container, self._video)
        self._audio = next(
            (s for s in container.streams.audio if s.codec_context is not None), None
        )
        # frames on several threads come later, which a live stream must not
        self._video.thread_type = "AUTO" if strict else "SLICE"
        self._video.codec_context.thread_count = threads
        stated = self._video.frames
        self._exact = any(name in EXACT for name in formats)
        self._matroska = "matroska" in formats and len(container.streams) == 1 + (
            self._audio is not None
        )
        rate = float(self._video.average_rate or self._video.guessed_rate or FPS)
        duration = (container.duration or 0) / av.time_base
        size = self._video.codec_context
        self.info = MediaInfo(
            max(duration, 0.0),
            rate if 0 < rate <= 1000 else FPS,
            stated,
            size.width,
            size.height,
            self._audio is not None,
            0,
        )
        self._size: tuple[int, int] | None = None
        self._breaks = Breaks(where, container, 1 / self.info.fps)

    def __enter__(self) -> Media:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Picture | Sound]:
        clock, hearing, order = _Clock(1 / self.info.fps), _Hearing(), _Order(self.info.sound)
        for packet in self._packets():
            if packet.stream is self._audio:
                for time, samples in hearing.push(packet):
                    yield from order.sound(time, samples)
                continue
            for frame in self._decoded(packet):
                yield from order.picture(clock(_seconds(frame)), self._to_array(frame))
        for time, samples in hearing.flush():
            yield from order.sound(time, samples)
        yield from order.finish()

    def _packets(self) -> Iterator:
        """Packets of the two streams. Raises DataError where the container breaks off or holds
        less than it states."""
        streams = [self._video] + ([self._audio] if self._audio else [])
        count, last, stated = 0, 0.0, self.info.frames_stated
        self._shown = 0
        try:
            for packet in self._container.demux(streams):
                if packet.stream is self._video:
                    count += packet.size > 0
                if packet.pts is not None:
                    last = max(
                        last, float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    )
                yield packet
        except (av.FFmpegError, IndexError) as error:
            # IndexError: a stream that the header states twice
            raise self._broken(error) from None
        # packets, not frames: an edit list may hide frames on purpose
        if self._strict:
            self._breaks.end()
        if self._strict and count < stated * (1 if self._exact else 1 - SLACK):
            raise cut_off(self._where, self._shown, stated)
        duration = self.info.duration
        if self._strict and self._matroska and last < duration - max(END, END_SHARE * duration):
            raise DataError(
                f"{self._where}: cut off after {last:.1f} s, expected {duration:.1f} s as its"
                " container states: copy or encode it again"
            )
        if not self._shown:
            raise DataError(
                f"{self._where}: no frame in it, expected at least one: encode it again or leave"
                " it out"
            )

    def _decoded(self, packet) -> list:
        try:
            frames = self._breaks.decoded(packet) if self._strict else packet.decode()
        except av.FFmpegError as error:
            if self._strict:
                raise self._broken(error) from None
            return []
        self._shown += len(frames)
        return frames

    def _broken(self, error: Exception) -> DataError:
        of = self.info.frames_stated or "?"
        return DataError(
            f"{self._where}: decoding failed after {self._shown} of {of} frames"
            f" ({getattr(error, 'strerror', None) or error or type(error).__name__}), expected a"
            " whole video: copy or encode it again"
        )

    def _to_array(self, frame: av.VideoFrame) -> np.ndarray:
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
        except (av.FFmpegError, ValueError, MemoryError, OverflowError) as error:
            raise self._broken(error) from None
        return np.ascontiguousarray(np.rot90(small.to_ndarray(), self.info.rotation // 90))


def _fit(width: int, height: int, side: int) -> tuple[int, int]:
    """Even (width, height) whose long side is at most `side`, the aspect kept; nothing is
    enlarged but a side of one pixel."""
    scale = min(1.0, side / max(width, height))
    return tuple(max(2, int(x * scale + 0.5) // 2 * 2) for x in (width, height))
