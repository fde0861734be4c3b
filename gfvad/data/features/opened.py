"""One split of prepared records, opened: its videos, its index, and what is damaged in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.errors import LIBRARY_ERRORS
from gfvad.base.seals import lines_hash
from gfvad.base.types import DataError, Video
from gfvad.data import prepared_folder as manifest_lib

DIGEST = "sha256"  # column of the index: of each video's features
# columns of the index that say what is learnt
TRUTH = ("label", "classes", "num_frames", "unit_frames", "fps", "spans", "span_classes")


class Records(Sequence):
    """One split: [i] -> Video with read-only features in the precision of the source. Safe to read
    from several threads.

    names, labels [V], lengths [V] (units), crops {m: [V]}, dims {m: D} and meta(i) come from the
    index; nothing is decoded for them.
    content: part -> digest of what the split consists of; skipped: the videos that were left out as
    damaged, and why. A video is compared with its checksum the first time it is read; DataError
    where it differs.
    """

    def __init__(
        self, folder: Path, split: str, manifest: dict, modalities: tuple[str, ...], shards: Any
    ):
        """shards: [row] -> example, with len() and place(row) -> (name of the shard, place in
        it)."""
        self.folder, self.split, self.modalities = folder, split, modalities
        self.dataset: str = manifest["dataset"]
        self.dims = {m: manifest["modalities"][m] for m in modalities}
        self.skipped: dict[str, str] = {}
        self._shards = shards
        try:
            self._itemsize = {m: np.dtype(manifest["dtypes"][m]).itemsize for m in modalities}
            self._index = manifest_lib.read_index(folder)[split]
            # video -> its record among all shards of the split
            self._rows = np.arange(len(self._index["name"]))
            self._checked = np.zeros(len(self._rows), bool)
            self._fill()
            # of an earlier version: no checksum has told damage
            if manifest_lib.SEAL not in manifest:
                for i in range(len(self)):
                    self.meta(i)
        except LIBRARY_ERRORS as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
            raise DataError(
                f"{folder}: {manifest_lib.MANIFEST} or {manifest_lib.INDEX} is damaged ({reason});"
                f" {manifest_lib.REDO}"
            ) from None
        if len(self._shards) != len(self._rows):
            raise DataError(
                f"{folder}/{split}: {len(self._shards)} records, the index says {len(self._rows)};"
                f" {manifest_lib.REDO}"
            )

    def _fill(self) -> None:
        chosen = self._rows.tolist()
        self.names = tuple(self._index["name"][i] for i in chosen)
        self.labels = np.array(self._index["label"], np.int64)[chosen]
        self.lengths = np.array(self._index["length"], np.int64)[chosen]
        crops = self._index["crops"]
        self.crops = {m: np.array(crops[m], np.int64)[chosen] for m in self.modalities}
        self.content: dict[str, str] = {}
        if digests := self._index.get(DIGEST):  # absent in sets of earlier versions
            for m in self.modalities:
                self.content[m] = lines_hash([digests[m][i] for i in chosen])[:16]
            truth = [json.dumps([self._index[key][i] for key in TRUTH]) for i in chosen]
            self.content["labels and spans"] = lines_hash(truth)[:16]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i) -> Video:
        i = range(len(self))[i]  # IndexError past the end; negative ones count from it
        video, row = self.meta(i), int(self._rows[i])
        try:
            example = self._shards[row]
            name = example["name"].decode("utf-8")
            features = {m: example["features"][m] for m in self.modalities}
            digests = {} if self._checked[row] else self._index.get(DIGEST, {})
            differs = lambda m: m in features and feature_digest(features[m]) != digests[m][row]
            wrong = [m for m in digests if differs(m)]
        except LIBRARY_ERRORS as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
            raise DataError(self._damaged(row, f"cannot be read ({reason})")) from None
        if name != video.name:
            raise DataError(self._damaged(row, f"is {name!r} (the files belong to different sets)"))
        if wrong:
            raise DataError(self._damaged(row, f"{', '.join(wrong)} differs from its checksum"))
        self._checked[row] = True
        return video._replace(features=features)

    def _damaged(self, row: int, found: str) -> str:
        shard, place = self._shards.place(row)
        return (
            f"{self.folder}, shard {shard}, record {place} (video {self._index['name'][row]!r},"
            f" index {row} of {self.split}): damaged: {found}; {manifest_lib.REDO}, or leave such"
            " videos out by --config.data.on_corrupt=skip"
        )

    def of_shard(self, shard: str) -> list[int]:
        """The videos that lie in a shard."""
        rows = enumerate(self._rows.tolist())
        return [i for i, row in rows if self._shards.place(row)[0] == shard]

    def leave_out_damaged(self) -> None:
        """Reads every video; those that are damaged are left out from now on. Raises DataError
        where none is whole."""
        whole = []
        for i in range(len(self)):
            try:
                self[i]
                whole.append(i)
            except DataError as error:
                why = str(error).split(": damaged: ")[-1].split(f"; {manifest_lib.REDO}")[0]
                self.skipped[self.names[i]] = why
        if not whole:
            raise DataError(
                f"{self.folder}/{self.split}: none of {len(self)} videos can be read"
                f" ({next(iter(self.skipped.values()))}); {manifest_lib.REDO}"
            )
        self._rows = self._rows[whole]
        self._fill()

    def meta(self, i) -> Video:
        """Everything of a video but its features ({}), without reading the shards."""
        index, other = int(self._rows[i]), ("length", "crops", DIGEST)
        row = {key: column[index] for key, column in self._index.items() if key not in other}
        spans = np.array(row["spans"], np.int64).reshape(-1, 2)
        classes = {key: tuple(row[key]) for key in ("classes", "span_classes")}
        return Video(**{**row, **classes, "spans": spans}, split=self.split, features={})

    def nbytes(self, indices: Sequence[int] | np.ndarray | None = None) -> int:
        """Bytes of the decoded features of some videos (None: all)."""
        chosen = np.arange(len(self)) if indices is None else np.asarray(indices, np.int64)
        count = lambda m: int((self.lengths[chosen] * self.crops[m][chosen]).sum())
        return sum(count(m) * self.dims[m] * self._itemsize[m] for m in self.modalities)

    def __repr__(self) -> str:
        return (
            f"Records({self.dataset!r}, {self.split!r}, {len(self)} videos,"
            f" {lines_hash(self.names)[:12]}, {self.modalities})"
        )


def feature_digest(x: np.ndarray) -> str:
    """SHA-256 of one video's features, type and shape included."""
    found = hashlib.sha256(f"{x.dtype.name}{list(x.shape)}".encode())
    found.update(np.ascontiguousarray(x).data)
    return found.hexdigest()
