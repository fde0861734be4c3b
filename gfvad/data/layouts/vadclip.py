"""VadCLIP: CLIP ViT-B/16 features named by CSV files.

*.csv in the root with the columns path,label; a CSV with 'test' in its name is the test part. NAME__k.npy [T, 512], 16 frames a row;
several k are crops (the published training lists have ten, the test list of UCF-Crime one). Paths are those of the authors' machine: a
file is looked for as written, below the root, and by its base name below the root. Labels: 'Normal', 'A', a UCF-Crime class, or XD codes
such as 'B2-G-0'.
"""
from __future__ import annotations

import re
from pathlib import Path

from gfvad.data import annotations
from gfvad.data.ground_truth import Truth
from gfvad.data.layouts import rules as rules_lib
from gfvad.data.layouts.base import Entry, Layout, Problem, find_files, group_crops
from gfvad.types import DataError

CROP = re.compile(r"(?P<name>.+)__(?P<crop>\d+)")


def csv_label(label: str) -> tuple[int, tuple[str, ...]] | None:
    """(label, classes) of a CSV label; None where it is of neither set."""
    if label in ("Normal", "A"):
        return 0, ()
    return (1, (label,)) if label in annotations.UCF_CLASSES else annotations.xd_classes(f"_label_{label}")


def name_and_crop(path: str) -> tuple[str, int]:
    """'/far/Abuse001_x264__3.npy' -> ('Abuse001_x264', 3); crop 0 where the name has none."""
    stem = path.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".npy")
    match = CROP.fullmatch(stem)
    return (annotations.strip_mp4(match["name"]), int(match["crop"])) if match else (annotations.strip_mp4(stem), 0)


class VadClip(Layout):
    """Modality clip, and text from captions. Ground truth: 16 frames a row, from the annotation files of the set the names belong to."""

    kind = "vadclip"
    dims = {"clip": 0}
    ndims = {"clip": (2,)}

    def open(self) -> None:
        super().open()
        self._csv = sorted(self.root.glob("*.csv"))
        if not any("test" in p.name.lower() for p in self._csv) or all("test" in p.name.lower() for p in self._csv):
            found = ", ".join(p.name for p in self._csv) or "none"
            raise DataError(
                f"{self.root}: CSV files {found}; "
                "expected one for training and one with 'test' in its name, columns path,label"
            )
        self._below = {p.name: p for p in find_files(self.root)}
        self._rows = {"train": [], "test": []}
        for path in self._csv:
            self._rows["test" if "test" in path.name.lower() else "train"] += list(annotations.read_csv(path, ("path", "label")))
        names = {name_and_crop(row["path"])[0] for rows in self._rows.values() for _, row in rows}
        kind = rules_lib.detect(names)
        if kind not in (rules_lib.XdRules, rules_lib.UcfRules):
            raise DataError(
                f"{self._csv[0]}: names of {kind.dataset if kind else 'no known set'}; "
                "expected XD-Violence or UCF-Crime (use layout generic)"
            )
        self.rules = kind(self.root, "features") if kind is rules_lib.XdRules else kind(self.root, 1024)
        self.fps, self.ground_truth = self.rules.fps, self.rules.ground_truth

    def annotation_files(self) -> list[Path]:
        return [*self._csv, *self.rules.files]

    def truth(self, entry: Entry, units: int) -> Truth:
        return self.rules.truth(entry.name, units)

    def find(self, path: str) -> Path | None:
        """A file of the CSV on this disk."""
        below = self.root / path.lstrip("/")
        return next((p for p in (Path(path), below) if p.is_file()), self._below.get(path.replace("\\", "/").rsplit("/", 1)[-1]))

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        files, labels, problems = [], {}, []
        other = {name_and_crop(row["path"])[0] for _, row in self._rows["train" if split == "test" else "test"]}
        for where, row in self._rows[split]:
            (name, crop), label, path = name_and_crop(row["path"]), csv_label(row["label"]), self.find(row["path"])
            if label is None or labels.setdefault(name, label) != label or label != self.rules.label(name):
                problems.append(Problem("name", True, where, f"label {row['label']!r} of {name}; expected that of its name and other rows"))
            elif path is None:
                problems.append(Problem("missing", True, name, f"{row['path']} ({where}) is neither there nor below {self.root}"))
            elif name in other and split == "test":
                problems.append(Problem("split", True, name, "in the CSVs of both parts; expected one"))
            else:
                files.append((name, crop, path))
        table, wrong = group_crops(files)
        entries = [Entry(name, split, *labels[name], {m: paths for m in self.on_disk}) for name, paths in table.items()]
        if split == "test":
            problems += [Problem("annotation", True, e.name, why) for e in entries if (why := self.rules.covers(e.name))]
            lost = [n for n in sorted(self.rules.test_names()) if annotations.find_name(labels, n) is None]
            problems += [Problem("missing", True, n, f"in {self.rules.path.name} but in no test CSV") for n in lost]
        return entries, problems + wrong
