"""VadCLIP: CLIP ViT-B/16 features named by CSV files.

*.csv in the root with the columns path,label; a CSV with 'test' in its name is the test part.
NAME__k.npy [T, 512], 16 frames a row; several k are crops (the published training lists have ten,
the test list of UCF-Crime one). Paths are those of the authors' machine: a file is looked for as
written, below the root, and by its base name below the root. Labels: 'Normal', 'A', a UCF-Crime
class, or XD codes such as 'B2-G-0'.
"""

from __future__ import annotations

import re
from pathlib import Path

from gfvad.base.files import read_table
from gfvad.base.names import canonical
from gfvad.base.types import DataError
from gfvad.data import annotations
from gfvad.data.features.layouts import rules as rules_lib
from gfvad.data.features.layouts.base import Layout
from gfvad.data.features.layouts.entries import Entry, Label, Problem, find_files
from gfvad.data.features.layouts.grouping import group_crops, missing_names
from gfvad.data.features.layouts.parts import part_of_folder, part_of_list, without_npy

CROP = re.compile(r"(?P<name>.+)__(?P<crop>\d+)")


def csv_label(label: str) -> Label | None:
    """(label, classes) of a CSV label; None where it is of neither set."""
    if label in ("Normal", "A"):
        return 0, ()
    own = label in annotations.UCF_CLASSES
    return (1, (label,)) if own else annotations.xd_classes(f"_label_{label}")


def name_and_crop(path: str) -> tuple[str, int]:
    """'/far/Abuse001_x264__3.npy' -> ('Abuse001_x264', 3); crop 0 where the name has none."""
    stem = without_npy(path.replace("\\", "/").rsplit("/", 1)[-1])
    match = CROP.fullmatch(stem)
    return (canonical(match["name"]), int(match["crop"])) if match else (canonical(stem), 0)


class VadClip(Layout):
    """Modality clip, and text from captions. Ground truth: 16 frames a row, from the annotation
    files of the set the names belong to."""

    kind = "vadclip"
    dims = {"clip": 0}
    ndims = {"clip": (2,)}

    def open(self) -> None:
        super().open()
        self._csv = sorted(
            p
            for p in self.root.iterdir()
            if p.suffix.lower() == ".csv" and not p.name.startswith(".")
        )
        of = {p: part_of_list(p) for p in self._csv}
        if set(of.values()) != {"train", "test"}:
            found = ", ".join(p.name for p in self._csv) or "none"
            raise DataError(
                f"{self.root}: CSV files {found}; "
                "expected one for training and one with 'test' in its name, columns path,label"
            )
        self._below: dict[str, list[Path]] = {}
        for path in find_files(self.root):
            self._below.setdefault(path.name, []).append(path)
        self._rows = {"train": [], "test": []}
        for path in self._csv:
            self._rows[of[path]] += list(read_table(path, ("path", "label")))
        names = {name_and_crop(row["path"])[0] for rows in self._rows.values() for _, row in rows}
        kind = rules_lib.detect(names)
        if kind is rules_lib.XdRules:
            self.rules = rules_lib.XdRules(self.root, "features")
        elif kind is rules_lib.UcfRules:
            self.rules = rules_lib.UcfRules(self.root, 1024)
        else:
            raise DataError(
                f"{self._csv[0]}: names of {kind.dataset if kind else 'no known set'}; "
                "expected XD-Violence or UCF-Crime (use layout generic)"
            )
        self.fps, self.ground_truth = self.rules.fps, self.rules.ground_truth
        self._lists = {
            part: " and ".join(p.name for p in self._csv if of[p] == part)
            for part in ("train", "test")
        }
        self.split_rule = f"{self._lists['train']} (training) and {self._lists['test']} (test)"
        # what the folders in the CSVs' paths say of a video's part
        self._written: dict[str, dict[str, str]] = {}
        for where, row in (item for rows in self._rows.values() for item in rows):
            folder = (row["path"].replace("\\", "/").split("/")[-2:-1] or [""])[0]
            if part := part_of_folder(folder):
                said = self._written.setdefault(name_and_crop(row["path"])[0], {})
                said[f"the folder {folder!r} ({where})"] = part

    def claims(self, entry: Entry) -> dict[str, str]:
        written = self._written.get(entry.name, {})
        return {**super().claims(entry), **written, **self.rules.claims(entry.name)}

    def decided(self, entry: Entry) -> str:
        return self._lists[entry.split]

    def annotation_files(self) -> list[Path]:
        return [*self._csv, *self.rules.files]

    def find(self, path: str) -> Path | None:
        """A file of the CSV on this disk."""
        below = self.root / path.lstrip("/")
        exact = next((p for p in (Path(path), below) if p.is_file()), None)
        named = self._below.get(path.replace("\\", "/").rsplit("/", 1)[-1], [])
        if exact is None and len(named) > 1:
            raise DataError(
                f"{named[0]} and {named[1]}: either may be {path} of the CSV; expected one file of"
                f" a name below {self.root}: remove the other"
            )
        return exact or next(iter(named), None)

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        files, labels, problems = [], dict[str, Label](), []
        seen: dict[Path, str] = {}
        for where, row in self._rows[split]:
            (name, crop), path = name_and_crop(row["path"]), self.find(row["path"])
            label = csv_label(row["label"])
            other = label is None or labels.setdefault(name, label) != label
            if other or label != self.rules.label(name):
                detail = (
                    f"label {row['label']!r} of {name}; expected that of its name and other rows"
                )
                problems.append(Problem("name", True, where, detail))
            elif path is None:
                detail = f"{row['path']} ({where}) is neither there nor below {self.root}"
                problems.append(Problem("missing", True, name, detail))
            elif seen.setdefault(path, where) != where:
                detail = f"{path} stands at {seen[path]} too; expected it once: remove one line"
                problems.append(Problem("duplicated", True, where, detail))
            else:
                files.append((name, crop, path))
        table, wrong = group_crops(files)
        entries = [
            Entry(name, split, *labels[name], dict.fromkeys(self.on_disk, paths))
            for name, paths in table.items()
        ]
        annotated = self.rules.path.name
        if split == "test":
            lacking = f"in {annotated} but not in {self._lists['test']}"
            problems += self.rules.uncovered(e.name for e in entries)
            problems += missing_names(self.rules.test_names(), labels, lacking)
        else:
            problems += self._unlisted()
            if why := self.rules.lacks(len(entries)):
                problems.append(Problem("split", True, annotated, why))
        return entries, problems + wrong

    def _unlisted(self) -> list[Problem]:
        """Features of videos that stand in no CSV."""
        known = {name_and_crop(row["path"])[0] for rows in self._rows.values() for _, row in rows}
        files = [path for paths in self._below.values() for path in paths]
        return [
            Problem("foreign", False, str(path), "of a video in no CSV; left out")
            for path in files
            if CROP.fullmatch(without_npy(path.name)) and name_and_crop(path.name)[0] not in known
        ]
