"""Files of a folder to videos: their crops, and what some modality or list has and another has
not."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gfvad.base.names import near
from gfvad.data import annotations
from gfvad.data.features.layouts.entries import Problem

HINTS = 10  # of the missing names, how many a name like them is looked for


def missing_names(
    expected: Iterable[str], have: Mapping[str, object], detail: str, known: Iterable[str] = ()
) -> list[Problem]:
    """An error for each expected video that is not among `have`, with a name like it (of
    `known`, where that is more than `have`)."""
    known = [*have, *known]
    lost = [name for name in sorted(expected) if annotations.find_name(have, name) is None]
    return [
        Problem("missing", True, name, detail + (near(name, known) if i < HINTS else ""))
        for i, name in enumerate(lost)
    ]


def missing_files(
    split: str, tables: Mapping[str, Mapping[str, Sequence[Path]]], optional: Sequence[str] = ()
) -> list[Problem]:
    """Videos that some modality has and another has not. tables: modality -> {video: files};
    optional modalities may lack some."""
    problems = []
    every = set().union(*tables.values()) if tables else set()
    for modality, table in tables.items():
        for name in sorted(every - set(table)):
            others = [m for m in tables if name in tables[m]]
            kind = "missing" if modality in optional else "pairing"
            detail = f"no {modality} file for its {' and '.join(others)}"
            detail = f"{detail}; expected all or none ({split})"
            problems.append(Problem(kind, modality not in optional, name, detail))
    return problems


def group_crops(
    files: Iterable[tuple[str, int, Path]],
) -> tuple[dict[str, tuple[Path, ...]], list[Problem]]:
    """(video, crop, file) -> {video: files in the order of crops}, and crops that are missing or
    doubled in some video.

    The full set of crops is the one most videos have.
    """
    table: dict[str, dict[int, Path]] = {}
    problems = []
    for name, crop, path in files:
        if crop in table.setdefault(name, {}):
            detail = f"{path} and {table[name][crop]} are both crop {crop}; remove one"
            problems.append(Problem("duplicated", True, name, detail))
        table[name][crop] = path
    sets = collections.Counter(tuple(sorted(crops)) for crops in table.values())
    usual = max(sets, key=lambda crops: (sets[crops], crops), default=())
    for name, crops in table.items():
        if tuple(sorted(crops)) != usual:
            detail = (
                f"crops {sorted(crops)}; expected {list(usual)} as most videos have, copy or"
                " extract them again"
            )
            problems.append(Problem("missing", True, name, detail))
    return {name: tuple(crops[c] for c in sorted(crops)) for name, crops in table.items()}, problems
