"""Progress of anything long: done / total, rate, time left. A live line on a terminal, a plain
line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

LIVE_SECONDS = 0.1  # between two repaints of a terminal line
PLAIN_SECONDS = 5.0  # between two lines of a log file


def format_duration(seconds: float) -> str:
    """Seconds as 'M:SS' or 'H:MM:SS' (rounded up, so that work left is never shown as 0:00); '?'
    where not finite or negative."""
    if not 0 <= seconds < float("inf"):
        return "?"
    whole = int(-(-seconds // 1))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def format_progress(label: str, done: int, total: int, unit: str, seconds: float) -> str:
    """One line of progress after `seconds` of work; total 0 means unknown.

    Unfinished: 'train: 120/400 videos (30 %), 35.2 videos/s, 0:08 left'. Finished: 'train: 400
    videos in 0:12, 35.2 videos/s'.
    """
    rate = done / seconds if seconds > 0 else 0.0
    speed = (
        f"{rate:,.1f} {unit}/s"
        if rate >= 1 or not rate
        else f"{1 / rate:,.1f} s a {unit.removesuffix('s')}"
    )
    if not total:
        return f"{label}: {done:,} {unit}, {speed}"
    if done >= total:
        return f"{label}: {done:,} {unit} in {format_duration(seconds)}, {speed}"
    left = (total - done) / rate if rate else float("inf")
    return (
        f"{label}: {done:,}/{total:,} {unit} ({100 * done // total} %), {speed},"
        f" {format_duration(left)} left"
    )


class Progress:
    """Context manager that reports how far a job of `total` units is (0: unknown).

    with Progress(len(videos), 'records') as progress: ... progress.advance()
    """

    def __init__(self, total: int, label: str, unit: str = "videos", stream: TextIO | None = None):
        self.total, self.label, self.unit = total, label, unit
        self.done = 0
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._start = self._shown = time.monotonic()

    def advance(self, n: int = 1) -> None:
        """Counts n more units as done; prints where the last print is long enough ago."""
        self.done += n
        now = time.monotonic()
        if now - self._shown >= (LIVE_SECONDS if self._live else PLAIN_SECONDS):
            self._shown = now
            self._print(end="" if self._live else "\n")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception) -> None:
        # the last line stays, also after an error: it says how far the job came
        self._print(end="\n")

    def _print(self, end: str) -> None:
        line = format_progress(
            self.label, self.done, self.total, self.unit, time.monotonic() - self._start
        )
        # \x1b[K clears what a longer line left behind
        self._stream.write(f"\r{line}\x1b[K{end}" if self._live else line + end)
        self._stream.flush()


class Silent(Progress):
    """Says nothing."""

    def _print(self, end: str) -> None:
        pass
