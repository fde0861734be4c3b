"""A set of one's own, in the files of `feature_files.py`, with its labels.

parts     folders train/ and test/, or files train*.npz and test*.npz, or a column (array) `split`;
          what contradicts is an error
labels    labels.csv `name,label[,split][,class][,source]` (0 normal, 1 abnormal; classes joined by
          ';'; source: the scene or camera, see data/features/sources.py), or the arrays label and
          split in an .npz
frames    spans.csv `name,start,end[,class]`, abnormal frames of the test part from 0, end excluded,
          a line a span; every unit is 16 frames; frame_counts.txt `name@frames` where T is not 16 a
          unit; units.csv `name,unit,start,end`, seconds of every unit (of `gfvad extract`): frame
          rates
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gfvad.base.files import present, read_table
from gfvad.base.names import Names, near
from gfvad.base.types import DataError
from gfvad.data import annotations
from gfvad.data.features.layouts.entries import SPLITS, Entry, Problem, find_files
from gfvad.data.features.layouts.feature_files import Found, Loose, extracted, place_of
from gfvad.data.features.layouts.grouping import HINTS
from gfvad.data.features.layouts.parts import part_of_name
from gfvad.data.ground_truth import SNIPPET, Truth
from gfvad.data.truth_audit import Stated

LABELS, SPANS, COUNTS, TIMES = "labels.csv", "spans.csv", "frame_counts.txt", "units.csv"


class Generic(Loose):
    """Any modality names; text from captions, or from a modality's files."""

    kind = "generic"
    ground_truth = f"{SPANS}, 16 frames a feature row"

    def open(self) -> None:
        super().open()
        self._said: dict[str, dict[str, str]] = {}  # video -> {what says of which part it is: part}
        table = lambda file, what, parse: (
            parse(self.folder / file) if present(self.folder / file, what) else Names(file)
        )
        self.spans = table(SPANS, "spans", annotations.parse_spans_csv)
        self.counts = table(COUNTS, "lengths", annotations.parse_frame_counts)
        self.rates, self.timed = self._rates(
            table(TIMES, "seconds of units", annotations.parse_units)
        )
        self.rows = table(LABELS, "labels", self._read_labels)
        if self.counts:
            self.ground_truth = f"{SPANS}, lengths of {COUNTS}"

    def annotation_files(self) -> list[Path]:
        return [p for p in (self.folder / f for f in (LABELS, SPANS, COUNTS, TIMES)) if p.is_file()]

    @staticmethod
    def _rates(units: Names) -> tuple[Names, Names]:
        """({name: mean frames a second, 0.0 where unknown}, {name: lines}), from the start of a
        video's first unit to the end of its last whole one."""
        rates, lines = Names(TIMES), Names(TIMES)
        # the last unit may hold fewer than 16 frames: up to its start
        for name, times in units.items():
            first, last = times[0][0], times[-1][0] if len(times) > 1 else times[0][1]
            whole = SNIPPET * max(len(times) - 1, 1)
            rate = whole / (last - first) if last > first else 0.0
            rates.add(TIMES, units.spelt(name), rate)
            lines.add(TIMES, units.spelt(name), len(times))
        return rates, lines

    def rate(self, entry: Entry) -> float:
        return self.rates.get(entry.name) or self.fps

    @staticmethod
    def _read_labels(path: Path) -> Names:
        """{name: (label, split, classes)}."""
        table = Names(path.name)
        for where, row in read_table(path, ("name", "label"), ("split", "class", "source")):
            if row["label"] not in ("0", "1") or row["split"] not in ("", *SPLITS):
                raise DataError(
                    f"{where}: {row['name']!r}, label {row['label']!r}, split {row['split']!r}; "
                    "expected each name once, 0 or 1, train or test"
                )
            classes = tuple(c.strip() for c in row["class"].split(";") if c.strip())
            table.add(where, row["name"], (int(row["label"]), row["split"], classes))
        return table

    def sources(self) -> Names:
        """{video: its source} of the column of that name."""
        path, found = self.folder / LABELS, Names(LABELS)
        columns = ("name", "label"), ("split", "class", "source")
        for where, row in read_table(path, *columns) if self.rows else ():
            found.add(where, row["name"], row["source"])
        return found

    def tables(self):
        without = Names(LABELS)  # of rows with a split a video that is not there is an error
        for name in (name for name, row in self.rows.items() if not row[1]):
            without.add(LABELS, self.rows.spelt(name), self.rows[name])
        tables = (without, "rows"), (self.spans, "names"), (self.counts, "frame counts")
        files = zip((LABELS, SPANS, COUNTS, TIMES), (*tables, (self.rates, "names")))
        return {self.folder / file: found for file, found in files if found[0]}

    def claims(self, entry: Entry) -> dict[str, str]:
        said = self._said.get(entry.name, {})
        called = part_of_name(entry.name) == "test" and not self._written(said)
        named = {"its name": "test"} if called else {}
        return {**super().claims(entry), **said, **named, **self._elsewhere.get(entry.name, {})}

    @functools.cached_property
    def _elsewhere(self) -> dict[str, dict[str, str]]:
        """{video: {what says of which part it is: part}} by files of modalities that are not
        asked for, in the folders of parts."""
        found: dict[str, dict[str, str]] = {}
        for part, folder in ((p, path) for p, paths in self._sources().items() for path in paths):
            if part and folder.is_dir() and not extracted(folder):
                for path in find_files(folder):
                    name = place_of(path, folder, (), ())[1]
                    found.setdefault(name, {})[f"folder {folder.name!r}"] = part
        return {name: said for name, said in found.items() if len(said) > 1}

    @property
    def split_rule(self) -> str:
        """What decided the parts (read from file names and tables): folders or files, the column
        split, the array split."""
        deciders, agreeing = dict[str, None](), dict[str, None]()
        for entry in (e for split in SPLITS for e in self.entries(split)):
            first, *others = self._said[entry.name]
            deciders[first.removeprefix("its ")] = None
            agreeing |= dict.fromkeys(other.removeprefix("its ") for other in others)
        more = f", as {' and '.join(agreeing)} says" if agreeing else ""
        words = " and ".join(deciders).replace("row in", "the column split of")
        return words.replace("array split", "the array split") + more.replace("row in ", "")

    @staticmethod
    def _written(said: Mapping[str, str]) -> bool:
        """Whether a row or an array says of which part a video is: that is stronger than how it
        is called."""
        return any(what.startswith("its ") for what in said)

    def decided(self, entry: Entry) -> str:
        return next(iter(self._said[entry.name]))

    def _sources(self) -> dict[str, list[Path]]:
        """Part -> its folder or files; '' where the part is written in labels or arrays."""
        if self.root.is_file():
            return {"": [self.root]}
        named: dict[str, list[Path]] = {}
        for split in SPLITS:
            for path in sorted(self.root.glob(f"{split}*")):
                if path.suffix.lower() == ".npz" or (path.is_dir() and path.name == split):
                    named.setdefault(split, []).append(path)
        return named or {"": find_files(self.root, ".npz", below=False) or [self.root]}

    def _of_npz(self, found: Found, key: str):
        """A video's entry of an array of its container; None where there is none."""
        if found.row < 0:
            return None
        npz = self.container(next(iter(found.files.values()))[0])
        held = key in npz.headers and npz.require(key, 1)
        return npz.array(key)[found.row] if held else None

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        entries, problems, seen, everywhere = [], [], {}, {}
        for part, paths in self._sources().items():
            for path in paths:
                videos, wrong = self.gather(path)
                problems += wrong if part in (split, "") else []
                for name, found in videos.items():
                    label, own, classes = self.rows.get(name, (None, "", ()))
                    label = self._of_npz(found, "label") if label is None else label
                    said = {
                        f"{'folder' if path.is_dir() else 'file'} {path.name!r}": part,
                        f"its row in {LABELS}": own,
                        "its array split": str(self._of_npz(found, "split") or ""),
                    }
                    said = {what: value for what, value in said.items() if value}
                    own = next(iter(said.values()), "")
                    if own not in SPLITS:
                        detail = (
                            f"part {own!r}; expected train or test, by folder, {LABELS} or array"
                        )
                        problems.append(Problem("split", True, name, detail))
                    elif own == split and name in seen:
                        detail = f"in {seen[name]} and {path}; expected it once: remove one"
                        problems.append(Problem("duplicated", True, name, detail))
                    elif own == split:
                        self._said[name] = {**self._said.get(name, {}), **said}
                        seen[name] = path
                        label = -1 if label is None else int(label)
                        entries.append(Entry(name, split, label, classes, *found))
                        called = split == "train" and part_of_name(name) == "test"
                        if called and self._written(said):
                            detail = f"called so, but for training by {next(iter(said))}"
                            problems.append(Problem("split", False, name, detail))
                    everywhere.setdefault(name, path)
        lost = [name for name, row in self.rows.items() if row[1] == split and name not in seen]
        free = [name for name in everywhere if name not in self.rows]
        for i, name in enumerate(lost):
            detail = f"without features{near(name, free) if i < HINTS else ''}"
            if name in everywhere:
                detail = f"its features are in {everywhere[name]}"
            detail = f"for {split} by its row in {LABELS}, but {detail}"
            problems.append(Problem("missing", True, self.rows.spelt(name), detail))
        problems += self._foreign(split)
        for entry in entries:
            if wrong := self._wrong_label(entry):
                problems.append(Problem("annotation", True, entry.name, wrong))
        return entries, problems

    def _foreign(self, split: str) -> list[Problem]:
        """Files beside the folders train and test, which nothing reads."""
        sources = [(part, path) for part, paths in self._sources().items() for path in paths]
        folders = [path for part, path in sources if part and path.is_dir()]
        detail = "in no folder train or test; left out"
        return [
            Problem("foreign", False, str(path), detail)
            for path in (find_files(self.root) if split == "train" and folders else ())
            if not any(path.is_relative_to(folder) for folder in folders)
        ]

    def _wrong_label(self, entry: Entry) -> str:
        """What is wrong with a video's label beside the tables; '' for nothing."""
        test, spans = entry.split == "test", entry.name in self.spans
        if entry.label not in (0, 1):
            return f"label {entry.label}; expected 0 or 1 in {LABELS} or the array label"
        if (test or not entry.label) and entry.label != spans:
            return f"label {entry.label} and {'no' if entry.label else 'a'} span in {SPANS}"
        lacks = test and self.counts and entry.name not in self.counts
        return f"no line in {COUNTS}" if lacks else ""

    def stated(self, entry: Entry) -> Stated:
        spans = np.array([span[:2] for span in self.spans.get(entry.name, [])], np.int64)
        return Stated(
            self.counts.get(entry.name),
            spans.reshape(-1, 2),
            str(self.folder / COUNTS),
            str(self.folder / SPANS),
            self.timed.get(entry.name),
            str(self.folder / TIMES),
        )

    def truth(self, entry: Entry, units: int) -> Truth:
        frames = self.counts.get(entry.name, units * SNIPPET)
        spans = self.spans.get(entry.name, [])
        if any(end > frames + SNIPPET for _, end, _ in spans):
            last = max(end for _, end, _ in spans)
            raise DataError(
                f"{self.folder / SPANS}: {entry.name} has a span to frame {last} of {frames};"
                f" expected spans inside the video ({units} rows of 16 frames, or {COUNTS})"
            )
        kept = [(start, min(end, frames), cls) for start, end, cls in spans if start < frames]
        cut = np.array([k[:2] for k in kept], np.int64).reshape(-1, 2)
        return Truth(frames, cut, tuple(k[2] for k in kept))
