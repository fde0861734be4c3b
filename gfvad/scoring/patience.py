"""Waiting for a camera or a stream that is not there yet: a signal ends it at once, and so does
the time that a user gave."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from gfvad.base.secrets import redact
from gfvad.base.types import DataError
from gfvad.extraction.live_sources import is_file, open_source

TICK = 0.05  # seconds between two looks for a signal while a source is waited for


class Interrupted(Exception):
    """A signal came while a source was waited for."""


class Patience:
    """Waits for a source that is not there, but not after a signal, nor longer than `seconds` in
    a row (0: as long as it takes)."""

    def __init__(self, source: str, stopped: Sequence[int], seconds: float):
        self._source, self._stopped, self._seconds, self._waited = source, stopped, seconds, 0.0

    def sleep(self, seconds: float) -> None:
        """Raises Interrupted, and DataError where the time is over."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left, TICK))
            self._waited += min(left, TICK)
        self._check()

    def open(self, source: str, side: int) -> Any:
        """`open_source`, in a thread where it may take its time: the network knows no signals.
        Raises Interrupted, DataError."""
        if is_file(source):
            return open_source(source, side)
        found: list[Any] = []

        def run() -> None:
            try:
                found.append(open_source(source, side))
            except BaseException as error:  # raised again below
                found.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive():
            self._check()
            thread.join(TICK)
            self._waited += TICK
        if isinstance(found[0], BaseException):
            raise found[0]
        self._waited = 0.0
        return found[0]

    def _check(self) -> None:
        if self._stopped:
            raise Interrupted
        if 0 < self._seconds <= self._waited:
            raise DataError(
                f"{redact(self._source)}: not there within {self._seconds:g} s; expected a source"
                " that is: check it, or give more --seconds"
            )
