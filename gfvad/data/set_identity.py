"""What a set is that is to be prepared: its videos, its modalities, and a hash that changes with
its files."""

from __future__ import annotations

import collections
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gfvad.base.seals import lines_hash
from gfvad.base.types import DataError

FORMAT = 1  # of the folder; raise it when its content changes meaning
SPLITS = ("train", "test")
NAME = re.compile(r"[A-Za-z0-9_.-]+")


def identity_of(layout) -> dict:
    """The identity of the set a layout gives: the IDENTITY keys of its manifest. Reads no features.

    Raises DataError where there is no video, two videos of a split share a name, or a modality's
    name is unusable.
    """
    bad = [m for m in layout.modalities if not NAME.fullmatch(m)]
    if bad or not layout.modalities:
        found = list(layout.modalities)
        raise DataError(
            f"{layout.name}: modalities {found}; expected at least one, each named by letters,"
            " digits, '_', '-' or '.'"
        )
    entries = {split: list(layout.entries(split)) for split in SPLITS}
    if not any(entries.values()):
        raise DataError(
            f"{layout.name}: no videos in {' or '.join(SPLITS)}; check config.data.root and the"
            " layout's file names"
        )
    splits = {}
    for split, videos in entries.items():
        names = [entry.name for entry in videos]
        twice = sorted(n for n, count in collections.Counter(names).items() if count > 1)
        if twice:
            found = f"{len(twice)} names stand for more than one video, e.g. {twice[0]!r}"
            raise DataError(f"{layout.name}/{split}: {found}; rename or remove all but one of each")
        if videos:
            splits[split] = {"videos": len(videos), "names_sha256": lines_hash(names)}
    return {
        "format": FORMAT,
        "dataset": layout.name,
        "modalities": {m: int(d) for m, d in layout.modalities.items()},
        "splits": splits,
        "source": fingerprint(layout, entries),
    }


def fingerprint(layout, entries: Mapping[str, Sequence]) -> str:
    """Hash that changes with the source: the layout's own where it gives one, else names, sizes
    and times of the entries' files."""
    if hasattr(layout, "fingerprint"):
        return str(layout.fingerprint())
    lines = []
    for split, videos in entries.items():
        for entry in videos:
            lines.append(f"{split} {entry.name}")
            for path in sorted(_paths(getattr(entry, "files", ()))):
                s = path.stat()
                lines.append(f"{path.name} {s.st_size} {s.st_mtime_ns}")
    return lines_hash(lines)


def source_bytes(entries: Mapping[str, Sequence]) -> int:
    """Size of the files of all splits; 0 where the entries name none. A file of many videos
    counts once."""
    found = [getattr(entry, "files", ()) for videos in entries.values() for entry in videos]
    return sum(path.stat().st_size for path in set(_paths(found)))


def _paths(files) -> Iterator[Path]:
    """Every path in any nesting of mappings and sequences."""
    if isinstance(files, (str, os.PathLike)):
        yield Path(files)
    else:
        for part in files.values() if isinstance(files, Mapping) else files:
            yield from _paths(part)
