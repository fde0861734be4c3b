"""Scores of a file, a camera or a stream of a network as its frames come, printed and kept;
memory does not grow with time."""

from __future__ import annotations

import csv
import errno
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from urllib.parse import urlsplit

import numpy as np

from gfvad.base.errors import EXIT_SOME_FAILED, cannot_write
from gfvad.base.files import safe_cell
from gfvad.base.secrets import redact
from gfvad.base.types import ConfigError
from gfvad.encoders.registry import open_encoder, settings_of
from gfvad.encoders.units import FRAMES, SIDE, Picture
from gfvad.extraction.sources import Live, live
from gfvad.measure.alarms import GAP
from gfvad.scoring import files
from gfvad.scoring.job import Request, kind_of, required_encoders
from gfvad.scoring.patience import Interrupted, Patience
from gfvad.tasks.fusion.live import Row, UnitStreamer

GROWING = (files.SCORES_CSV, files.ALARMS_CSV)
KEPT = 1000  # delays that the median is taken over


class Scoring(NamedTuple):
    """What scores a stream."""

    streamer: Any  # push(piece) -> rows, finish() -> rows
    name: str
    threshold: float
    rule: str
    names: Sequence[str]  # of the contributions
    delay: str  # what it waits for


def watch(request: Request, loop: bool = False, seconds: float = 0.0) -> int:
    """Scores a source until it ends, is interrupted, or `seconds` of it have passed (0: never);
    returns the exit code: 0 done, 130 / 143 interrupted.

    Prints a line a unit (a second of frames for the predictive model) and says when an alarm begins
    and ends; with request.out they are kept in scores.csv and alarms.csv as they come. A camera or
    a stream that is not there is waited for, at most `seconds` where that is given.
    Raises DataError where the model or a file cannot be opened, or a source did not come in time,
    ConfigError for several sources.
    """
    if len(request.inputs) != 1:
        raise ConfigError(f"--stream with {len(request.inputs)} inputs; expected one source")
    with ExitStack() as stack:
        if request.out is not None:
            stack.enter_context(files.owned(request.out).locked("folder of scores", GROWING))
        return _watch(request, loop, seconds)


def name_of(source: str) -> str:
    """What a source is called in tables: a file's name without suffix, the last part of a URL's
    path, or its host; never a password."""
    if "://" not in source:
        return Path(source).stem or source
    try:
        parts = urlsplit(source)
        return redact(Path(parts.path).stem or parts.hostname or parts.scheme)
    except ValueError:  # no URL after all
        return source.partition("://")[0]


def _watch(request: Request, loop: bool, seconds: float) -> int:
    side, start = open_model(request)
    stopped: list[int] = []
    before = {
        s: signal.signal(s, lambda number, frame: stopped.append(number))
        for s in (signal.SIGINT, signal.SIGTERM)
    }
    lost = 0
    try:
        patience = Patience(request.inputs[0], stopped, seconds)
        say = lambda line: print(redact(line), file=sys.stderr, flush=True)  # noqa: E731
        with closing(
            live(
                request.inputs[0],
                side,
                loop=loop,
                say=say,
                opener=patience.open,
                sleep=patience.sleep,
            )
        ) as source:
            lost = score_pieces(request, source, start(source.info), seconds, stopped)
    except Interrupted:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 + stopped[0] if stopped else EXIT_SOME_FAILED if lost else 0


def score_pieces(
    request: Request, source: Live, scoring: Scoring, seconds: float, stopped: Sequence[int]
) -> int:
    """Scores what comes until it ends, `stopped` holds a signal, or `seconds` of it have passed;
    returns how many scores were not finite."""
    threshold = scoring.threshold if request.threshold is None else request.threshold
    print(
        f"model    {scoring.name}\nalarms   from {threshold:.4g}"
        f" ({scoring.rule if request.threshold is None else 'given'})\ndelay    {scoring.delay}",
        flush=True,
    )
    log = Log(request.out, name_of(request.inputs[0]), threshold, scoring.names)
    try:
        for piece in source:
            arrived = time.monotonic()
            for row in scoring.streamer.push(piece):
                log.take(row, time.monotonic() - arrived)
            if stopped or (seconds and isinstance(piece, Picture) and piece.time >= seconds):
                break
        else:
            for row in scoring.streamer.finish():
                log.take(row, 0.0)
    finally:
        log.close()
    return log.lost


def open_model(request: Request) -> tuple[int, Callable[[Any], Scoring]]:
    """(pixels of the long side of the frames that the model of a request wants, what makes it
    ready for a source with this `info`)."""
    if kind_of(request.model) == "predictive":
        from gfvad.tasks.prediction.score import PredictiveScorer
        from gfvad.tasks.prediction.stream import ClipStreamer

        scorer = PredictiveScorer.open(request.model, request.checkpoint)
        streamer = ClipStreamer(scorer)
        made = Scoring(
            Frames(streamer),
            scorer.name,
            streamer.threshold,
            scorer.threshold_rule,
            tuple(scorer.terms),
            streamer.delay,
        )
        return scorer.side, lambda info: made
    from gfvad.tasks.fusion.scorer import open_weak

    scorer = open_weak(request.model, request.checkpoint)
    encoders = []
    for m, stated in required_encoders(scorer.path, scorer.encoders).items():
        if m in scorer.modalities and stated["name"] != "text":  # nobody describes a stream
            encoders.append(
                open_encoder(
                    stated["name"],
                    **settings_of(
                        m, stated, **({"path": request.paths[m]} if m in request.paths else {})
                    ),
                )
            )

    def start(info: Any) -> Scoring:
        absent = {m for m in scorer.modalities if m not in {e.modality for e in encoders}} | (
            {"audio"} & set(scorer.modalities) if not info.sound else set()
        )
        delay = (
            f"a unit of {FRAMES} frames ({FRAMES / info.fps:.2f} s), and the time of scoring it"
            + (f"; no {', '.join(sorted(absent))}: scores are made without it" if absent else "")
        )
        return Scoring(
            UnitStreamer(scorer.units, encoders, info.sound, info.fps),
            scorer.name,
            scorer.threshold,
            scorer.threshold_rule,
            scorer.modalities,
            delay,
        )

    return SIDE, start


class Frames:
    """A streamer of frames, given pictures and sound."""

    def __init__(self, streamer: Any):
        self._streamer = streamer

    def push(self, piece: Any) -> list[Row]:
        """Rows that a picture completes; sound is not heard."""
        return self._streamer.push(piece.rgb, piece.time) if isinstance(piece, Picture) else []

    def finish(self) -> list[Row]:
        """What is left."""
        return self._streamer.finish()


class Log:
    """Rows and alarms of a stream, to the terminal and to files that grow by a line at a time."""

    def __init__(self, out: Path | None, name: str, threshold: float, names: Sequence[str]):
        self._name, self._threshold, self._names, self._delays = (
            name,
            threshold,
            names,
            deque(maxlen=KEPT),
        )
        self._alarm: list[Any] | None = None  # start, end, peak, peak time, contributions
        # lost: rows without a finite score, which are not written
        self._count, self._shown, self.lost = 0, -1.0, 0
        self._own = None if out is None else files.owned(out)
        if self._own:
            self._own.begin(GROWING)
        self._scores = self._open(files.SCORES_CSV, [*files.COLUMNS, *names])
        self._alarms = self._open(files.ALARMS_CSV, [*files.ALARM_COLUMNS, *names])

    def _open(self, name: str, header: Sequence[str]) -> TextIO | None:
        if self._own is None:
            return None
        path = self._own.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "w", encoding="utf-8", errors="replace", newline="")
        except OSError as error:
            raise cannot_write(path, error) from None
        self._line(file, header)
        return file

    def _line(self, file: TextIO, cells: Sequence[Any]) -> None:
        """One line, on its way to the disk at once."""
        try:
            csv.writer(file, lineterminator="\n").writerow([safe_cell(cell) for cell in cells])
            file.flush()
            if not os.fstat(file.fileno()).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "removed while it was written", file.name)
        except OSError as error:
            with suppress(OSError):
                file.close()  # what could not be written is let go
            raise cannot_write(file.name, error) from None

    def take(self, row: Row, delay: float) -> None:
        """One row; delay: seconds between the arrival of the frame that completed it and its
        score."""
        if not np.isfinite([row.score, *row.contributions.values()]).all():
            self.lost += 1
            print(
                f"{stamp(row.start)}  no score: it would not be a finite number",
                file=sys.stderr,
                flush=True,
            )
            return
        self._delays.append(delay)
        high = row.score >= self._threshold
        if self._scores:
            line = [
                self._name,
                self._count,
                f"{row.start:.3f}",
                f"{row.end:.3f}",
                f"{row.score:.6g}",
                int(high),
                *(f"{row.contributions.get(n, 0.0):.6g}" for n in self._names),
            ]
            self._line(self._scores, line)
        self._count += 1
        # also where this row begins the next one, as in a file
        if self._alarm and row.start - self._alarm[1] >= GAP:
            self._end()
        if high and self._alarm is None:
            self._alarm = [
                row.start,
                row.end,
                row.score,
                (row.start + row.end) / 2,
                row.contributions,
            ]
            print(
                f"{stamp(row.start)}  ALARM begins, score {row.score:.3f}"
                f" ({says(row.contributions)})",
                flush=True,
            )
        elif high:
            self._alarm[1] = row.end
            if row.score > self._alarm[2]:
                self._alarm[2:] = [row.score, (row.start + row.end) / 2, row.contributions]
        if row.end - self._shown >= 0.5 or row.end < self._shown:
            print(
                f"{stamp(row.end)}  {row.score:.3f}{'  ALARM' if high else ''} "
                f" ({says(row.contributions)})",
                flush=True,
            )
            self._shown = row.end

    def _end(self) -> None:
        start, end, peak, peak_time, parts = self._alarm
        print(
            f"{stamp(end)}  alarm ended: {start:.1f} to {end:.1f} s, peak {peak:.3f} at"
            f" {peak_time:.1f} s",
            flush=True,
        )
        if self._alarms:
            row = [
                self._name,
                f"{start:.3f}",
                f"{end:.3f}",
                f"{peak:.6g}",
                f"{peak_time:.3f}",
                *(f"{parts.get(n, 0.0):.6g}" for n in self._names),
            ]
            self._line(self._alarms, row)
        self._alarm = None

    def close(self) -> None:
        """The end: an alarm that goes on is ended, and what the delays were is said."""
        try:
            if self._alarm and not any(
                file and file.closed for file in (self._scores, self._alarms)
            ):
                self._end()
            for file in (self._scores, self._alarms):
                if file and not file.closed:
                    os.fsync(file.fileno())
                    file.close()
        except OSError as error:
            raise cannot_write(self._own.folder, error) from None
        finally:
            if self._own and self._own.folder.is_dir():
                self._own.finish(GROWING)
        if self._delays:
            print(
                f"{self._count:,} scores; from the last frame of one to its score: median"
                f" {1000 * float(np.median(self._delays)):.0f} ms, 95 % below"
                f" {1000 * float(np.quantile(self._delays, 0.95)):.0f} ms"
            )


def stamp(seconds: float) -> str:
    """'0:01:02.5'."""
    return f"{int(seconds // 3600)}:{int(seconds // 60) % 60:02d}:{seconds % 60:04.1f}"


def says(contributions: dict[str, float]) -> str:
    """'motion +1.20, audio -0.10', the largest first."""
    return ", ".join(
        f"{name} {value:+.2f}"
        for name, value in sorted(contributions.items(), key=lambda item: -item[1])
    )
