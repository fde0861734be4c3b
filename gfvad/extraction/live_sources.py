"""Live sources: a camera, a stream of a network, or a file that is played once or again and
again, as one run of pictures and sound whose times count up."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Generator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import numpy as np

from gfvad.base.secrets import redact
from gfvad.base.types import DataError
from gfvad.encoders.units import PATCH, RATE, SIDE, Picture, Sound
from gfvad.extraction import media
from gfvad.extraction.media import Media, MediaInfo

CAMERA = re.compile(r"camera:(\d+)")
URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.I)
LONGEST_WAIT = 30.0  # seconds between two attempts


def is_file(source: str) -> bool:
    """Whether a source is a file, not a camera or a URL."""
    return not (CAMERA.fullmatch(source) or URL.match(source))


def open_source(source: str, side: int = SIDE) -> Media:
    """A file, a camera or a URL. Raises DataError."""
    if is_file(source):
        return media.open_media(Path(source).expanduser(), side)
    if camera := CAMERA.fullmatch(source):
        device = f"/dev/video{camera[1]}"
        absent = not os.path.exists(device)
        if absent or not stat.S_ISCHR(os.stat(device).st_mode):
            found = f"no such device {device}" if absent else f"{device} is no device"
            raise DataError(
                f"{source}: {found}; expected a camera there: connect it, or give its number"
            )
        return media.open_url(device, side, format="v4l2")
    return media.open_url(source, side)


@dataclass(eq=False, repr=False)
class Live:
    """Pictures and sound of a video file, `camera:0` (/dev/video0) or a URL (rtsp://, http://,
    ...): an iterator of Picture and Sound. Fields besides the arguments: info (sound, fps, ...) of
    what was opened, breaks (how often it was opened again).

    A camera or a stream that is not there yet, breaks off, or ends without having stated its
    length, is opened again after 1 s, 2 s, 4 s, ... at most `reconnect` (0: never); max_retries:
    attempts without a picture before giving up (None: none are too many). A file ends, or with
    `loop` begins anew. `say` is told of waits and breaks. Times count on over a break, which itself
    takes none. opener(source, side), sleep: what is called to open and to wait; what they raise but
    DataError ends it all. Messages hold no password.
    Raises DataError where a file cannot be opened or read to its end, or the attempts are used up.
    """

    source: str | os.PathLike
    side: int = SIDE
    _: KW_ONLY
    reconnect: float = LONGEST_WAIT
    loop: bool = False
    say: Callable[[str], None] = lambda line: None
    max_retries: int | None = None
    opener: Callable[[str, int], Media] = open_source
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self):
        self._source = str(self.source)
        # what messages call it: a password is for the source alone
        self._shown = redact(self._source)
        self.breaks = 0
        self._media = self._begin()
        self.info: MediaInfo = self._media.info
        # a camera and a stream of unknown length have no end: what looks like one is a break
        self._endless = not is_file(self._source) and (
            self.info.duration == 0 or self._source.lower().startswith("rtsp")
        )
        self._pieces = self._run()

    def __iter__(self) -> Live:
        return self

    def __next__(self) -> Picture | Sound:
        return next(self._pieces)

    def close(self) -> None:
        """Lets go of the source."""
        self._pieces.close()
        self._media.close()

    def _begin(self) -> Media:
        try:
            return self.opener(self._source, self.side)
        except DataError as error:
            if is_file(self._source) or self.reconnect <= 0:
                raise
            self._connect(redact(str(error)), 0, "not there yet")
            self.breaks = 0
            return self._media

    def _run(self) -> Generator[Picture | Sound]:
        # time of the run of pieces that is played now; attempts since the last picture
        began, tries = 0.0, 0
        while True:
            end, reason = began, "it ended"
            try:
                for piece in self._media:
                    if isinstance(piece, Picture):
                        end, tries = began + piece.time + 1 / self.info.fps, 0
                        # the track is gone since the break: nobody should wait for it
                        if self.info.sound and not self._media.info.sound:
                            yield Sound(
                                began + piece.time, np.zeros(round(PATCH * RATE), np.float32)
                            )
                    if self.info.sound or isinstance(piece, Picture):
                        yield piece._replace(time=began + piece.time)
            except DataError as error:
                if is_file(self._source):
                    raise
                reason = redact(str(error))
            began = end
            self._media.close()
            if self._endless and self.reconnect > 0:
                tries = self._connect(reason, tries)
            elif self.loop and end > 0:
                self._media = self.opener(self._source, self.side)
            elif reason != "it ended":
                raise DataError(
                    f"{self._shown}: the stream broke ({reason}); expected one that goes on: allow"
                    " it to connect again, or check the source"
                )
            else:
                return

    def _connect(self, reason: str, tries: int, state: str = "the stream broke") -> int:
        """Opens the source (again); the attempts since the last picture. Raises DataError where
        they are used up."""
        while self.max_retries is None or tries < self.max_retries:
            wait = min(2.0 ** min(tries, 30), self.reconnect)
            tries += 1
            self.say(
                f"{self._shown}: {state} ({reason.removeprefix(f'{self._shown}: ')}); connecting"
                f" again in {wait:g} s"
            )
            self.sleep(wait)
            try:
                self._media = self.opener(self._source, self.side)
            except DataError as error:
                reason = redact(str(error))
                continue
            self.breaks += 1
            return tries
        raise DataError(
            f"{self._shown}: {state} ({reason}) and {tries} attempts to connect again failed;"
            " expected a source that is there: check it"
        )
