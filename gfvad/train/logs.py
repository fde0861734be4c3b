"""Logs of a run's folder: metrics.jsonl, timing.jsonl and TensorBoard events.

metrics.jsonl holds nothing but functions of the configuration, so that the logs of two runs can be
compared byte by byte; what depends on the machine and the hour (rates, seconds) goes to
timing.jsonl. A row is {"step": steps taken, "kind": "train" | "validation" | "test" | "fusion",
NAME: number or list of numbers, ...}.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.errors import cannot_write
from gfvad.base.files import parse_json, read_bytes, write_text
from gfvad.base.types import DataError

Row = dict[str, Any]


class RunLog:
    """Writes the logs of a run, or of a group of runs; on process 0 only, elsewhere every call does
    nothing. Use as a context.

    Opening it for a run that goes on from `step` drops every row of a later step, so that nothing
    is logged twice. Fields rows, timing: all rows of metrics.jsonl and timing.jsonl.
    """

    def __init__(self, workdir: Path, step: int = 0, active: bool = True, *, grouped: bool = False):
        """grouped: each row of metrics.jsonl names its run by "run"; no TensorBoard."""
        self.rows: list[Row] = []
        self.timing: list[Row] = []
        self._active, self._folder, self._board = active, workdir, None
        if not active:
            return
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            paths = {name: workdir / f"{name}.jsonl" for name in ("metrics", "timing")}
            self.rows, self.timing = (truncate(path, step) for path in paths.values())
            self._files = {name: open(path, "a", encoding="utf-8") for name, path in paths.items()}
            if not grouped:
                self._board = Board(workdir / "tensorboard", step)
        except OSError as error:
            raise cannot_write(workdir, error) from None
        wrong = [row for row in self.rows if grouped and not isinstance(row.get("run"), list)]
        if wrong:
            raise DataError(
                f"{paths['metrics']}: a row of step {wrong[0]['step']} without its run; expected"
                " one in each: remove it"
            )

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if not self._active:
            return
        try:
            with self._writing():
                self.flush()
                if self._board:
                    self._board.close()
                for file in self._files.values():
                    file.close()
        except DataError:
            if self._board:
                self._board.abandon()
            if kind is None:  # else the first error says more
                raise

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise cannot_write(self._folder, error) from None

    def write(
        self, step: int, kind: str, values: Mapping[str, Any], place: Sequence[int] = ()
    ) -> None:
        """Adds a row to metrics.jsonl and its values to TensorBoard. Values that are not finite
        are left out: JSON has no word for them. place: of the run in its group."""
        finite = {k: floats(v) for k, v in values.items() if np.isfinite(v).all()}
        about = {"step": step, "kind": kind} | ({"run": list(place)} if place else {})
        self._add("metrics", about | finite)

    def write_timing(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a row to timing.jsonl and TensorBoard."""
        row = {"step": step, "kind": "timing", **{k: float(v) for k, v in values.items()}}
        self._add("timing", row)

    def flush(self) -> None:
        """Brings all rows to the disk; to be called before a checkpoint that counts on them."""
        if self._active:
            with self._writing():
                for file in self._files.values():
                    file.flush()
                    os.fsync(file.fileno())

    def _add(self, name: str, row: Row) -> None:
        if not self._active:
            return
        (self.rows if name == "metrics" else self.timing).append(row)
        with self._writing():
            self._files[name].write(json.dumps(row) + "\n")
            self._files[name].flush()
            if self._board:
                self._board.add(row)


def summary_writer() -> Any:
    """tensorboardX's class. Where torch is installed it would be imported to look at what is
    logged, for seconds; here numbers alone are."""
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from tensorboardX import SummaryWriter
    finally:
        if hidden:
            del sys.modules["torch"]
    return SummaryWriter


class Board:
    """TensorBoard's events of a run. What ends the thread that writes them is raised by the next
    call: without that thread the queue fills and blocks."""

    def __init__(self, folder: Path, step: int):
        self._board = summary_writer()(str(folder), purge_step=step + 1)
        self._writer: Any = getattr(self._board.file_writer, "event_writer")  # noqa: B009
        self._failed: BaseException | None = None
        before, worker = threading.excepthook, self._writer._worker

        def hook(found: threading.ExceptHookArgs) -> None:
            if found.thread is worker:
                self._failed = found.exc_value
            else:
                before(found)

        threading.excepthook, self._before = hook, before

    def add(self, row: Row) -> None:
        """The values of a row."""
        for key, value in row.items():
            if key not in ("step", "kind"):
                for tag, number in flat(f"{row['kind']}/{key}", value):
                    self._require()
                    self._board.add_scalar(tag, number, row["step"])

    def close(self) -> None:
        """Writes what is left."""
        self._require()
        self._board.close()
        threading.excepthook = self._before

    def abandon(self) -> None:
        """Gives up: else the library tries again when the program ends, with a traceback."""
        self._writer._closed = True
        self._writer._event_queue.cancel_join_thread()

    def _require(self) -> None:
        if self._failed is not None:
            self._writer._event_queue.cancel_join_thread()  # nobody empties it any more
            raise self._failed


def floats(value: Any) -> Any:
    """Number or array -> float or nested list of floats; float32 keeps its exact value."""
    return np.asarray(value, np.float64).tolist()


def flat(tag: str, value: Any) -> list[tuple[str, float]]:
    """A number, or nested lists, as TensorBoard scalars: usage/rgb -> usage/rgb/03."""
    if not isinstance(value, list):
        return [(tag, value)]
    return [pair for i, part in enumerate(value) for pair in flat(f"{tag}/{i:02d}", part)]


def truncate(path: Path, step: int) -> list[Row]:
    """Drops rows of later steps from a JSON-lines file, and a last line that was cut short; returns
    the rows kept.

    Raises DataError naming file and line where another line is broken.
    """
    if not os.path.lexists(path):
        if step:
            text = f"warning: {path}: not found, although the run goes on from step {step}"
            print(f"{text}; its earlier rows are lost", file=sys.stderr, flush=True)
        return []
    try:
        lines = read_bytes(path, "the log of a run").split(b"\n")
    except DataError as error:  # a pipe would be waited for, a link to nothing written through
        remedy = "put it back, or move it away: the run goes on without its earlier rows"
        raise DataError(f"{error}; {remedy}") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = _row(line, f"{path}, line {number}") if line else None
        except DataError as error:
            # a whole line ends with a newline, so only the very last part can be cut short
            if number < len(lines):
                raise DataError(f"{error}; mend or remove the line") from None
            row = None
        if row is not None and row["step"] <= step:
            rows.append(row)
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


def _row(line: bytes, where: str) -> Row:
    """A row of a log. Raises DataError, beginning with `where`."""
    what = "a row of a log"
    try:
        row = parse_json(line.decode(), where, what)
    except UnicodeDecodeError:
        raise DataError(f"{where}: not UTF-8; expected {what}") from None
    if type(row.get("step")) is not int or not isinstance(row.get("kind"), str):
        raise DataError(
            f"{where}: step {row.get('step')!r}, kind {row.get('kind')!r}; expected {what}"
        )
    return row
