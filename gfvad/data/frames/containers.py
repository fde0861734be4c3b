"""Video containers as FFmpeg opens them: what is a video, what is damaged, where streams were
joined."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

import av

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


def open_file(path: str | Path, where: str = ""):
    """The container of a regular file, which names no other file or stream. Raises DataError."""
    where = where or str(path)
    if not require_regular(path, "a video file"):
        raise DataError(
            f"{where}: not a readable video (an empty file). Expected a whole file: copy or encode"
            " it again"
        )
    try:
        # an absolute path: FFmpeg takes what stands before a colon in another one for a protocol
        return av.open(os.path.abspath(path), options=dict(LOCAL))
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{where}: not a readable video ({reason}); it may be cut off, or no video. Expected a"
            " whole file: copy or encode it again"
        ) from None


def is_picture(container) -> bool:
    """Whether FFmpeg took a file for one picture (or a text for a picture of letters)."""
    name = container.format.name.split(",")[0]
    return name.endswith("_pipe") or name in ("image2", "tty")


def require_decoder(where: str, container, stream) -> None:
    """Raises DataError, the container closed, where FFmpeg has no decoder of a video stream."""
    if stream.codec_context is None:
        container.close()
        raise DataError(
            f"{where}: its video is of a codec that this FFmpeg does not know, or the file is"
            " damaged; expected a whole one: encode it again, e.g. as H.264"
        )


def has_frames(path: Path) -> bool:
    """Whether PyAV decodes a frame of a video in the first packets of a file."""
    try:
        with open_file(path) as container:
            if is_picture(container):
                return False
            streams = [
                s
                for s in container.streams.video
                if s.codec_context is not None
                and not s.disposition & av.stream.Disposition.attached_pic
            ]
            for packet in itertools.islice(container.demux(streams[0]), PROBED) if streams else ():
                with contextlib.suppress(av.FFmpegError):
                    if packet.decode():
                        return True
            return False
    except (DataError, av.FFmpegError, OSError, ValueError, IndexError, MemoryError):
        return False


class Breaks:
    """Packets of a video stream to frames; where packets are flagged as damaged, what that means.

    In a transport stream a flag stands where the count of its packets jumps. Where times run back
    there, or go on within JOIN frames, two
    streams were joined and nothing lacks: it is read through. Elsewhere packets lack, or the file
    is cut off.
    """

    def __init__(self, where: str, container, gap: float):
        names = container.format.name.split(",")
        self._where, self._gap, self._joins = where, gap, "mpegts" in names
        self._stated = container.streams.video[0].frames
        self._last: float | None = None  # seconds of the latest packet
        self._near = 0  # packets in which what was lost at a flagged one can still show
        self._torn = False  # the latest packet is a flagged one
        self.shown = 0  # frames so far

    def decoded(self, packet) -> list:
        """Frames of a packet. Raises DataError where packets lack before it, FFmpegError where
        it cannot be decoded."""
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
                raise cut_off(self._where, self.shown, self._stated)
            self._near, self._torn = NEAR, True
        self._last = self._last if time is None else time
        try:
            frames = packet.decode()
        except av.FFmpegError:
            # a recording may begin between whole pictures
            if not self._near and not (self._joins and not self.shown):
                raise
            return []  # the torn picture at a join
        self.shown += len(frames)
        return frames

    def end(self) -> None:
        """Raises DataError where the last packet was a damaged one."""
        if self._torn:
            raise cut_off(self._where, self.shown, self._stated)


def cut_off(where: str, shown: int, stated: int) -> DataError:
    """The error of a file that ends too early."""
    expected = (
        f"expected {stated} as its container states"
        if stated
        else "then a damaged packet, expected a whole video"
    )
    return DataError(f"{where}: cut off: {shown} whole frames, {expected}: copy or encode it again")
