"""Checks a feature folder without loading it: what is missing, unpaired, misaligned, truncated,
misshapen, not finite or duplicated.

File headers and sizes tell most of it; `deep` also reads every value, in chunks. Results do not
depend on the order of the file system.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.progress import Progress, Silent
from gfvad.base.types import DataError
from gfvad.data.features.layouts import arrays
from gfvad.data.features.layouts.base import Layout
from gfvad.data.features.layouts.entries import SPLITS, Entry, Problem
from gfvad.data.truth_audit import MAX_GAP, Crops

KINDS = {  # kind -> what it means, in the order of the report
    "missing": "files that should be there and are not",
    "pairing": "videos some modality lacks",
    "split": "videos of no part, or of both",
    "name": "names or labels that are not of the set",
    "annotation": "videos without ground truth, or at odds with it",
    "unreadable": "files that are no plain .npy arrays, or empty",
    "truncated": "files shorter (or longer) than their header says",
    "shape": "files of the wrong shape or type, or without rows",
    "misaligned": "modalities or crops whose rows do not fit together",
    "not finite": "files with NaN or infinite values",
    "range": "files with values so large that their squares overflow float32",
    "duplicated": "different videos with identical files",
    "text": "captions without videos, left out; videos without captions: their text is zeros",
    "unknown": "names in tables and lists that no video has, left out",
    "foreign": "files that belong to nothing, left out",
}
EDGE = 4096  # bytes at each end compared before whole files are


class Count(NamedTuple):
    """Size of a split."""

    split: str
    videos: int
    abnormal: int
    files: int
    units: int  # of readable videos, after alignment
    gigabytes: float


class Report(NamedTuple):
    """What an audit found."""

    dataset: str
    root: Path
    modalities: tuple[str, ...]
    counts: tuple[Count, ...]
    # (split, problem), in the order of KINDS, then split and name
    problems: tuple[tuple[str, Problem], ...]
    deep: bool

    @property
    def errors(self) -> int:
        """Problems that make the set unusable as it is."""
        return sum(problem.error for _, problem in self.problems)


def audit(
    layout: Layout,
    splits: Sequence[str] = SPLITS,
    deep: bool = False,
    progress: Callable[[int, str], Progress] | None = Progress,
) -> Report:
    """Everything wrong with the splits of a layout. deep: read every value too (the whole set
    once). `progress(total, label)` or None."""
    problems: list[tuple[str, Problem]] = []
    counts, files = [], []
    for split in splits:
        entries, found = layout.survey(split)
        problems += [(split, p) for p in found]
        units, paths, crops = 0, set(), Crops()
        with (progress or Silent)(len(entries), f"checking {split}") as bar:
            for entry in entries:
                n, more = check_entry(layout, entry, deep, crops)
                units += n
                problems += [(split, p) for p in more]
                for m in layout.on_disk:
                    found = [p for p in entry.files[m] if p.is_file()]
                    paths |= {*found}
                    files += [(entry.name, split, m, p) for p in found if entry.row < 0]
                bar.advance()
        problems += [(split, Problem("misaligned", True, *odd)) for odd in crops.odd()]
        size = sum(p.stat().st_size for p in sorted(paths)) / 1e9
        abnormal = sum(e.label == 1 for e in entries)
        counts.append(Count(split, len(entries), abnormal, len(paths), units, size))
    problems += duplicates(files)
    order = list(KINDS)
    place = lambda split, p: (order.index(p.kind), not p.error, splits.index(split), *p[2:])
    problems.sort(key=lambda item: place(*item))
    return Report(layout.name, layout.root, layout.asked, tuple(counts), tuple(problems), deep)


def check_entry(
    layout: Layout, entry: Entry, deep: bool, crops: Crops | None = None
) -> tuple[int, list[Problem]]:
    """(units after alignment, problems) of one video, from its headers (and values); its crops
    are added to `crops`."""
    problems: list[Problem] = []
    rows: dict[str, int] = {}
    for modality in layout.on_disk:
        lengths = set()
        for path in entry.files[modality]:
            length, found = check_file(layout, entry, modality, path, deep)
            problems += found
            lengths |= {length} if length else set()
        if len(lengths) > 1:
            detail = f"crops of {modality} have {sorted(lengths)} rows; expected the same"
            problems.append(Problem("misaligned", True, entry.name, detail))
        if lengths:
            rows[modality] = min(lengths)
        if len(lengths) == 1 and crops is not None and not problems:
            shape = layout.headers(entry, modality)[0][1].shape
            if len(shape) == 3:  # crops that are files were looked at by their names
                crops.add(modality, entry.name, shape[1], shape[0])
    listed = ", ".join(f"{m} {n}" for m, n in rows.items())
    if rows and max(rows.values()) - min(rows.values()) > MAX_GAP:
        detail = f"rows: {listed}; expected a difference of at most {MAX_GAP}"
        problems.append(Problem("misaligned", True, entry.name, detail))
    elif len(set(rows.values())) > 1:
        detail = f"rows: {listed}; cut to the shortest"
        problems.append(Problem("misaligned", False, entry.name, detail))
    if layout.text and layout.text.get(entry.name) is None:
        problems.append(Problem("text", False, entry.name, f"not in {layout.text.path.name}"))
    units = min(rows.values(), default=0)
    covered = not any(
        p.kind == "annotation" and p.where == entry.name for p in layout.survey(entry.split)[1]
    )
    if units and covered and not any(p.error for p in problems):
        try:
            layout.checked(entry, units)
        except DataError as error:
            problems.append(Problem("annotation", True, entry.name, str(error)))
    return units, problems


def check_file(
    layout: Layout, entry: Entry, modality: str, path: Path, deep: bool
) -> tuple[int, list[Problem]]:
    """(rows, problems) of one file; 0 rows where they cannot be told."""
    try:
        if entry.row >= 0:
            header = layout.headers(entry, modality)[0][1]
            if deep:
                layout.read(entry, modality)
            return header.shape[0], []
        header = arrays.read_header(path)
    except DataError as error:
        kind = "not finite" if entry.row >= 0 else "unreadable" if path.is_file() else "missing"
        return 0, [Problem(kind, True, str(path), str(error))]
    axes = layout.ndims.get(modality, (2, 3))
    try:
        arrays.check_header(path, header, axes, layout.modalities[modality])
    except DataError as error:
        kind = "truncated" if header.found != header.expected else "shape"
        return 0, [Problem(kind, True, str(path), str(error))]
    bad, kind, detail = 0, "range", ""
    for chunk in arrays.read_chunks(path, header) if deep else ():
        bad += int(np.size(chunk) - np.count_nonzero(np.isfinite(chunk)))
        detail = detail or arrays.too_large(chunk[np.isfinite(chunk)] if bad else chunk)
    if bad:
        kind, detail = "not finite", f"{bad} values are NaN or infinite"
    return header.shape[0], [Problem(kind, True, str(path), detail)] if detail else []


def duplicates(files: Sequence[tuple[str, str, str, Path]]) -> list[tuple[str, Problem]]:
    """Files (video, split, modality, path) of different videos with the same content; warnings, for
    silence repeats legitimately.

    Compared by size, then by both ends, then by a hash of the whole, so that almost nothing is read
    where all differ.
    """
    # absent, a pipe (reading would hang), a loop of links: said where its header is read
    groups = {(): [item for item in files if item[3].is_file()]}
    for key in (lambda path: path.stat().st_size, _edges, _content):
        finer: dict[tuple, list] = {}
        for group, items in groups.items():
            for item in items:
                finer.setdefault((*group, item[2], key(item[3])), []).append(item)
        # of different videos
        groups = {k: items for k, items in finer.items() if len({item[0] for item in items}) > 1}
    found = []
    for items in groups.values():
        items = sorted(items, key=lambda item: (item[1], str(item[3])))
        names, parts = " = ".join(path.name for *_, path in items), {item[1] for item in items}
        across = "; they are in both parts" if len(parts) > 1 else ""
        problem = Problem("duplicated", False, items[0][0], f"{names}{across}")
        found.append((items[0][1], problem))
    return found


def _edges(path: Path) -> bytes:
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(EDGE)
        file.seek(max(0, size - EDGE))
        return hashlib.sha256(head + file.read()).digest()


def _content(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def format_report(report: Report, shown: int = 5) -> str:
    """The report as text: a table of counts, then each kind of problem with the first `shown`
    names (0: all)."""
    lines = [f"{report.dataset} in {report.root}, modalities {', '.join(report.modalities)}", ""]
    lines.append(f"{'part':<8}{'videos':>9}{'abnormal':>10}{'files':>9}{'units':>12}{'GB':>9}")
    for c in report.counts:
        lines.append(
            f"{c.split:<8}{c.videos:>9,}{c.abnormal:>10,}{c.files:>9,}{c.units:>12,}{c.gigabytes:>9.2f}"
        )
    for kind, meaning in KINDS.items():
        for error in (True, False):
            items = [(s, p) for s, p in report.problems if p.kind == kind and p.error == error]
            if not items:
                continue
            lines += ["", f"{'ERROR' if error else 'note '} {kind}: {len(items):,} ({meaning})"]
            for s, p in items[: shown or None]:
                lines.append(f"    {s:<6}{p.where}: {p.detail.removeprefix(f'{p.where}: ')}")
            if 0 < shown < len(items):
                lines.append(f"    ... and {len(items) - shown:,} more")
    unread = "" if report.deep else "; values were not read (--deep does)"
    notes = len(report.problems) - report.errors
    return "\n".join([*lines, "", f"{report.errors:,} errors, {notes:,} notes{unread}"])
