"""What must hold of the parts and tables of every layout: who says of a video that it is for
testing, and which names no video has.

Folders, names and lists that say 'test' of a video must agree with what decided its part, and no
video may be in both.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gfvad.base.names import matched, some
from gfvad.base.seals import file_hash, lines_hash
from gfvad.base.types import DataError
from gfvad.data import annotations
from gfvad.data.features.layouts import arrays
from gfvad.data.features.layouts.entries import SPLITS, Entry, Problem, find_files
from gfvad.data.text import RULES

if TYPE_CHECKING:
    from gfvad.data.features.layouts.base import Layout

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
OTHER_WORDS = re.compile(  # with 'test' or 'train' in them, which say nothing of a part
    "(la|fas|grea|con|pro|at|de|shor|smar|hot|ligh|brigh|quie|sof)test|testimony|testament"
    "|(re|con|di|)strain|terrain|overtrain"
)
ARRAYS = {".npz", ".pt", ".pth", ".h5", ".hdf5", ".mat", ".pkl", ".pickle", ".parquet", ".tfrecord"}
HELD_OUT = {"val", "valid", "validation", "eval", "evaluation", "dev", "heldout", "holdout"}
NUMBERED = re.compile(r"(test|train)(?:ing)?[ _.-]*\d+", re.IGNORECASE)  # UCSD's clips: Test001


def require_folder(root: Path) -> Path:
    """The folder; raises DataError where there is none or it is empty."""
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise DataError(
            f"{root}: found {found}; expected the folder of the features (config.data.root or"
            " --source)"
        )
    if not any(root.iterdir()):
        raise DataError(f"{root}: empty folder; expected features, see docs/data.md for the layout")
    return root


@functools.cache
def held_out(name: str) -> bool:
    """Whether a folder, or a list, is called that of a part which is neither for training nor
    for testing: val, eval."""
    return part_of_folder(name) is None and any(w.lower() in HELD_OUT for w in WORD.findall(name))


def part_of_list(path: Path) -> str:
    """'test' for a list (or CSV) that is called so, else 'train'. Raises DataError for one
    called val, or eval."""
    if held_out(path.stem):
        raise DataError(
            f"{path}: called neither for training nor for testing; expected lists of these two"
            " parts: put 'test' in its name if it is the test part, or move it away"
        )
    return "test" if part_of_folder(path.stem) == "test" else "train"


@functools.cache
def part_of_folder(folder: str) -> str | None:
    """'train' or 'test' where a word of a folder's (or list's) name says one of them: RGBTest,
    testing, UCF_Train_ten_crop; else None."""
    says = lambda word, part: re.search(rf"^{part}|{part}$|{part}ing|{part}set", word)
    words = [w.lower() for w in WORD.findall(folder) if not OTHER_WORDS.fullmatch(w.lower())]
    found = {part for word in words for part in SPLITS if says(word, part)}
    return found.pop() if len(found) == 1 else None


def part_of_name(name: str) -> str | None:
    """'train' or 'test' where a video is called so and numbered (Test001, train_12); else None."""
    match = NUMBERED.fullmatch(name)
    return match[1].lower() if match else None


def without_npy(file: str) -> str:
    """A file's name without '.npy', in any case."""
    return file[: -len(".npy")] if file.lower().endswith(".npy") else file


def folder_claims(paths: Iterable[Path], root: Path) -> dict[str, str]:
    """{"folder 'RGBTest'": 'test'}: what the folders of some files below root say of their part."""
    claims = {}
    for folder in dict.fromkeys(path.parent for path in paths):
        below = folder.relative_to(root).parts if folder.is_relative_to(root) else ()
        claims |= {f"folder {name!r}": part for name in below if (part := part_of_folder(name))}
        claims |= {
            f"folder {name!r} (not for training)": "test" for name in below if held_out(name)
        }
    return claims


def contradiction(part: str, decided: str, claims: Mapping[str, str]) -> str:
    """What is wrong where something says that a video is of the other part; '' where nothing
    does. claims: {what says it: part}."""
    against = " and ".join(f"{what} says {said}" for what, said in claims.items() if said != part)
    if not against:
        return ""
    return (
        f"for {part} by {decided}, but {against}; expected them to agree: correct the list (is it"
        " whole?), or move the files"
    )


def split_problems(
    layout: Layout, entries: Sequence[Entry], others: Sequence[Entry]
) -> list[Problem]:
    """Videos of a part that are among the others too, and those of which something says that
    they are of the other part."""
    problems = []
    elsewhere = {n: e for e in others for n in (e.name, annotations.with_v(e.name))}
    for entry in entries:
        if entry.name in elsewhere:
            both = (entry, elsewhere[entry.name])
            files = [
                next((str(p) for paths in e.files.values() for p in paths), e.name) for e in both
            ]
            if files[0] == files[1]:  # one file, in the lists of both
                files = [layout.decided(e) for e in both]
            detail = (
                f"in both parts ({' and '.join(files)}); expected each video in one: remove it from"
                " the other"
            )
            problems.append(Problem("split", True, entry.name, detail))
        elif wrong := contradiction(entry.split, layout.decided(entry), layout.claims(entry)):
            problems.append(Problem("split", True, entry.name, wrong))
    return problems


def suffix_problems(layout: Layout, entries: Sequence[Entry]) -> list[Problem]:
    """Files of arrays in formats that the layout does not read: features in them would be missed
    without a word."""
    read = {path for entry in entries for paths in entry.files.values() for path in paths}
    read |= {*layout.annotation_files()}
    return [
        Problem("foreign", False, str(path), f"{path.suffix} is not read; left out")
        for path in find_files(layout.root, "")
        if path.suffix.lower() in ARRAYS and path not in read
    ]


def table_problems(layout: Layout, entries: Sequence[Entry]) -> list[Problem]:
    """Names in tables and captions that no video of either part has; an error where none of a
    table fits."""
    tables = {path: (table, what, "unknown") for path, (table, what) in layout.tables().items()}
    if layout.text:
        tables[layout.text.path] = layout.text.captions, "captions", "text"
    videos = annotations.Videos()
    for entry in entries if tables else ():
        if entry.name not in videos:
            videos.add(entry.name, entry.name, entry)
    problems = []
    for path, (table, what, kind) in tables.items():
        try:
            note = matched(str(path), table, videos, what)
        except DataError as error:
            detail = str(error).removeprefix(f"{path}: ")
            problems.append(Problem(kind, True, str(path), detail))
        else:
            problems += [Problem(kind, False, path.name, note)] if note else []
    return problems


def passed_over(layout: Layout) -> list[str]:
    """A line for each kind of thing that was found and is left out, with its first names: for
    the start of a training."""
    found: dict[str, list[str]] = {}
    lines = []
    for split in SPLITS:
        entries, problems = layout.survey(split)
        for problem in (p for p in problems if not p.error):
            if problem.kind == "foreign":
                what = "files that belong to nothing are left out"
                found.setdefault(what, []).append(problem.where)
            elif problem.kind in ("unknown", "text", "split"):
                lines.append(f"{problem.where}: {problem.detail}")
        what = f"of {len(entries):,} {split} videos have no captions, their text is zeros"
        if silent := [e.name for e in entries if layout.text and layout.text.get(e.name) is None]:
            found[what] = silent
    return [*lines, *(f"{len(names):,} {what}: {some(names)}" for what, names in found.items())]


def fingerprint(layout: Layout) -> str:
    """Hash of everything a layout's videos depend on: choices, annotation files (content), feature
    files (name, size, time)."""
    cfg, files = layout.cfg, layout.annotation_files()
    lines = [layout.kind, layout.name, *layout.asked, str(layout.unit_frames)]
    if layout.text:
        files.append(layout.text.path)
        lines += [f"text rules {RULES}", cfg.text_encoder, cfg.text_assign, str(files[-1])]
    for path in files:
        lines.append(f"{path.name} {file_hash(path)}" if path.is_file() else str(path))
    stats: dict[Path, os.stat_result] = {}
    for split in SPLITS:
        for entry in layout.entries(split):
            lines.append(f"{split} {entry.name} {entry.row} {entry.label}")
            for path in (p for m in layout.on_disk for p in entry.files[m]):
                stats[path] = s = stats.get(path) or path.stat()
                lines.append(f"{path.name} {s.st_size} {s.st_mtime_ns}")
    return lines_hash(lines)


def usual_width(layout: Layout, modality: str) -> int:
    """Features of most of the first readable files: one broken or odd file does not decide
    for the others."""
    dims, broken = [], None
    for entry in (e for split in SPLITS for e in layout.survey(split)[0] if e.files.get(modality)):
        try:
            path, header = layout.headers(entry, modality)[0]
            arrays.check_header(path, header, layout.ndims.get(modality, (2, 3)))
            dims.append(header.shape[-1])
        except DataError as error:
            broken = broken or error
        if len(dims) == 9:
            break
    if not dims:
        raise broken or DataError(
            f"{layout.root}: no file of modality {modality!r}; "
            f"expected one a video, see docs/data.md for layout {layout.kind}"
        )
    return max(sorted(set(dims)), key=dims.count)
