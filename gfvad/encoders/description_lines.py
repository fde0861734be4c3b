"""Descriptions of frames or clips in a file of JSON lines.

A line is {"video": "01", "frame": 7, "text": "..."} or {"video": "01", "start": 1, "end": 16,
"text": "..."}; frames count from 1, both ends in. Other keys are ignored.
`gfvad.extraction.describe` writes such files with a local model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gfvad.base import files
from gfvad.base.names import canonical
from gfvad.base.types import DataError

SHAPE = '{"video", "frame" (from 1), "text"} or {"video", "start", "end", "text"}'


class Line(NamedTuple):
    """One description: of frames [start, end] of a video, from 1, both in."""

    number: int  # of the line in its file, from 1
    video: str
    start: int
    end: int
    text: str
    single: bool  # of one frame, by the key 'frame'


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file of descriptions. Raises DataError naming the line that is no JSON or
    lacks something."""
    content = files.read_text(
        path, f"JSON lines {SHAPE}" + ("" if path.exists() else ": check data.descriptions")
    )
    for number, row in enumerate(content.split("\n"), 1):
        if row.strip():
            yield _parse(f"{path}, line {number}", number, row)


def _parse(where: str, number: int, row: str) -> Line:
    entry = files.parse_json(row, where, SHAPE)
    keys = ("frame", "frame") if "frame" in entry else ("start", "end")
    if lacking := [k for k in ("video", *dict.fromkeys(keys), "text") if k not in entry]:
        raise DataError(
            f"{where}: lacks {', '.join(lacking)}, found {row[:60]!r}; expected {SHAPE}"
        )
    start, end = entry[keys[0]], entry[keys[1]]
    video, text, wrong = entry["video"], entry["text"], ""
    if type(start) is not int or type(end) is not int or not 1 <= start <= end:
        wrong = f"frames {start!r} to {end!r}; expected whole numbers from 1, in their order"
    elif type(video) not in (str, int) or not str(video).strip():
        wrong = f"video {str(video)[:40]!r}; expected the name of a video"
    elif not isinstance(text, str) or not text.strip():
        wrong = f"text {str(text)[:40]!r}; expected a sentence: write it or remove the line"
    if wrong:
        raise DataError(f"{where}: {wrong}")
    return Line(number, str(video), start, end, text.strip(), keys[0] == "frame")


def require_once(path: Path, lines: Sequence[Line]) -> None:
    """Raises DataError where a frame of a video has two descriptions of its own."""
    seen: set[tuple[str, int]] = set()
    for line in lines:
        if line.single and (canonical(line.video), line.start) in seen:
            raise DataError(
                f"{path}, line {line.number}: frame {line.start} of video {line.video!r} is "
                "described twice; expected once: remove one line"
            )
        seen |= {(canonical(line.video), line.start)} if line.single else set()
