"""Which files of a folder of features are this command's own: tables by their record, features
by the manifest's hashes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.errors import cannot_write
from gfvad.base.owned import Owned
from gfvad.base.types import DataError
from gfvad.data.features.layouts import arrays
from gfvad.data.features.layouts.generic import COUNTS, LABELS, SPANS, TIMES
from gfvad.data.frames.cache import say_on_stderr

MANIFEST, JOURNAL = "manifest.json", ".journal.jsonl"
ANNOTATIONS = "annotations.txt"  # of layout xd
# table -> its first line, where it has one
TABLES = {
    TIMES: "name,unit,start,end",
    LABELS: "name,label,split,class",
    SPANS: "name,start,end,class",
    COUNTS: "",
    ANNOTATIONS: "",
}


class OwnFeatures:
    """The files of `gfvad extract` in a folder.

    Features are told by the hashes that videos have in the manifest; one that is cut short was so
    by nobody's will and may be done again. Field files: the record of tables, and of what a call
    has begun.
    """

    def __init__(self, out: Path):
        self.out = out
        self.files = Owned(out, "features", "gfvad extract", self._is_ours)
        self._tables: list[str] = []
        self._pending: set[str] = set()
        self._listed: dict[str, str | None] = {}  # file -> SHA-256

    def begin(
        self,
        videos: Mapping[str, Mapping[str, Any]],
        tables: Sequence[str],
        features: Sequence[str],
    ) -> None:
        """Claims what a call will write; videos: records of the manifest. Raises DataError where
        a file is somebody else's."""
        self._tables, self._pending = list(tables), set(self.files.pending())
        self._listed = hashes_of(videos)
        self.files.forget(
            f
            for f in features
            if f in self._listed and (self.out / f).is_file() and cut(self.out / f)
        )
        self.files.begin([*tables, *features])

    def finish(self, videos: Mapping[str, Mapping[str, Any]]) -> None:
        """Takes down what there is now."""
        known = {
            f: [(self.out / f).stat().st_size, mark]
            for f, mark in hashes_of(videos).items()
            if mark and (self.out / f).is_file()
        }
        self.files.finish(self._tables, known)

    def remove(self, file: str, known: str | None) -> None:
        """Removes features that are no longer wanted; what somebody changed (known: its SHA-256)
        stays, and a line says so."""
        path = self.out / file
        try:
            if path.is_file() and not path.is_symlink() and known in (None, sha256(path)):
                path.unlink()
            elif os.path.lexists(path):
                say_on_stderr(
                    f"note: {path} was changed since gfvad extract wrote it: it stays,"
                    f" but is no longer in {self.out / MANIFEST}"
                )
        except OSError as error:
            raise cannot_write(path, error) from None

    def _is_ours(self, path: Path) -> bool:
        """Whether a file that the record does not name is of extraction."""
        file = path.relative_to(self.out).as_posix()
        begun = (self.out / MANIFEST).is_file() or (self.out / JOURNAL).is_file()
        if file in TABLES:
            with open(path, encoding="utf-8") as table:
                first = table.readline(4096)
            return first.startswith(TABLES[file]) if TABLES[file] else begun or not first
        if file in self._listed:
            return self._listed[file] is None or cut(path) or sha256(path) == self._listed[file]
        killed = file in self._pending or (
            (self.out / JOURNAL).is_file() and not self.files.record.is_file()
        )
        return killed and arrays.read_header(path).dtype == np.float32


def hashes_of(videos: Mapping[str, Mapping[str, Any]]) -> dict[str, str | None]:
    """{file: SHA-256, None where it is not known} of the features in records of the manifest."""
    return {
        file: record.get("hashes", {}).get(m)
        for record in videos.values()
        for m, file in record["files"].items()
    }


def sha256(path: Path) -> str:
    """Of a file's content. Raises OSError."""
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def is_whole(path: Path, units: int) -> bool:
    """Whether a file of features has all the rows that it should have."""
    try:
        header = arrays.read_header(path)
    except DataError:
        return False
    return header.found == header.expected and header.shape[:1] == (units,)


def cut(path: Path) -> bool:
    """Whether a file is the beginning of an array, or empty: what is left by a full disk or a
    copy that broke off."""
    with open(path, "rb") as file:
        magic = file.read(len(np.lib.format.MAGIC_PREFIX))
    if not np.lib.format.MAGIC_PREFIX.startswith(magic):
        return False
    try:
        header = arrays.read_header(path)
    except DataError:
        return True
    return header.found < header.expected
