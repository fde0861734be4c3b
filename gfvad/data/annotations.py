"""Parsers of the published annotation files. Every one returns half-open frame spans counted from
0, whatever the file's own convention.

file                                   | written as                       | returned as
XD-Violence `annotations.txt`          | start end, 0-based, end excluded | the same (what the
published ground truth does) UCF-Crime `temporal_annotations.txt`   | start end, -1 for
none           | end excluded; `inclusive=True` gives [start, end + 1) ShanghaiTech
`test_frame_mask/*.npy`   | one 0 / 1 a frame                | runs of ones Ped2
`test_spans.txt`                  | first last, 1-based, both in     | [first - 1, last)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base import files
from gfvad.base.names import Names, canonical
from gfvad.base.types import DataError

XD_CLASSES = {
    "B1": "fighting",
    "B2": "shooting",
    "B4": "riot",
    "B5": "abuse",
    "B6": "car accident",
    "G": "explosion",
}
XD_NORMAL = "A"
MOST_FRAMES = 10**9  # of a video: a year at 30 a second
UCF_CLASSES = (
    "Abuse",
    "Arrest",
    "Arson",
    "Assault",
    "Burglary",
    "Explosion",
    "Fighting",
    "RoadAccidents",
    "Robbery",
    "Shooting",
    "Shoplifting",
    "Stealing",
    "Vandalism",
)


class Event(NamedTuple):
    """The annotation of one video."""

    classes: tuple[str, ...]  # () where normal
    spans: np.ndarray  # int64 [S, 2], half-open frames, in time order


# ---- shared


def read_lines(path: Path, what: str) -> list[tuple[int, str]]:
    """(number, text) of the non-blank lines that are no comment. Raises DataError where the file
    is absent, not text, or has none."""
    return files.read_lines(
        path, what if Path(path).exists() else f"{what}, see docs/data.md for where to get it"
    )


def _integers(where: str, fields: list[str]) -> list[int]:
    found = [files.whole_number(field.removeprefix("-")) for field in fields]
    numbers = [  # what is none is beyond all
        MOST_FRAMES + 1 if number is None else -number if field.startswith("-") else number
        for field, number in zip(fields, found)
    ]
    if any(abs(number) > MOST_FRAMES for number in numbers):
        raise DataError(
            f"{where}: found {' '.join(fields)[:100]!r}; expected whole frame numbers up to"
            f" {MOST_FRAMES:,}"
        )
    return numbers


def check_spans(where: str, numbers: list[int]) -> np.ndarray:
    """Flat start end start end ... -> int64 [S, 2] in time order. Raises DataError for an odd
    count, a negative start or start >= end."""
    if len(numbers) % 2:
        raise DataError(f"{where}: {len(numbers)} frame numbers; expected pairs of start and end")
    spans = np.array(numbers, np.int64).reshape(-1, 2)
    bad = spans[(spans[:, 0] < 0) | (spans[:, 0] >= spans[:, 1])]
    if len(bad):
        raise DataError(f"{where}: span {bad[0].tolist()}; expected 0 <= start < end")
    return spans[np.argsort(spans[:, 0], kind="stable")]


def with_v(name: str) -> str:
    """The other name that an XD-Violence video may have: 'v=' (its YouTube videos) put on or
    taken off."""
    return name[2:] if name.startswith("v=") else f"v={name}"


def find_name(table: Mapping[str, object], name: str) -> str | None:
    """The key of `table` that stands for a video: its name, or `with_v` of it."""
    if isinstance(table, Videos):
        return table.key(name)
    return next((key for key in (name, with_v(name)) if key in table), None)


class Videos(Names):
    """`Names` that are found by `with_v` of them too; `add` refuses a video under both names."""

    def add(self, where: str, name: str, value: object) -> None:
        other = with_v(canonical(name))
        if Names.__contains__(self, other):
            raise DataError(
                f"{where}: {name!r} and {self.spelt(other)!r} are one video; expected one line a"
                " video: remove one"
            )
        super().add(where, name, value)

    def key(self, name: str) -> str | None:
        """The spelling under which a video stands here; None where it does not."""
        own = canonical(name)
        return next((key for key in (own, with_v(own)) if Names.__contains__(self, key)), None)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.key(name) is not None

    def __getitem__(self, name: str):
        return super().__getitem__(self.key(name) or name)


def parse_frame_counts(path: Path) -> Names:
    """Lines 'name@frames' -> {name: frames}. Names may hold '@'; short UCF-Crime names
    ('Abuse028') stay as they are, see `ucf_name`."""
    table = Names(path.name)
    for i, line in read_lines(path, "lines NAME@FRAMES"):
        name, _, count = line.rpartition("@")
        frames = files.whole_number(count)
        if not name or not frames or frames > MOST_FRAMES:
            raise DataError(
                f"{path}, line {i}: found {line[:100]!r}; expected NAME@FRAMES with at least one"
                " frame"
            )
        table.add(f"{path}, line {i}", name, frames)
    return table


# ---- XD-Violence


def xd_classes(name: str) -> tuple[int, tuple[str, ...]] | None:
    """(label, classes) from a name '..._label_B2-G-0'; (0, ()) for '_label_A'; None where the
    name carries no known label."""
    match = re.search(r"_label_([A-Z0-9]+(?:-[A-Z0-9]+)*)$", canonical(name))
    codes = [code for code in match[1].split("-") if code != "0"] if match else []
    if codes == [XD_NORMAL]:
        return 0, ()
    return (
        (1, tuple(XD_CLASSES[c] for c in codes))
        if codes and all(c in XD_CLASSES for c in codes)
        else None
    )


def parse_xd(path: Path) -> Videos:
    """XD-Violence annotations.txt, lines 'name start end start end ...' -> {name without '.mp4':
    int64 [S, 2]}."""
    table = Videos(path.name)
    for i, line in read_lines(path, "lines NAME START END ..."):
        where, (name, *fields) = f"{path}, line {i}", line.split()
        if not fields:
            raise DataError(f"{where}: {name!r} has no span; expected at least one start and end")
        table.add(where, name, check_spans(where, _integers(where, fields)))
    return table


# ---- UCF-Crime


def ucf_name(short: str) -> str:
    """Any spelling of a UCF-Crime video -> that of its files: 'Abuse028' -> 'Abuse028_x264',
    'Normal003' -> 'Normal_Videos_003_x264'.

    Short names with 'Normal' stand for test videos; training videos are 'Normal_Videos586_x264' (no
    underscore before the number).
    """
    name = canonical(short)
    if name.endswith("_x264"):
        return name
    normal = re.fullmatch(r"Normal(\d+)", name)
    return f"Normal_Videos_{normal[1]}_x264" if normal else f"{name}_x264"


def ucf_class(name: str) -> tuple[int, tuple[str, ...]] | None:
    """(label, classes) from a UCF-Crime name: 'Abuse001_x264' -> (1, ('Abuse',)),
    'Normal_Videos...' -> (0, ()); None for anything else."""
    if "Normal" in name:
        return 0, ()
    match = re.match(r"([A-Za-z]+)\d", name)
    return (1, (match[1],)) if match and match[1] in UCF_CLASSES else None


def parse_ucf(path: Path, inclusive: bool = False) -> Names:
    """UCF-Crime test annotation, lines 'name class start end start end' with -1 for none -> {name
    as in `ucf_name`: Event}.

    `inclusive` counts the end frame as abnormal, as the ground truth published with the 2048-d
    features does. Raises DataError for a
    last line with fewer columns than all others have: a file that was cut short names too few test
    videos.
    """
    table = Names(path.name)
    lines = read_lines(path, "lines NAME CLASS START END START END")
    widths = {len(line.split()) for _, line in lines[:-1]}
    for i, line in lines:
        where, fields = f"{path}, line {i}", line.split()
        if i == lines[-1][0] and widths and len(fields) < min(widths):
            raise DataError(
                f"{where}: the last line has {len(fields)} columns, all others {min(widths)} or"
                " more; expected a whole file: this one is cut short, and test videos that it"
                " lacks would be trained on. Copy it again"
            )
        if len(fields) < 4 or len(fields) % 2:
            raise DataError(
                f"{where}: {len(fields)} columns; expected name, class and pairs of start and end"
                " (-1 for none)"
            )
        pairs = np.array(_integers(where, fields[2:])).reshape(-1, 2)
        kept = pairs[~(pairs == -1).all(1)]
        spans = check_spans(where, [int(v) for v in (kept + [0, int(inclusive)]).ravel()])
        normal = fields[1] == "Normal"
        if normal != (len(spans) == 0) or not (normal or fields[1] in UCF_CLASSES):
            raise DataError(
                f"{where}: class {fields[1]!r} with {len(spans)} spans; "
                "expected Normal without a span or a class of the set with one"
            )
        named = ucf_class(ucf_name(fields[0]))
        if named and named[1] and not normal and named[1] != (fields[1],):
            raise DataError(
                f"{where}: class {fields[1]!r} of {fields[0]!r}; expected the one that its name"
                " says"
            )
        table.add(where, ucf_name(fields[0]), Event(() if normal else (fields[1],), spans))
    return table


# ---- Ped2, and tables of one's own


def parse_ped2(path: Path) -> dict[str, np.ndarray]:
    """Ped2 test_spans.txt, lines 'clip first last', frames from 1 and both in -> {'Test001':
    int64 [S, 2]} half-open and from 0."""
    table: dict[str, list[int]] = {}
    for i, line in read_lines(path, "lines CLIP FIRST LAST"):
        where, fields = f"{path}, line {i}", line.split()
        if len(fields) != 3:
            raise DataError(
                f"{where}: {len(fields)} columns; expected clip, first and last abnormal frame"
            )
        clip, first, last = _integers(where, fields)
        table.setdefault(f"Test{clip:03d}", []).extend((first - 1, last))
    return {name: check_spans(f"{path}, {name}", numbers) for name, numbers in table.items()}


def parse_spans_csv(path: Path) -> Names:
    """spans.csv, 'name,start,end[,class]' in frames from 0, end excluded, a line a span ->
    {name: [(start, end, class)]} in time order."""
    table = Names(path.name)
    for where, row in files.read_table(path, ("name", "start", "end"), ("class",)):
        ((start, end),) = check_spans(where, _integers(where, [row["start"], row["end"]])).tolist()
        if row["name"] not in table:
            table.add(where, row["name"], [])
        if (start, end, row["class"]) in table[row["name"]]:
            said = f"span {start} to {end} of video {row['name']!r} stands twice"
            raise DataError(f"{where}: {said}; expected a line a span: remove one")
        table[row["name"]].append((start, end, row["class"]))
    for spans in table.values():
        spans.sort()
    return table


def parse_units(path: Path) -> Names:
    """units.csv, 'name,unit,start,end', seconds of every unit -> {name: [(start, end)]}.

    Raises DataError for what is no number, a unit that ends before it starts, and units that are
    not in their order from 0.
    """
    table = Names(path.name)
    for where, row in files.read_table(path, ("name", "unit", "start", "end")):
        what = "seconds: extract the videos again"
        start = files.number(row["start"], f"{where}, start", what)
        end = files.number(row["end"], f"{where}, end", f"{what}, from {start:g}", start)
        if row["name"] not in table:
            table.add(where, row["name"], [])
        if files.whole_number(row["unit"]) != len(table[row["name"]]):
            raise DataError(
                f"{where}: unit {row['unit']!r} of video {row['name']!r}; expected its units in "
                f"their order, here {len(table[row['name']])}: extract the videos again"
            )
        table[row["name"]].append((start, end))
    return table
