"""Scores and alarms of a stream, said on the terminal and kept in tables that grow by a line at a
time."""

from __future__ import annotations

import csv
import errno
import os
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from gfvad.base.errors import cannot_write
from gfvad.base.files import safe_cell
from gfvad.measure.alarms import Alarm, AlarmJoiner
from gfvad.measure.score_result import UnitScore
from gfvad.scoring import files

TABLES = (files.SCORES_CSV, files.ALARMS_CSV)
KEPT = 1000  # delays that the median is taken over
LONGEST = 1_000_000  # scores of a stream that scores.json and scores.npz are made of
PAUSE = 0.5  # seconds of video between two lines on the terminal


class GrowingTables:
    """scores.csv and alarms.csv of a folder, each line on its way to the disk at once. Raises
    DataError where they cannot be written."""

    def __init__(self, out: Path, more: files.Columns):
        self._own, self._files = files.owned(out), {}
        self._own.begin(TABLES)
        for name, columns in zip(TABLES, (files.COLUMNS, files.ALARM_COLUMNS), strict=True):
            path = out / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = open(path, "w", encoding="utf-8", errors="replace", newline="")
            except OSError as error:
                raise cannot_write(path, error) from None
            self._files[name] = file
            self.line(name, [*columns, *more.header])

    def line(self, table: str, cells: Sequence[Any]) -> None:
        """One line of a table."""
        file: TextIO = self._files[table]
        try:
            csv.writer(file, lineterminator="\n").writerow([safe_cell(cell) for cell in cells])
            file.flush()
            if not os.fstat(file.fileno()).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "removed while it was written", file.name)
        except OSError as error:
            with suppress(OSError):
                file.close()  # what could not be written is let go
            raise cannot_write(file.name, error) from None

    @property
    def broken(self) -> bool:
        """Whether a line could not be written."""
        return any(file.closed for file in self._files.values())

    def close(self) -> None:
        """The end: both are on the disk."""
        try:
            for file in self._files.values():
                if not file.closed:
                    os.fsync(file.fileno())
                    file.close()
        except OSError as error:
            raise cannot_write(self._own.folder, error) from None
        finally:
            if self._own.folder.is_dir():
                self._own.finish(TABLES)


class Log:
    """Units of a stream as they come.

    out: the folder of the tables, None for none; alarm: its threshold, and the seconds below it
    that do not end one. Fields: count of the scores, lost (units without a finite score, which are
    not written).
    """

    def __init__(
        self, out: Path | None, name: str, alarm: tuple[float, float], columns: files.Columns
    ):
        self._name, self._threshold, self._columns = name, alarm[0], columns
        self._alarms = AlarmJoiner(name, *alarm)
        self._delays: deque[float] = deque(maxlen=KEPT)
        self._shown = -1.0  # time of the last line on the terminal
        self.count = self.lost = 0
        self._tables = None if out is None else GrowingTables(out, columns)

    def is_whole(self) -> bool:
        """Whether scores.json and scores.npz can be made of the tables; says why not."""
        why = f"{self.lost} units have no score" if self.lost else ""
        if self.count > LONGEST:
            why = f"{self.count:,} scores are more than {LONGEST:,}"
        if why:
            left_out = f"{files.SCORES_JSON} and {files.SCORES_NPZ} are left out"
            print(f"note: {why}: {left_out}", file=sys.stderr)
        return not why

    def take(self, unit: UnitScore, delay: float) -> None:
        """One unit; delay: seconds between the arrival of the frame that completed it and its
        score."""
        if not np.isfinite([unit.score, *unit.contributions.values()]).all():
            self.lost += 1
            lost = f"{stamp(unit.start)}  no score: it would not be a finite number"
            print(lost, file=sys.stderr, flush=True)
            return
        self._delays.append(delay)
        if self._tables:
            row = files.score_row(self._name, self.count, unit, self._threshold, self._columns)
            self._tables.line(files.SCORES_CSV, row)
        self.count += 1
        before = self._alarms.current
        ended = self._alarms.push(unit)
        if ended:
            self._end(ended)
        if self._alarms.current and (ended or not before):
            say(unit.start, f"ALARM begins, score {unit.score:.3f}", unit.contributions)
        if unit.end - self._shown >= PAUSE or unit.end < self._shown:
            high = "  ALARM" if unit.score >= self._threshold else ""
            say(unit.end, f"{unit.score:.3f}{high} ", unit.contributions)
            self._shown = unit.end

    def _end(self, alarm: Alarm) -> None:
        span = f"{alarm.start:.1f} to {alarm.end:.1f} s"
        peak = f"peak {alarm.peak:.3f} at {alarm.peak_time:.1f} s"
        say(alarm.end, f"alarm ended: {span}, {peak}")
        if self._tables:
            self._tables.line(files.ALARMS_CSV, files.alarm_row(alarm, self._columns))

    def close(self) -> None:
        """The end: an alarm that goes on is ended, and what the delays were is said."""
        try:
            last = self._alarms.finish()
            if last and not (self._tables and self._tables.broken):
                self._end(last)
        finally:
            if self._tables:
                self._tables.close()
        if self._delays:
            half, most = (1000 * float(np.quantile(self._delays, q)) for q in (0.5, 0.95))
            print(
                f"{self.count:,} scores; from the last frame of one to its score: median"
                f" {half:.0f} ms, 95 % below {most:.0f} ms"
            )


def say(seconds: float, text: str, contributions: Mapping[str, float] | None = None) -> None:
    """A line on the terminal: '0:01:02.5  TEXT (motion +1.20, audio -0.10)'."""
    made_of = "" if contributions is None else f" ({says(contributions)})"
    print(f"{stamp(seconds)}  {text}{made_of}", flush=True)


def stamp(seconds: float) -> str:
    """'0:01:02.5'."""
    return f"{int(seconds // 3600)}:{int(seconds // 60) % 60:02d}:{seconds % 60:04.1f}"


def says(contributions: Mapping[str, float]) -> str:
    """'motion +1.20, audio -0.10', the largest first."""
    largest = sorted(contributions.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {value:+.2f}" for name, value in largest)
