"""Video containers as FFmpeg opens them: what is a video, what is damaged, where streams were
joined."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

import av
from av import Packet, VideoFrame
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from gfvad.base.files import require_regular
from gfvad.base.types import DataError

# containers that state their number of packets exactly; elsewhere a few may lack (AVI drops
# repeated frames)
EXACT, SLACK = ("mov", "mp4"), 0.02
# a list of addresses called .mp4 opens no stream
LOCAL = {"protocol_whitelist": "file,crypto,data"}
PROBED = 200  # packets in which a file that may be no video must show a frame
JUMP = 600.0  # seconds: a larger step in the timestamps is a broken clock, not a pause
NEAR = 3  # packets after a flagged one in which the times tell what it means
JOIN = 2.5  # frames by which joined streams may lie apart


def open_file(path: str | os.PathLike) -> InputContainer:
    """The container of a regular file, which names no other file or stream. Raises DataError."""
    if not require_regular(path, "a video file"):
        raise DataError(
            f"{path}: not a readable video (an empty file). Expected a whole file: copy or encode"
            " it again"
        )
    try:
        # an absolute path: FFmpeg takes what stands before a colon in another one for a protocol
        return av.open(os.path.abspath(path), options=dict(LOCAL))
    except (FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: not a readable video ({reason}); it may be cut off, or no video. Expected a"
            " whole file: copy or encode it again"
        ) from None


def is_picture(container: InputContainer) -> bool:
    """Whether FFmpeg took a file for one picture (or a text for a picture of letters)."""
    name = container.format.name.split(",")[0]
    return name.endswith("_pipe") or name in ("image2", "tty")


def pictures_of(container: InputContainer) -> list[VideoStream]:
    """The video streams that are no cover picture of a recording."""
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def video_stream(where: str, container: InputContainer) -> VideoStream:
    """The first video stream. Raises DataError, the container closed, where there is none that
    this FFmpeg can decode."""
    streams, picture = pictures_of(container), is_picture(container)
    if streams and not picture and streams[0].codec_context is not None:
        return streams[0]
    container.close()
    if streams and not picture:
        raise DataError(
            f"{where}: its video is of a codec that this FFmpeg does not know, or the file is"
            " damaged; expected a whole one: encode it again, e.g. as H.264"
        )
    raise DataError(
        f"{where}: {'a picture' if streams else 'no video stream in it'}, expected a video: leave"
        " the file out, or copy it again if it was one"
    )


def has_frames(path: Path) -> bool:
    """Whether PyAV decodes a frame of a video in the first packets of a file."""
    try:
        with open_file(path) as container:
            streams = [s for s in pictures_of(container) if s.codec_context is not None]
            if is_picture(container) or not streams:
                return False
            for packet in itertools.islice(container.demux(streams[0]), PROBED):
                with contextlib.suppress(FFmpegError):
                    if packet.decode():
                        return True
            return False
    except (DataError, FFmpegError, OSError, ValueError, IndexError, MemoryError):
        return False


class Packets:
    """Packets of a video stream to frames; where packets are flagged as damaged, what that means,
    and whether all are there.

    In a transport stream a flag stands where the count of its packets jumps. Where times run back
    there, or go on within JOIN frames, two streams were joined and nothing lacks: it is read
    through. Elsewhere packets lack, or the file is cut off. gap: seconds between frames. Not strict
    (a live stream): what is damaged is passed over.
    """

    def __init__(
        self,
        where: str,
        container: InputContainer,
        stream: VideoStream,
        gap: float,
        strict: bool = True,
    ):
        names = container.format.name.split(",")
        self._where, self._gap, self._strict = where, gap, strict
        self._joins, self._exact = "mpegts" in names, any(name in EXACT for name in names)
        self._stated = stream.frames
        self._last: float | None = None  # seconds of the latest packet
        self._near = 0  # packets in which what was lost at a flagged one can still show
        self._torn = False  # the latest packet is a flagged one
        self._packets = self.shown = 0  # so far; frames so far

    def decoded(self, packet: Packet) -> list[VideoFrame]:
        """Frames of a packet. Raises DataError where packets lack before it, or it cannot be
        decoded."""
        self._packets += packet.size > 0
        if self._strict:
            self._look_at(packet)
        try:
            frames = packet.decode()
        except FFmpegError as error:
            # the torn picture at a join; a recording may begin between whole pictures
            if not self._strict or self._near or (self._joins and not self.shown):
                return []
            raise self.broken(error) from None
        self.shown += len(frames)
        return frames

    def _look_at(self, packet: Packet) -> None:
        stamp = packet.dts if packet.dts is not None else packet.pts
        time = (
            None if stamp is None or packet.time_base is None else float(stamp * packet.time_base)
        )
        if self._near and packet.size:
            step = 0.0 if time is None or self._last is None else time - self._last
            if JOIN * self._gap < step < JUMP:
                raise DataError(
                    f"{self._where}: damaged after {self.shown} frames: {step:.2f} s are missing"
                    " there, expected a whole video: copy or record it again, or accept the gap by"
                    " encoding it anew (ffmpeg -i FILE NEW.mp4)"
                )
            self._near, self._torn = self._near - 1, False
        if packet.is_corrupt:
            if not self._joins:
                raise self._cut_off()
            self._near, self._torn = NEAR, True
        self._last = self._last if time is None else time

    def end(self) -> None:
        """Raises DataError where the last packet was a damaged one, packets lack, or there was no
        frame."""
        # packets, not frames: an edit list may hide frames on purpose
        lacks = self._packets < self._stated * (1 if self._exact else 1 - SLACK)
        if self._strict and (self._torn or lacks):
            raise self._cut_off()
        if not self.shown:
            raise DataError(
                f"{self._where}: no frame in it, expected at least one: encode it again or leave"
                " it out"
            )

    def broken(self, error: Exception) -> DataError:
        """The error of a frame that cannot be decoded."""
        return DataError(
            f"{self._where}: decoding failed after {self.shown} of {self._stated or '?'} frames"
            f" ({getattr(error, 'strerror', None) or error or type(error).__name__}), expected a"
            " whole video: copy or encode it again"
        )

    def _cut_off(self) -> DataError:
        expected = (
            f"expected {self._stated} as its container states"
            if self._stated
            else "then a damaged packet, expected a whole video"
        )
        return DataError(
            f"{self._where}: cut off: {self.shown} whole frames, {expected}: copy or encode it"
            " again"
        )
