"""One video of a split before anything is loaded, what can be wrong with a folder, and what a
published set says."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gfvad.base.types import DataError
from gfvad.data.ground_truth import EMPTY, SNIPPET, Truth
from gfvad.data.truth_audit import Stated

SPLITS = ("train", "test")
Label = tuple[int, tuple[str, ...]]  # (1 abnormal or 0 normal, classes)


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


class Rules:
    """What the names and annotation files of a published set say, apart from where its features
    lie: label, split, ground truth of frames. By itself it is of no set, and says nothing."""

    dataset: str
    pattern: re.Pattern[str]  # of its videos' names
    fps = 0.0
    files: Sequence[Path] = ()  # annotation files
    path: Path  # the first of them
    ground_truth: str  # which one, in words
    split_rule = ""  # what decides the parts, in words; '' where names do not say

    def label(self, name: str) -> Label | None:
        """(label, classes) of a video; None for a name that is none of the set."""
        return None

    def split(self, name: str) -> str | None:
        """'train' or 'test'; None where names do not say."""
        return None

    def decided(self, name: str) -> str:
        """What decided the part of a video; '' where names do not say."""
        return self.split_rule

    def claims(self, name: str) -> dict[str, str]:
        """What files and name say of a video's part: {what says it: part}."""
        return {}

    def tables(self) -> Mapping[Path, tuple[Mapping, str]]:
        """Tables whose rows may be of videos that are not there."""
        return {}

    def lacks(self, train: int) -> str:
        """Why the number of training videos cannot be, or ''."""
        return ""

    def test_names(self) -> Collection[str]:
        """Test videos that must exist."""
        return ()

    def covers(self, name: str) -> str:
        """Why a test video has no ground truth, or ''."""
        return ""

    def uncovered(self, names: Iterable[str]) -> list[Problem]:
        """An error for each test video without ground truth."""
        return [Problem("annotation", True, n, why) for n in names if (why := self.covers(n))]

    def stated(self, name: str) -> Stated:
        """What the annotation says of a test video's length and spans."""
        return Stated()

    def truth(self, name: str, units: int) -> Truth:
        """Ground truth of a test video of N units."""
        return Truth(units * SNIPPET, EMPTY, ())
