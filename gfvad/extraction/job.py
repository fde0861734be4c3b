"""The job over many videos: what is to be done, by several processes, and what is said of it.
Its command line: `gfvad/commands/extract.py`."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gfvad.base.errors import EXIT_SOME_FAILED
from gfvad.base.names import some
from gfvad.base.progress import Progress
from gfvad.base.secrets import redact
from gfvad.base.types import ConfigError
from gfvad.data.frames import finding
from gfvad.data.frames.cache import say_on_stderr as warn
from gfvad.encoders.registry import UnitEncoder, open_encoder
from gfvad.extraction import labels as labels_lib
from gfvad.extraction.feature_files import NoRoom, encoder_id, feature_file, stamp
from gfvad.extraction.feature_folder import Book
from gfvad.extraction.one_video import Failure, Task, merged, notes_on, open_spec, work
from gfvad.extraction.ownership import ANNOTATIONS, COUNTS, LABELS, SPANS, TIMES
from gfvad.extraction.planning import Plan, make_plan
from gfvad.extraction.workers import Stop, spread

SHOWN_FAILURES = 50


def to_do(plan: Plan, book: Book, threads: int) -> list[Task]:
    """The tasks that a folder lacks, the largest files first, so that no process is left with
    one at the end."""
    ids = {m: encoder_id(open_spec(spec)) for m, spec in plan.specs.items()}
    tasks = []
    for video in plan.videos:
        split = plan.labels[video.name].split if video.name in plan.labels else ""
        try:
            lacks = book.lacking(video, ids, split)
        except OSError:
            lacks = list(ids)  # cannot be read: the task says why
        if lacks:
            files = {m: feature_file(book.layout, m, video.name, split) for m in lacks}
            specs = tuple(plan.specs[m] for m in lacks)
            tasks.append(Task(video.name, str(video.path), str(book.out), files, specs, threads))
    return sorted(tasks, key=lambda task: -_size(task.path))


def extract(
    plan: Plan,
    out: Path,
    layout: str,
    workers: int,
    runner: Callable[..., Iterator[tuple[Task, Any]]] = spread,
) -> int:
    """Does the plan; returns the exit code: 0 done, 1 some files failed or the disk is full, 130 /
    143 interrupted. Raises DataError.

    workers: processes (-1: one a core). runner: who runs `work` on the tasks, called as
    `workers.spread`.
    """
    given = [video.name for video in plan.videos]
    notes = notes_on(plan.specs.values(), given, plan.own)
    with Book(out, layout) as book, Stop() as stop:
        linux = hasattr(os, "sched_getaffinity")
        cores = len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
        begun = to_do(plan, book, 1)
        count = min(cores if workers < 0 else workers, len(begun))
        labelled = bool(plan.labels) or any("label" in record for record in book.videos.values())
        own = [ANNOTATIONS] if layout == "xd" else [LABELS, SPANS] if labelled else []
        files = [file for task in begun for file in task.files.values()]
        book.own.begin(book.videos, [TIMES, COUNTS, *own], files)
        tasks = [task._replace(threads=max(1, cores // max(count, 1))) for task in begun]
        full = _do(tasks, book, plan, lambda tick: runner(work, tasks, count, stop, tick), stop)
        names = {video.name for video in plan.videos}
        for name, line in plan.labels.items():
            if name in book.videos:
                book.videos[name] |= {**line._asdict(), "classes": list(line.classes)}
        book.require_folder()
        try:
            labels_lib.write_tables(out, layout, book.sorted(), plan.spans)
            book.close()
        except NoRoom as error:
            full = full or Failure("full", error.path, error.needed)
        say_summary(book, plan, names, len(plan.videos) - len(tasks))
        for note in notes:
            warn(f"note: {note}")
        if full:
            warn(f"error: {no_room(full, book, plan)}")
            return EXIT_SOME_FAILED
        if stop.signum:
            left = sum(name not in book.videos and name not in book.failed for name in names)
            warn(
                f"interrupted by {signal.Signals(stop.signum).name}: {left} of {len(names)} videos"
                " are left; the same command goes on with them"
            )
            return 128 + stop.signum
        return EXIT_SOME_FAILED if names & set(book.failed) else 0


def _do(
    tasks: Sequence[Task],
    book: Book,
    plan: Plan,
    results: Callable[..., Iterator[tuple[Task, Any]]],
    stop: Stop,
) -> Failure | None:
    """Runs tasks and takes down their ends; the failure that the disk is full ends it."""
    total, full = max(1, math.ceil(sum(_size(task.path) for task in tasks) / 1e6)), None
    if not tasks:
        return None
    with Progress(total, "", "MB") as progress:
        done = 0

        def tick(bytes_done: float) -> None:
            progress.label = f"extracting, {done} of {len(tasks)} videos done"
            progress.advance(max(0, min(int(bytes_done / 1e6), total) - progress.done))

        tick(0)
        for task, result in results(tick):
            if isinstance(result, Failure) and result.kind == "stopped":
                continue
            done += 1
            try:
                full = full or _take_down(book, task, result)
            except NoRoom as error:
                full = full or Failure("full", error.path, error.needed)
            stop.now = stop.now or full is not None
        book.encoders.update(plan.encoders)
        tick(total * 1e6 if done == len(tasks) else 0)
    return full


def _take_down(book: Book, task: Task, result: Any) -> Failure | None:
    if isinstance(result, Failure) and result.kind == "full":
        return result
    if isinstance(result, dict):
        book.add(task.name, merged(book.videos.get(task.name), result))
    else:
        known = isinstance(result, Failure)
        reason = result.reason if known else f"{task.path}: {result or type(result).__name__}"
        where = {"path": os.path.abspath(task.path), "size": _size(task.path)}
        book.add(task.name, None, {**where, "reason": reason})
    return None


def _size(path: str) -> int:
    try:
        return stamp(Path(path)).size
    except OSError:
        return 0


def no_room(full: Failure, book: Book, plan: Plan) -> str:
    """What there is to say of a full disk: the file, and the room that all that is left will
    take by what was written so far."""
    numbers = sum(d["width"] for d in plan.encoders.values())
    done = [book.videos[v.name] for v in plan.videos if v.name in book.videos]
    left = sum(_size(str(v.path)) for v in plan.videos if v.name not in book.videos)
    rate = sum(r["units"] for r in done) * numbers * 4 / max(sum(r["size"] for r in done), 1)
    rest = max(full.needed, int(rate * left))
    free = shutil.disk_usage(book.out).free
    return (
        f"{full.reason}: no room left for its {full.needed:,} bytes ({free:,} free); expected about"
        f" {rest / 1e6:,.1f} MB for what is left: make room, or give another --out. What is done"
        " stays, and the same command goes on"
    )


def say_summary(book: Book, plan: Plan, names: set[str], before: int) -> None:
    """What there is now, on stdout; what failed, on stderr."""
    done = [book.videos[n] for n in sorted(names) if n in book.videos]
    widths = ", ".join(f"{m} {d['width']}" for m, d in plan.encoders.items())
    print(
        f"features {book.out}: {len(done)} videos, {sum(r['units'] for r in done):,} units;"
        f" {widths} numbers a unit; {before} were done before"
    )
    for m in plan.specs:
        lacks = sum(m in r["missing"] for r in done)
        if lacks:
            print(
                f"no {m} in {lacks} of {len(done)} videos: zeros in its place, see `sound` and"
                f" `missing` in {book.out / 'manifest.json'}"
            )
    if plan.labels:
        parts = {s: [r["label"] for r in done if r.get("split") == s] for s in ("train", "test")}
        counts = (f"{s}: {p.count(0)} normal, {p.count(1)} abnormal" for s, p in parts.items())
        print(f"labels   {'; '.join(counts)}")
    if lost := sorted(set(plan.spans) - names):
        warn(f"note: spans of {len(lost)} videos that are not among the given: {some(lost)}")
    if plan.passed:
        warn(finding.passed_over(plan.passed))
    failed = [name for name in sorted(names) if name in book.failed]
    if failed:
        warn(f"{len(failed)} of {len(names)} videos failed:")
    for name in failed[:SHOWN_FAILURES]:
        warn(redact(f"  {name}: {book.failed[name]['reason']}"))
    if rest := failed[SHOWN_FAILURES:]:
        warn(f"  and {len(rest)} more: `failed` in {book.out / 'manifest.json'}")


def run_extraction(
    arguments: argparse.Namespace, opener: Callable[..., UnitEncoder] = open_encoder
) -> int:
    """One command line; returns the exit code."""
    if arguments.workers < -1:
        raise ConfigError(
            f"--workers={arguments.workers}: expected a number of processes (0: none but this one,"
            " -1: one a core)"
        )
    plan, out = make_plan(arguments, opener), Path(arguments.out).expanduser()
    return extract(plan, out, arguments.layout, arguments.workers)
