"""What the library of checkpoints says that is nobody's concern."""

from __future__ import annotations

import contextlib
import logging as logging_of_python
import sys
from collections.abc import Iterator
from typing import Any

from absl import logging


@contextlib.contextmanager
def quiet_library() -> Iterator[None]:
    """Without orbax's warnings that a folder opened for reading is opened for reading."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def silence_threads() -> None:
    """From now on the library's threads print no tracebacks of saves that fail: the error is
    raised, and told, when the save is waited for."""
    logging.set_verbosity(logging.FATAL)
    _hush_closed_loops()


@contextlib.contextmanager
def quiet_late_reads() -> Iterator[None]:
    """Reads that are under way when one fails end after the library has closed their event loop,
    or with errors that nobody waits for, which asyncio would tell: nobody's concern."""
    before, waits = sys.unraisablehook, logging_of_python.getLogger("asyncio")
    level = waits.level
    _hush_closed_loops()
    waits.setLevel(logging_of_python.CRITICAL + 1)
    yield
    # both stay where a read has failed: the others end when they end
    sys.unraisablehook = before
    waits.setLevel(level)


def _hush_closed_loops() -> None:
    before = sys.unraisablehook
    if getattr(before, "hushed", False):
        return

    def hook(found: Any) -> None:
        if "Event loop is closed" not in str(found.exc_value):
            before(found)

    hook.hushed = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook
