"""What a page is made of, and how what is damaged is told."""

from __future__ import annotations

import contextlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gfvad.base.errors import LIBRARY_ERRORS, DataError
from gfvad.reporting.clips import Clip, line_of
from gfvad.reporting.videos import Source

DAMAGED = (*LIBRARY_ERRORS, zipfile.BadZipFile, zlib.error)


class Contents(NamedTuple):
    """What a page is made of."""

    kind: str  # 'scores' | 'run' | 'runs'
    title: str
    facts: list[tuple[str, str]]  # (name, value), the line below the title
    threshold: float | None
    clips: list[Clip]
    sources: list[Source]  # of the clips, in their order
    failed: list[tuple[str, str]]  # (path, reason)
    tables: list[dict[str, Any]]  # {title, header, rows, marked}
    settings: list[dict[str, Any]]  # of several runs: {label, dataset, metric, seeds, values}
    damaged: list[tuple[str, str]] = []  # (what, reason) of what could not be read, or not wholly


def require_shown(clip: Clip) -> None:
    """Raises ValueError or TypeError for a clip that a page cannot hold: a number in it is not
    finite, or a thing is no text."""
    json.dumps([clip, line_of(clip)], allow_nan=False)


@contextlib.contextmanager
def whole(path: Path, redo: str, what: str = "it") -> Iterator[None]:
    """Turns what a damaged tree leads to into a DataError that names the file."""
    try:
        yield
    except DataError:
        raise
    except DAMAGED as error:
        raise DataError(
            f"{path}: {what} is damaged ({type(error).__name__}: {error}); expected what this"
            f" project wrote: {redo}"
        ) from None
