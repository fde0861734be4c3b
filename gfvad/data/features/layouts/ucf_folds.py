"""The training videos of UCF-Crime (layout ucf_logits) as folds for cross-validation: those with a
frame ground truth are tested once each, by a model of the others.

i3d_logits_train.npz   x [V, 40, 400] float16, name [V]; videos of the test part are not looked at
captions.json          timed sentences, and how long a video is
train_spans.csv        name,first_frame,last_frame: 0-based, inclusive, of abnormal videos

A normal video has a ground truth, and an abnormal one where its spans and its length are known; the
others are for training in every fold but that of their near-duplicates (layouts/folds.py). A model
never sees a span: training videos have their video label only.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from gfvad.base.files import read_table
from gfvad.base.names import Names, canonical
from gfvad.base.types import DataError
from gfvad.data import annotations
from gfvad.data.captions import captions_path, read_captions
from gfvad.data.features.layouts import arrays, folds
from gfvad.data.features.layouts.entries import Entry, Label, Problem
from gfvad.data.features.layouts.rules import NO_CLASS
from gfvad.data.features.layouts.ucf_logits import FILES, UcfLogits
from gfvad.data.ground_truth import EMPTY, Truth
from gfvad.data.truth_audit import Stated

SPANS = "train_spans.csv"


class UcfFolds(UcfLogits):
    """Modalities i3d_logits and text, of the training file alone."""

    kind = "ucf_folds"
    ground_truth = f"{SPANS} (abnormal training videos; normal ones have none)"

    def open(self) -> None:
        super(UcfLogits, self).open()
        fold, count = folds.tested_of(self.cfg)
        self.split_rule = f"fold {fold} of {count} of {FILES['train']}"
        npz = arrays.Npz(self.root / FILES["train"])
        header = npz.require("x", 3)
        # one file serves both parts
        self._npz = dict.fromkeys(FILES, npz)
        self._all = [canonical(name) for name in npz.names()]
        if header.shape[0] != len(self._all) or not arrays.is_float(header.dtype):
            raise DataError(
                f"{npz.path}:x: shape {header.shape} of {header.dtype} for {len(self._all)} names;"
                " expected floats [names, units, features]"
            )
        path = captions_path(self.cfg, self.root)
        if path is None:
            raise DataError(
                f"{self.root}: no captions.json; expected timed sentences with the duration of each"
                " video: without it the spans have no place in the features"
            )
        self._captions = read_captions(path)
        self._spans = read_spans(self.root / SPANS)

    def claims(self, entry: Entry) -> dict[str, str]:
        """Nothing: all are of the official training part, which the folds cut anew."""
        return {}

    def decided(self, entry: Entry) -> str:
        return self.split_rule

    def tables(self):
        return {self.root / SPANS: (self._spans, "spans")}

    def annotation_files(self) -> list[Path]:
        return [self.root / SPANS]

    @cached_property
    def fold_of(self) -> dict[str, int]:
        """Video -> its fold, of every video of the training file."""
        # [V, D]
        means = np.asarray(self._npz["train"].array("x"), np.float32).mean(1)
        captions = [self._captions.get(name) for name in self._all]
        told = [own.sentences if own else () for own in captions]
        strata = ["+".join(self._label(name)[1]) for name in self._all]
        groups = folds.near_duplicates(means, told)
        found = folds.deal(self._all, strata, groups, int(self.cfg.folds))
        self._alone = np.bincount(groups)[groups] == 1
        return dict(zip(self._all, found.tolist()))

    def _label(self, name: str) -> Label:
        return annotations.ucf_class(name) or (0, ())

    def known(self, name: str) -> bool:
        """Whether the frames of a video have a ground truth."""
        if not self._label(name)[0]:
            return True
        return name in self._spans and self._captions.get(name) is not None

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        entries, problems = [], []
        tested, path = int(self.cfg.fold), self._npz["train"].path
        for row, name in enumerate(self._all):
            label = annotations.ucf_class(name)
            if label is None:
                problems.append(Problem("name", True, name, NO_CLASS))
                continue
            own, known = self.fold_of[name] == tested, self.known(name)
            if own and known:
                part = "test"
            elif own and not self._alone[row]:
                continue  # like a tested one, and without a ground truth
            else:
                part = "train"
            if part == split:
                entries.append(
                    Entry(name, split, *label, dict.fromkeys(self.on_disk, (path,)), row)
                )
        return entries, problems

    def stated(self, entry: Entry) -> Stated:
        return Stated(spans_source=f"{self.root / SPANS}:{entry.name}")

    def truth(self, entry: Entry, units: int) -> Truth:
        frames = self.train_frames(entry, units)
        if not entry.label:
            return Truth(frames, EMPTY, ())
        # two of the set's spans end a frame after the video as its captions have it
        spans = np.minimum(self._spans[entry.name], frames)
        return Truth(frames, spans, entry.classes * len(spans))


def read_spans(path: Path) -> Names:
    """{video: int64 [S, 2] half-open frames in time order} of train_spans.csv; spans that touch or
    overlap are joined. Raises DataError by line."""
    found: dict[str, list[tuple[int, int]]] = {}
    for where, row in read_table(path, ("name", "first_frame", "last_frame")):
        ends = row["first_frame"], row["last_frame"]
        if not all(end.isdigit() for end in ends) or int(ends[0]) > int(ends[1]):
            raise DataError(
                f"{where}: frames {ends[0]!r} to {ends[1]!r} of {row['name']}; expected"
                " whole numbers, the first no larger than the last"
            )
        found.setdefault(row["name"], []).append((int(ends[0]), int(ends[1]) + 1))
    table = Names(path.name)
    for name, spans in found.items():
        joined: list[list[int]] = []
        for start, end in sorted(spans):
            if joined and start <= joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], end)
            else:
                joined.append([start, end])
        table.add(str(path), name, np.array(joined, np.int64))
    return table
