"""Ctrl-C at any moment of a command is one line and exit code 130: while its libraries are read,
and where an error would be lost."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

EXIT_INTERRUPTED = 130
INTERRUPTED = (
    "interrupted: what was saved before is whole; the same command begins or goes on from there"
)

# functions whose errors Python prints and forgets
LOSE_ERRORS = {"_xla_gc_callback", "__del__", "_run_finalizers"}
AGAIN = 0.02  # seconds


def leave_quietly() -> None:
    """Before and after a command's own work: Ctrl-C ends the process at once, with a line."""
    if _ours_to_set():
        signal.signal(signal.SIGINT, _leave)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """While the block runs, Ctrl-C raises KeyboardInterrupt where it is not lost. Nothing
    changes where somebody else has taken the signal."""
    before = signal.getsignal(signal.SIGINT)
    if not _ours_to_set():
        yield
        return
    signal.signal(signal.SIGINT, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _ours_to_set() -> bool:
    ours = (signal.default_int_handler, _leave)
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) in ours
    )


def _leave(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os.write(2, f"\n{INTERRUPTED}\n".encode())
    os._exit(EXIT_INTERRUPTED)


def _raise(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_name in LOSE_ERRORS:  # once more when it is over
            later = threading.Timer(AGAIN, os.kill, (os.getpid(), number))
            later.daemon = True
            later.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt
