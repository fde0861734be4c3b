"""The job over many videos: what is to be done, by several processes, and what is said of it.
Its command line: `gfvad/extract.py`."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gfvad.base.errors import EXIT_SOME_FAILED
from gfvad.base.names import some
from gfvad.base.progress import Progress
from gfvad.base.secrets import redact
from gfvad.base.types import ConfigError
from gfvad.data.frames import finding
from gfvad.encoders.registry import UnitEncoder, open_encoder
from gfvad.extraction import labels as labels_lib
from gfvad.extraction.feature_files import NoRoom, encoder_id, feature_file, stamp
from gfvad.extraction.feature_folder import ANNOTATIONS, COUNTS, LABELS, SPANS, UNITS, Book
from gfvad.extraction.one_video import Failure, Task, merged, notes_on, open_spec, work
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
            tasks.append(
                Task(
                    video.name,
                    str(video.path),
                    str(book.out),
                    files,
                    tuple(plan.specs[m] for m in lacks),
                    threads,
                )
            )
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
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        begun = to_do(plan, book, 1)
        count = min(cores if workers < 0 else workers, len(begun))
        book.begin(tables_of(plan, book), [file for task in begun for file in task.files.values()])
        tasks = [task._replace(threads=max(1, cores // max(count, 1))) for task in begun]
        full = _do(tasks, book, plan, lambda tick: runner(work, tasks, count, stop, tick), stop)
        names = {video.name for video in plan.videos}
        for name, line in plan.labels.items():
            if name in book.videos:
                book.videos[name].update(
                    label=line.label, split=line.split, classes=list(line.classes)
                )
        book.require_folder()
        try:
            labels_lib.write_tables(out, layout, book.sorted(), plan.spans)
            book.close()
        except NoRoom as error:
            full = full or Failure("full", error.path, error.needed)
        say_summary(book, plan, names, len(plan.videos) - len(tasks))
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        if full:
            print(f"error: {no_room(full, book, plan)}", file=sys.stderr)
            return EXIT_SOME_FAILED
        if stop.signum:
            left = sum(name not in book.videos and name not in book.failed for name in names)
            print(
                f"interrupted by {signal.Signals(stop.signum).name}: {left} of {len(names)} videos"
                " are left; the same command goes on with them",
                file=sys.stderr,
            )
            return 128 + stop.signum
        return EXIT_SOME_FAILED if names & set(book.failed) else 0


def tables_of(plan: Plan, book: Book) -> list[str]:
    """The tables that a call will write into the folder."""
    if book.layout == "xd":
        return [UNITS, COUNTS, ANNOTATIONS]
    labelled = bool(plan.labels) or any("label" in record for record in book.videos.values())
    return [UNITS, COUNTS, *([LABELS, SPANS] if labelled else [])]


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
        reason = (
            result.reason
            if isinstance(result, Failure)
            else f"{task.path}: {result or type(result).__name__}"
        )
        book.add(
            task.name,
            None,
            {"path": os.path.abspath(task.path), "size": _size(task.path), "reason": reason},
        )
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
        parts = {s: [r for r in done if r.get("split") == s] for s in ("train", "test")}
        print(
            "labels   "
            + "; ".join(
                f"{s}: {sum(r['label'] == 0 for r in p)} normal, {sum(r['label'] == 1 for r in p)}"
                " abnormal"
                for s, p in parts.items()
            )
        )
    if lost := sorted(set(plan.spans) - names):
        print(
            f"note: spans of {len(lost)} videos that are not among the given: {some(lost)}",
            file=sys.stderr,
        )
    if plan.passed:
        print(finding.passed_over(plan.passed), file=sys.stderr)
    failed = [name for name in sorted(names) if name in book.failed]
    if failed:
        print(f"{len(failed)} of {len(names)} videos failed:", file=sys.stderr)
    for name in failed[:SHOWN_FAILURES]:
        print(redact(f"  {name}: {book.failed[name]['reason']}"), file=sys.stderr)
    if len(failed) > SHOWN_FAILURES:
        print(
            f"  and {len(failed) - SHOWN_FAILURES} more: `failed` in {book.out / 'manifest.json'}",
            file=sys.stderr,
        )


def run_extraction(
    arguments: argparse.Namespace, opener: Callable[..., UnitEncoder] = open_encoder
) -> int:
    """One command line; returns the exit code."""
    if arguments.workers < -1:
        raise ConfigError(
            f"--workers={arguments.workers}: expected a number of processes (0: none but this one,"
            " -1: one a core)"
        )
    return extract(
        make_plan(arguments, opener),
        Path(arguments.out).expanduser(),
        arguments.layout,
        arguments.workers,
    )
