"""The job over many videos: what is to be done, by several processes, and what is said of it.
Its command line: `gfvad/extract.py`."""

from __future__ import annotations

import argparse
import ast
import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gfvad.base.errors import EXIT_SOME_FAILED
from gfvad.base.names import matched, nearest
from gfvad.base.options import Parser
from gfvad.base.progress import Progress
from gfvad.base.secrets import redact
from gfvad.base.types import ConfigError
from gfvad.data import annotations
from gfvad.data.features.layouts.base import some
from gfvad.data.frames import finding
from gfvad.encoders.registry import (
    DEFAULT,
    ENCODERS,
    UnitEncoder,
    find_encoder,
    open_encoder,
    settings_known,
)
from gfvad.extraction import labels as labels_lib
from gfvad.extraction.feature_folder import (
    ANNOTATIONS,
    COUNTS,
    LABELS,
    LAYOUTS,
    SPANS,
    UNITS,
    Book,
    NoRoom,
    describe_encoder,
    encoder_id,
    feature_file,
    stamp,
)
from gfvad.extraction.labels import Label
from gfvad.extraction.one_video import Failure, Spec, Task, merged, notes_on, open_spec, work
from gfvad.extraction.videos import VideoSource, find_videos, name_of
from gfvad.extraction.workers import Stop, spread

TEST_FRACTION = 0.2
SHOWN_FAILURES = 50


class Plan(NamedTuple):
    """What a call has to do."""

    videos: Sequence[VideoSource]
    labels: Mapping[str, Label]  # {} where none were given
    spans: Mapping[str, Sequence[tuple[int, int, str]]]
    specs: Mapping[str, Spec]  # modality -> encoder
    encoders: Mapping[str, dict[str, Any]]  # modality -> its description for the manifest
    passed: Sequence[Path] = ()  # files in the given folders that hold no video
    own: bool = True  # what encoders look up was given for these videos


def parser(prog: str, about: str) -> Parser:
    """The arguments that a job on one machine and a pipeline share."""
    made = Parser(prog, about)
    made.add_argument(
        "inputs",
        nargs="+",
        metavar="VIDEO_OR_FOLDER",
        help="video files, and folders that are searched through for them",
    )
    made.add_argument("--out", required=True, help="folder of the features")
    made.add_argument(
        "--modalities",
        default="",
        help=(
            f"joined by commas (default: {','.join(DEFAULT)}, and those of --encoder and"
            " --descriptions)"
        ),
    )
    made.add_argument(
        "--encoder",
        action="append",
        default=[],
        metavar="MODALITY=NAME[:key=value,...]",
        help="another encoder than the modality's own",
    )
    made.add_argument(
        "--layout", default="generic", choices=LAYOUTS, help="folders and names of the features"
    )
    made.add_argument(
        "--descriptions",
        default="",
        help="JSON lines of descriptions, or a local vision-language model: the modality text",
    )
    made.add_argument(
        "--labels", default="", help="CSV name,label[,split][,class] (0 normal, 1 abnormal)"
    )
    made.add_argument(
        "--spans",
        default="",
        help=(
            "CSV name,start,end[,class] of abnormal frames from 0, end excluded (default: whole"
            " videos)"
        ),
    )
    made.add_argument(
        "--normal", default="", help="names of folders that hold normal videos, joined by commas"
    )
    made.add_argument(
        "--abnormal",
        default="",
        help="names of folders that hold abnormal videos, joined by commas",
    )
    made.add_argument(
        "--test-fraction",
        type=float,
        default=TEST_FRACTION,
        help=(
            "part of the videos of each label for testing, where no split is given (default"
            f" {TEST_FRACTION})"
        ),
    )
    made.add_argument(
        "--fold",
        type=int,
        default=0,
        help=(
            "which such part (default 0, the first): 0 to 4 test every video once where a fifth is"
            " tested"
        ),
    )
    return made


def make_plan(
    arguments: argparse.Namespace, opener: Callable[..., UnitEncoder] = open_encoder
) -> Plan:
    """Everything that can be wrong before work begins is found here. Raises ConfigError and
    DataError."""
    specs = read_specs(arguments.modalities, arguments.encoder, arguments.descriptions, opener)
    for m in specs if arguments.layout == "xd" else ():
        feature_file("xd", m, "", "")
    passed: list[Path] = []
    videos = find_videos(arguments.inputs, passed)
    found = read_labels(arguments, videos)
    spans = read_spans(Path(arguments.spans).expanduser(), videos, found) if arguments.spans else {}
    return Plan(
        videos,
        found,
        spans,
        specs,
        {m: describe_encoder(open_spec(spec)) for m, spec in specs.items()},
        passed,
    )


def read_spans(
    path: Path, videos: Sequence[VideoSource], labels: Mapping[str, Label]
) -> dict[str, list[tuple[int, int, str]]]:
    """{name: [(start, end, class)]} of spans.csv, names with or without folders and suffix.

    Raises DataError where none is of a given video, although abnormal test videos are among them.
    """
    table: dict[str, list[tuple[int, int, str]]] = {}
    for name, found in annotations.parse_spans_csv(path).items():
        table[name_of(name)] = sorted([*table.get(name_of(name), []), *found])
    own = labels_lib.fit(table, videos, path)
    taken = set(own.values())
    if not taken and any(line.label and line.split == "test" for line in labels.values()):
        matched(str(path), table, labels, "spans")
    rest = {
        name: found for name, found in table.items() if name not in taken
    }  # named in the summary
    return {**rest, **{video: table[name] for video, name in own.items()}}


def read_specs(
    modalities: str,
    given: Sequence[str],
    descriptions: str,
    opener: Callable[..., UnitEncoder] = open_encoder,
) -> dict[str, Spec]:
    """{modality: encoder to open}. Raises ConfigError for a modality without an encoder, a
    malformed --encoder, two for one modality."""
    chosen: dict[str, Spec] = {}
    for text in given:
        modality, _, rest = text.partition("=")
        name, _, listed = rest.partition(":")
        pairs = [pair.partition("=") for pair in listed.split(",") if pair]
        if (
            not modality
            or not name
            or not all(equals for _, equals, _ in pairs)
            or modality in chosen
        ):
            raise ConfigError(
                f"--encoder={text}: expected MODALITY=NAME or MODALITY=NAME:key=value,..., once a"
                " modality"
            )
        settings = {key.strip(): _value(value) for key, _, value in pairs}
        if "modality" in settings_known(name):
            settings.setdefault("modality", modality)
        chosen[modality] = Spec(modality, name, tuple(sorted(settings.items())), opener)
    if descriptions:
        if "text" in chosen:
            raise ConfigError("--descriptions and --encoder=text=...: expected one of them")
        chosen["text"] = Spec("text", "text", (("path", descriptions),), opener)
    asked = tuple(m.strip() for m in modalities.split(",") if m.strip()) or tuple(
        dict.fromkeys((*DEFAULT, *chosen))
    )
    if len(set(asked)) < len(asked) or not set(chosen) <= set(asked):
        raise ConfigError(
            f"--modalities={modalities}: expected each once, and those of --encoder and"
            f" --descriptions ({', '.join(chosen) or 'none'}) among them"
        )
    for m in (m for m in asked if m not in chosen):
        if getattr(find_encoder(m), "modality", "") != m:
            raise ConfigError(
                f"--modalities={modalities}: {m!r} has no encoder of its"
                f" own{nearest(m, list(ENCODERS['units']))}; give --encoder={m}=NAME:..."
            )
    return {m: chosen.get(m, Spec(m, m, (), opener)) for m in asked}


def _value(text: str) -> Any:
    """A number, tuple, True or False as Python writes it; anything else is text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def read_labels(arguments: argparse.Namespace, videos: Sequence[VideoSource]) -> dict[str, Label]:
    """{name: Label}; {} where no labels are asked for. Raises ConfigError, DataError."""
    fraction, fold = arguments.test_fraction, arguments.fold
    if not 0 <= fraction <= 1:
        raise ConfigError(f"--test-fraction={fraction}: expected a part from 0 to 1")
    normal, abnormal = (
        [f.strip("/ ") for f in text.split(",") if f.strip("/ ")]
        for text in (arguments.normal, arguments.abnormal)
    )
    if arguments.labels and (normal or abnormal):
        raise ConfigError("--labels and --normal, --abnormal: expected one of them")
    if arguments.labels:
        found = labels_lib.from_table(Path(arguments.labels).expanduser(), videos, fraction, fold)
    elif normal or abnormal:
        found = labels_lib.from_folders(videos, normal, abnormal, fraction, fold)
    elif arguments.spans and arguments.layout != "xd":
        raise ConfigError(
            "--spans without labels: give --labels=FILE or --normal=FOLDER --abnormal=FOLDER too"
        )
    else:
        found = {}
    if fold and not found and arguments.layout != "xd":
        raise ConfigError(
            f"--fold={fold} without labels: give --labels=FILE or --normal=FOLDER"
            " --abnormal=FOLDER too"
        )
    if arguments.layout == "xd":
        by_name = labels_lib.from_xd_names(videos)
        split = found or labels_lib.with_split(by_name, videos, fraction, fold)
        return {name: line._replace(split=split[name].split) for name, line in by_name.items()}
    return found


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
            labels_lib.write(out, layout, book.sorted(), plan.spans)
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


def run(arguments: argparse.Namespace, opener: Callable[..., UnitEncoder] = open_encoder) -> int:
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
