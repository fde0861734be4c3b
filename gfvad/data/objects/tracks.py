"""Tracked boxes, as any tracker writes them.

VIDEO.csv     a header and a row a box: frame, id, x1, y1, x2, y2 (or frame, id, x, y, w, h); frames
              from 0, pixels
SPLIT.npz     one array a video, under its name: [boxes, 6], the columns in the first order
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.arrays import load_npz
from gfvad.base.files import read_text
from gfvad.base.types import DataError

CORNERS = ("frame", "id", "x1", "y1", "x2", "y2")
SIZES = ("frame", "id", "x", "y", "w", "h")
EXPECTED = f"{', '.join(CORNERS)} (or {', '.join(SIZES)}) with frames from 0 and boxes in pixels"
LONGEST = 10**7  # frames of a video


class Tracks(NamedTuple):
    """The boxes of a video, sorted by person and frame."""

    frame: np.ndarray  # int64 [n], from 0
    person: np.ndarray  # int64 [n], the same in every frame of a track
    box: np.ndarray  # float64 [n, 4] x1, y1, x2, y2 in pixels

    @property
    def frames(self) -> int:
        """Frames up to the last one that has a box."""
        return int(self.frame.max()) + 1 if len(self.frame) else 0


def read_split(path: Path) -> dict[str, Tracks]:
    """The videos of a split, by name: an npz file, one CSV file, or a folder of CSV files. Raises
    DataError where there are none, or one is not as described above."""
    if path.is_dir():
        files = sorted(path.glob("*.csv"))
        if not files:
            raise DataError(f"{path}: no *.csv in this folder; expected a file a video: {EXPECTED}")
        return {file.stem: read_csv(file) for file in files}
    if path.suffix.lower() == ".csv":
        return {path.stem: read_csv(path)}
    if path.suffix.lower() != ".npz" or not path.is_file():
        found = "not found" if not path.exists() else "neither .npz, .csv nor a folder"
        raise DataError(
            f"{path}: {found}; expected tracked boxes: an .npz with one array a video, a .csv of"
            f" one video or a folder of them: {EXPECTED}"
        )
    return {name: checked(f"{path}: {name}", rows) for name, rows in load_npz(path).items()}


def read_csv(path: Path) -> Tracks:
    """The boxes of one CSV file."""
    text = read_text(path, "tracked boxes")
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise DataError(f"{path}: not a table ({error}); expected {EXPECTED}") from None
    header = tuple(cell.strip().lower() for cell in rows[0]) if rows else ()
    if header[:6] not in (CORNERS, SIZES):
        raise DataError(f"{path}: the first line is {', '.join(header)!r}; expected {EXPECTED}")
    numbers = []
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        try:
            numbers.append([float(cell) for cell in row[:6]])
        except ValueError:
            numbers.append([])
        if len(numbers[-1]) < 6:
            raise DataError(
                f"{path}, line {line}: {','.join(row)[:80]!r}; expected six numbers: {EXPECTED}"
            )
    table = np.array(numbers, np.float64).reshape(-1, 6)
    if header[:6] == SIZES:
        table[:, 4:] += table[:, 2:4]
    return checked(str(path), table)


def checked(where: str, rows: np.ndarray) -> Tracks:
    """The boxes of an array [n, 6], sorted. Raises DataError that names the first wrong row."""
    if rows.ndim != 2 or rows.shape[1] != 6 or rows.dtype.kind not in "iuf":
        raise DataError(
            f"{where}: {rows.dtype} {list(rows.shape)}; expected numbers [boxes, 6]: {EXPECTED}"
        )
    table = rows.astype(np.float64)
    finite = np.asarray(np.isfinite(table).all(1))
    counts = np.where(finite[:, None], table[:, :2], 0.5)
    whole = finite & np.all(counts == np.floor(counts), axis=1)
    fits = whole & (table[:, 0] >= 0) & (table[:, 0] < LONGEST)
    area = (table[:, 4] > table[:, 2]) & (table[:, 5] > table[:, 3])
    for holds, wanted in (
        (finite, "finite numbers"),
        (whole, "whole numbers of frame and id"),
        (fits, f"a frame from 0 to {LONGEST:,}"),
        (area, "x1 < x2 and y1 < y2"),
    ):
        if not holds.all():
            i = int(np.argmin(holds))
            found = ", ".join(f"{x:g}" for x in table[i])
            raise DataError(f"{where}: box {i} is ({found}); expected {wanted}: {EXPECTED}")
    frame, person = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    order = np.lexsort((frame, person))
    frame, person, box = frame[order], person[order], table[order, 2:]
    twice = (np.diff(frame) == 0) & (np.diff(person) == 0)
    if twice.any():
        i = int(np.argmax(twice))
        raise DataError(
            f"{where}: id {person[i]} has two boxes in frame {frame[i]}; expected each id at most"
            " once in a frame"
        )
    return Tracks(frame, person, box)


def total_boxes(videos: Mapping[str, Tracks]) -> int:
    """Boxes of all videos."""
    return sum(len(tracks.frame) for tracks in videos.values())
