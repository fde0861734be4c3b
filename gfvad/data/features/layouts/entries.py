"""One video of a split before anything is loaded, what can be wrong with a folder, and its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gfvad.base.names import some as some
from gfvad.base.types import DataError
from gfvad.data.truth_audit import MAX_GAP as MAX_GAP

SPLITS = ("train", "test")


class Entry(NamedTuple):
    """One video of a split, before anything is loaded."""

    name: str
    split: str  # 'train' | 'test'
    label: int  # 1 abnormal, 0 normal, -1 unknown
    classes: tuple[str, ...]
    # modality -> its files, one a crop where crops are files; () where it is known to be missing
    files: Mapping[str, tuple[Path, ...]]
    row: int = -1  # row of the arrays, where the file is a container of all videos


class Problem(NamedTuple):
    """Something wrong with a folder."""

    kind: str  # see audit.KINDS
    error: bool  # False: handled as docs/data.md says, and worth knowing
    where: str  # video or file
    detail: str


def find_files(root: Path, suffix: str = ".npy", below: bool = True) -> list[Path]:
    """Every file in a folder (and below) with this suffix in any case, sorted; what is hidden is
    left out. Raises DataError for a folder of that name."""
    found = []
    for folder, folders, files in os.walk(root):
        odd = [
            f
            for f in folders
            if f.lower().endswith(suffix or (".npy", ".npz")) and not f.startswith(".")
        ]
        if odd:
            raise DataError(
                f"{Path(folder, min(odd))}: a folder; expected a {Path(min(odd)).suffix} file"
                " there: copy it again, or rename the folder"
            )
        folders[:] = sorted(f for f in folders if below and not f.startswith("."))
        found += [
            Path(folder, f) for f in files if f.lower().endswith(suffix) and not f.startswith(".")
        ]
    return sorted(found)
