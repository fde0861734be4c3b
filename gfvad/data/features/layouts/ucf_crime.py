"""UCF-Crime I3D features in either published family; the folder decides which, a mix is refused.

2048-d: X_x264_i3d.npy [T, 10, 2048], ten crops in one file   (RTFM); ground truth 1,114,144 frames
1024-d: X_x264__{0..9}.npy [T, 1024], one file a crop         (Roc-Ng); ground truth 1,109,680
frames temporal_annotations.txt lists the 290 test videos; every other video is for training, and is
refused where its folder, its name or frame_counts.txt (which, where present, also checks lengths)
says test.
"""

from __future__ import annotations

import re

from gfvad.base.names import canonical
from gfvad.base.types import DataError
from gfvad.data.features.layouts.base import Layout
from gfvad.data.features.layouts.entries import Entry, Problem, find_files
from gfvad.data.features.layouts.grouping import group_crops, missing_names
from gfvad.data.features.layouts.rules import NO_CLASS, UcfRules

FAMILIES = {  # a name may end in a suffix of videos
    2048: re.compile(r"(?P<name>.+_x264(\.[A-Za-z0-9]+)?)_i3d(?i:\.npy)"),
    1024: re.compile(r"(?P<name>.+_x264(\.[A-Za-z0-9]+)?)__(?P<crop>\d)(?i:\.npy)"),
}


class UcfCrime(Layout):
    """Modality i3d, and text from captions."""

    kind = "ucf_crime"
    dims = {"i3d": 0}
    fps = UcfRules.fps

    def open(self) -> None:
        super().open()
        files = find_files(self.root)
        found = {
            dim: [p for p in files if pattern.fullmatch(p.name)]
            for dim, pattern in FAMILIES.items()
        }
        if all(found.values()):
            counts = " and ".join(
                f"{len(paths)} files like {paths[0].name} ({dim}-d)" for dim, paths in found.items()
            )
            raise DataError(
                f"{self.root}: {counts}; expected one of the two feature families, "
                "they have different ground truths: keep one folder each"
            )
        self.family = next((dim for dim, paths in found.items() if paths), 0)
        if not self.family:
            raise DataError(
                f"{self.root}: {len(files)} .npy files, none named X_x264_i3d.npy or X_x264__0.npy;"
                " expected UCF-Crime I3D features"
            )
        self.dims, self.ndims = {"i3d": self.family}, {"i3d": (3,) if self.family == 2048 else (2,)}
        self.rules = UcfRules(self.root, self.family)
        self.ground_truth = f"{self.family}-d features: {self.rules.ground_truth}"
        self.split_rule = self.rules.split_rule
        crops, foreign = [], []
        for p in files:
            if m := FAMILIES[self.family].fullmatch(p.name):
                crop = int(m["crop"]) if self.family == 1024 else 0
                crops.append((canonical(m["name"]), crop, p))
            else:
                detail = "not named like a feature file; left out"
                foreign.append(Problem("foreign", False, str(p), detail))
        self._table, self._problems = group_crops(crops)
        self._problems += foreign

    def claims(self, entry: Entry) -> dict[str, str]:
        return {**super().claims(entry), **self.rules.claims(entry.name)}

    def decided(self, entry: Entry) -> str:
        return self.rules.decided(entry.name)

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        problems = [
            p
            for p in self._problems
            if (self.rules.split(p.where) if p.error else "train") == split
        ]
        entries = []
        for name, files in self._table.items():
            if self.rules.split(name) != split:
                continue
            label = self.rules.label(name)
            if label is None:
                problems.append(Problem("name", True, name, NO_CLASS))
            else:
                entries.append(Entry(name, split, *label, dict.fromkeys(self.on_disk, files)))
        annotated = self.rules.path.name
        if split == "test":
            lacking = f"in {annotated} but without features"
            problems += missing_names(self.rules.test_names(), self._table, lacking)
        elif why := self.rules.lacks(len(entries)):
            problems.append(Problem("split", True, annotated, why))
        return entries, problems
