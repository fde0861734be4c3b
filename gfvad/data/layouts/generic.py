"""A set of one's own, in the files of `loose.py`, with its labels.

parts     folders train/ and test/, or files train*.npz and test*.npz, or a column (array) `split`
labels    labels.csv `name,label[,split][,class]` (0 normal, 1 abnormal; classes joined by ';'), or the arrays label and split in an .npz
frames    spans.csv `name,start,end[,class]`, abnormal frames of the test part from 0, end excluded, a line a span; every unit is 16 frames;
          frame_counts.txt `name@frames` where T is not 16 a unit; units.csv `name,unit,start,end`, seconds of every unit (of `gfvad.extract`): frame rates
"""
from __future__ import annotations

from pathlib import Path

import numpy as np

from gfvad.data import annotations
from gfvad.data.ground_truth import EMPTY, SNIPPET, Truth
from gfvad.data.layouts.base import SPLITS, Entry, Problem
from gfvad.data.layouts.loose import Found, Loose
from gfvad.data.truth_audit import Stated
from gfvad.types import DataError

LABELS, SPANS, COUNTS, TIMES = "labels.csv", "spans.csv", "frame_counts.txt", "units.csv"


class Generic(Loose):
    """Any modality names; text from captions, or from a modality's files."""

    kind = "generic"
    ground_truth = f"{SPANS}, 16 frames a feature row"

    def open(self) -> None:
        super().open()
        spans, counts = self.folder / SPANS, self.folder / COUNTS
        self.spans = annotations.parse_spans_csv(spans) if spans.is_file() else {}
        self.counts = annotations.parse_frame_counts(counts) if counts.is_file() else {}
        self.rates, self.timed = self._read_rates(self.folder / TIMES) if (self.folder / TIMES).is_file() else ({}, {})
        self.rows = self._read_labels(self.folder / LABELS) if (self.folder / LABELS).is_file() else {}
        if self.counts:
            self.ground_truth = f"{SPANS}, lengths of {COUNTS}"

    def annotation_files(self) -> list[Path]:
        return [p for p in (self.folder / f for f in (LABELS, SPANS, COUNTS, TIMES)) if p.is_file()]

    @staticmethod
    def _read_rates(path: Path) -> tuple[dict[str, float], dict[str, int]]:
        """({name: mean frames a second}, {name: lines}), from the seconds of a video's first whole unit to the end of its last one."""
        ends: dict[str, tuple[float, float, int]] = {}
        for where, row in annotations.read_csv(path, ("name", "unit", "start", "end")):
            try:
                start, end = float(row["start"]), float(row["end"])
            except ValueError:
                raise DataError(f"{where}: {row['start']!r} to {row['end']!r}; expected seconds: extract the videos again") from None
            first, last, units = ends.get(row["name"], (start, end, 0))
            ends[row["name"]] = (first, start if units else end, units + 1)  # the last unit may hold fewer than 16 frames: up to its start
        rates = {name: SNIPPET * max(units - 1, 1) / (last - first) for name, (first, last, units) in ends.items() if last > first}
        return rates, {name: units for name, (_, _, units) in ends.items()}

    def rate(self, entry: Entry) -> float:
        return self.rates.get(entry.name, self.fps)

    @staticmethod
    def _read_labels(path: Path) -> dict[str, tuple[int, str, tuple[str, ...]]]:
        """{name: (label, split, classes)}."""
        table: dict[str, tuple[int, str, tuple[str, ...]]] = {}
        for where, row in annotations.read_csv(path, ("name", "label"), ("split", "class")):
            if row["label"] not in ("0", "1") or row["split"] not in ("", *SPLITS) or row["name"] in table:
                raise DataError(
                    f"{where}: {row['name']!r}, label {row['label']!r}, split {row['split']!r}; "
                    "expected each name once, 0 or 1, train or test"
                )
            classes = tuple(c.strip() for c in row["class"].split(";") if c.strip())
            table[annotations.strip_mp4(row["name"])] = int(row["label"]), row["split"], classes
        return table

    def _sources(self) -> dict[str, list[Path]]:
        """Part -> its folder or files; '' where the part is written in labels or arrays."""
        if self.root.is_file():
            return {"": [self.root]}
        named = {s: [p for p in sorted(self.root.glob(f"{s}*")) if p.suffix == ".npz" or (p.is_dir() and p.name == s)] for s in SPLITS}
        if any(named.values()):
            return {split: paths for split, paths in named.items() if paths}
        return {"": sorted(self.root.glob("*.npz")) or [self.root]}

    def _of_npz(self, found: Found, key: str):
        """A video's entry of an array of its container; None where there is none."""
        path = next((files[0] for files in found.files.values()), None) if found.row >= 0 else None
        npz = self.container(path) if path else None
        return npz.array(key)[found.row] if npz and key in npz.headers and npz.require(key, 1) else None

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        entries, problems, seen = [], [], {}
        for part, paths in self._sources().items():
            for path in paths:
                videos, wrong = self.gather(path)
                problems += wrong if part in (split, "") else []
                for name, found in videos.items():
                    label, own, classes = self.rows.get(name, (None, "", ()))
                    label = self._of_npz(found, "label") if label is None else label
                    own = part or own or str(self._of_npz(found, "split") or "")
                    if seen.setdefault(name, own) != own or own not in SPLITS:
                        detail = f"part {own or 'unknown'!r} and {seen[name]!r}" if own in SPLITS else f"part {own!r}"
                        problems.append(Problem("split", True, name, f"{detail}; expected train or test, by folder, {LABELS} or array"))
                    elif own == split:
                        entries.append(Entry(name, split, -1 if label is None else int(label), classes, found.files, found.row))
        known = {e.name for e in entries}
        lost = [name for name, row in self.rows.items() if row[1] == split and name not in known]
        problems += [Problem("missing", True, name, f"in {LABELS} but without features") for name in lost]
        return entries, problems + [p for e in entries for p in self._label_problems(e)]

    def _label_problems(self, entry: Entry) -> list[Problem]:
        if entry.label not in (0, 1):
            return [Problem("annotation", True, entry.name, f"label {entry.label}; expected 0 or 1 in {LABELS} or the array label")]
        if entry.split == "test" and bool(entry.label) != (entry.name in self.spans):
            return [Problem("annotation", True, entry.name, f"label {entry.label} and {'no' if entry.label else 'a'} span in {SPANS}")]
        if self.counts and entry.split == "test" and entry.name not in self.counts:
            return [Problem("annotation", True, entry.name, f"no line in {COUNTS}")]
        return []

    def stated(self, entry: Entry) -> Stated:
        spans = np.array([span[:2] for span in self.spans.get(entry.name, [])], np.int64).reshape(-1, 2)
        files = {"frames_source": COUNTS, "spans_source": SPANS, "rows_source": TIMES}
        return Stated(self.counts.get(entry.name), spans, rows=self.timed.get(entry.name), **{key: str(self.folder / f) for key, f in files.items()})

    def truth(self, entry: Entry, units: int) -> Truth:
        frames = self.counts.get(entry.name, units * SNIPPET)
        spans = self.spans.get(entry.name, [])
        if any(end > frames + SNIPPET for _, end, _ in spans):
            last = max(end for _, end, _ in spans)
            raise DataError(f"{self.folder / SPANS}: {entry.name} has a span to frame {last} of {frames}; expected spans "
                            f"inside the video ({units} rows of 16 frames, or {COUNTS})")  # fmt: skip
        kept = [(start, min(end, frames), cls) for start, end, cls in spans if start < frames]
        return Truth(frames, np.array([k[:2] for k in kept], np.int64).reshape(-1, 2) if kept else EMPTY, tuple(k[2] for k in kept))
