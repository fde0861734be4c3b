"""SIGTERM and Ctrl-C ask the training loop to save and leave; a second Ctrl-C leaves at once."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(SystemExit):
    """Raised by the loop after it has saved; the process ends with 128 + signal (143 SIGTERM,
    130 Ctrl-C), as shells expect."""

    def __init__(self, signum: int, step: int):
        super().__init__(128 + signum)
        self.signum, self.step = signum, step


class StopRequest:
    """Context in which the signals only set `signum`; the handlers of before come back at its end.

    Use it in the main thread (Python delivers signals nowhere else).
    """

    def __init__(self) -> None:
        self.signum = 0  # 0: nothing asked for
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        self._before = {signum: signal.signal(signum, self._handle) for signum in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.signum and signum == signal.SIGINT:
            sys.stderr.write("\nsecond Ctrl-C: leaving without saving\n")
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        self.signum = self.signum or signum
        name = signal.Signals(signum).name
        sys.stderr.write(
            f"\n{name}: will save after this step and leave (Ctrl-C again leaves at once)\n"
        )
