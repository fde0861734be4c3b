"""TEVAD: I3D features and, beside them, one sentence embedding a snippet.

NAME_i3d.npy [T, 10, 2048] (XD-Violence [T, 5, 1024]) and NAME_emb.npy [T, 768], anywhere below the
root (the public folders are
*_ten_crop_i3d* and sent_emb_n). Names may be of XD-Violence, UCF-Crime, ShanghaiTech or Ped2; what
they mean comes from that set's annotation files in the root. The published code tiles an embedding
over the crops; here it has one crop, which says the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from gfvad.base.names import canonical
from gfvad.base.types import DataError
from gfvad.data.features.layouts import mixed_rules
from gfvad.data.features.layouts import rules as rules_lib
from gfvad.data.features.layouts.base import Layout
from gfvad.data.features.layouts.entries import Entry, Problem, find_files
from gfvad.data.features.layouts.grouping import group_crops, missing_files, missing_names
from gfvad.data.features.layouts.parts import folder_claims, without_npy
from gfvad.data.features.layouts.splits import deciding, read_lists, split_of_path

PATTERNS = {
    "i3d": re.compile(r"(?P<name>.+)_i3d(?i:\.npy)"),
    "text": re.compile(r"(?P<name>.+)_emb(?i:\.npy)"),
}
FRAMES = "test_frame_mask"


def video_of(file: str) -> str:
    """'X_x264_i3d.npy' -> 'X_x264'."""
    return canonical(without_npy(file).removesuffix("_i3d").removesuffix("_emb"))


class Tevad(Layout):
    """Modalities i3d and text (from NAME_emb.npy, not from captions)."""

    kind = "tevad"
    has_text = True
    dims = {"i3d": 0, "text": 768}
    ndims = {"i3d": (3,), "text": (2,)}

    def open(self) -> None:
        super().open()
        tables: dict[str, list[tuple[str, int, Path]]] = {m: [] for m in PATTERNS}
        self._foreign = []
        for p in find_files(self.root):
            modality = next((m for m, pattern in PATTERNS.items() if pattern.fullmatch(p.name)), "")
            if modality:
                tables[modality].append((video_of(p.name), 0, p))
            elif FRAMES not in p.parts:
                detail = "not named NAME_i3d.npy or NAME_emb.npy; left out"
                self._foreign.append(Problem("foreign", False, str(p), detail))
        names = {name for files in tables.values() for name, *_ in files}
        kind = rules_lib.detect(names)
        if kind is None:
            raise DataError(
                f"{self.root}: {len(names)} videos with NAME_i3d.npy or NAME_emb.npy, of no known"
                " set; expected names of XD-Violence, UCF-Crime, ShanghaiTech or Ped2 (use layout"
                " generic for others)"
            )
        # the published 10-crop features of UCF-Crime are the 2048-d family
        self.rules = (
            kind(self.root, 2048) if issubclass(kind, rules_lib.UcfRules) else kind(self.root)
        )
        self.fps, self.ground_truth = self.rules.fps, self.rules.ground_truth
        self._lists = read_lists(self.root, video_of)
        self._grouped = {m: group_crops(files) for m, files in tables.items()}
        self.split_rule = self.rules.split_rule or deciding(self._lists)

    def decided(self, entry: Entry) -> str:
        return self.rules.decided(entry.name) or self.split_rule

    def claims(self, entry: Entry) -> dict[str, str]:
        if isinstance(self.rules, mixed_rules.Ped2Rules):
            return {}  # its weak split mixes the parts that folders and names are of
        files = [path for table, _ in self._grouped.values() for path in table.get(entry.name, ())]
        listed = self._lists.claims(entry.name) if self._lists else {}
        return {**folder_claims(files, self.root), **listed, **self.rules.claims(entry.name)}

    def split_of(
        self, name: str, tables: Mapping[str, Mapping[str, tuple[Path, ...]]]
    ) -> str | None:
        """Part of a video: by its set's rule, the lists, or the folder of any of its files; None
        where nothing says."""
        if (part := self.rules.split(name)) or self._lists:
            return part or (self._lists or {}).get(name)
        paths = [path for table in tables.values() for path in table.get(name, ())]
        folders = {split_of_path(path, self.root) for path in paths} - {None}
        return folders.pop() if len(folders) == 1 else None

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        everything = {m: table for m, (table, _) in self._grouped.items()}
        problems = [
            p
            for m in self.on_disk
            for p in self._grouped[m][1]
            if self.split_of(p.where, everything) in (split, None)
        ]
        problems += self._foreign if split == "train" else []
        tables, entries = {m: {} for m in self.on_disk}, []
        for name in sorted({name for m in self.on_disk for name in everything[m]}):
            part, label = self.split_of(name, everything), self.rules.label(name)
            if part == split:
                for m in self.on_disk:
                    tables[m].update({name: everything[m][name]} if name in everything[m] else {})
            if part == split and label is not None:
                files = {m: everything[m].get(name, ()) for m in self.on_disk}
                entries.append(Entry(name, split, *label, files))
                problems += self.rules.uncovered([name] if split == "test" else [])
            elif part == split:
                detail = f"not a name of {self.rules.dataset} with a known label"
                problems.append(Problem("name", True, name, detail))
            elif part is None and split == "train":
                detail = (
                    "in no *.list file and no folder (or folders of both parts) named train or"
                    " test; expected one"
                )
                problems.append(Problem("split", True, name, detail))
        expected = self._lists.names(split) if self._lists else ()
        if split == "test" and not self._lists:
            expected = self.rules.test_names()
        have, known = {e.name: None for e in entries}, set().union(*everything.values())
        problems += missing_names(expected, have, f"listed for {split} but without features", known)
        if split == "train" and (why := self.rules.lacks(len(entries))):
            problems.append(Problem("split", True, self.rules.path.name, why))
        return entries, problems + missing_files(split, tables)
