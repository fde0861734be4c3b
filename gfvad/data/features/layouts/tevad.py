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
from gfvad.data.features.layouts.splits import read_lists, split_of_path

PATTERNS = {
    "i3d": re.compile(r"(?P<name>.+)_i3d(?i:\.npy)"),
    "text": re.compile(r"(?P<name>.+)_emb(?i:\.npy)"),
}
FRAMES = "test_frame_mask"


def name_of(file: str) -> str:
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
        found = [
            (p, next((m for m, pattern in PATTERNS.items() if pattern.fullmatch(p.name)), None))
            for p in find_files(self.root)
        ]
        names = {name_of(p.name) for p, modality in found if modality}
        kind = rules_lib.detect(names)
        if kind is None:
            raise DataError(
                f"{self.root}: {len(names)} videos with NAME_i3d.npy or NAME_emb.npy, of no known"
                " set; expected names of XD-Violence, UCF-Crime, ShanghaiTech or Ped2 (use layout"
                " generic for others)"
            )
        # the published 10-crop features of UCF-Crime are the 2048-d family
        self.rules = kind(self.root, 2048) if kind is rules_lib.UcfRules else kind(self.root)
        self.fps = self.rules.fps
        self.ground_truth = self.rules.ground_truth
        self._lists = read_lists(self.root, name_of)
        tables: dict[str, list] = {m: [] for m in PATTERNS}
        for path, modality in found:
            if modality:
                tables[modality].append((name_of(path.name), 0, path))
        self._grouped = {m: group_crops(files) for m, files in tables.items()}
        others = [p for p, modality in found if not modality and FRAMES not in p.parts]
        self._foreign = [
            Problem("foreign", False, str(p), "not named NAME_i3d.npy or NAME_emb.npy; left out")
            for p in others
        ]

    @property
    def split_rule(self) -> str:
        """What decided the parts: the rule of the set, lists, or folders."""
        lists = (
            " and ".join(self._lists.lists)
            if self._lists
            else "folders with 'train' or 'test' in their names"
        )
        return getattr(self.rules, "split_rule", lists)

    def decided(self, entry: Entry) -> str:
        return self.rules.decided(entry.name) if hasattr(self.rules, "decided") else self.split_rule

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
        if self.rules.split(name):
            return self.rules.split(name)
        if self._lists:
            return self._lists.get(name)
        folders = {
            split_of_path(path, self.root)
            for table in tables.values()
            for path in table.get(name, ())
        } - {None}
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
                entries.append(
                    Entry(
                        name, split, *label, {m: everything[m].get(name, ()) for m in self.on_disk}
                    )
                )
                if split == "test" and (why := self.rules.covers(name)):
                    problems.append(Problem("annotation", True, name, why))
            elif part == split:
                problems.append(
                    Problem(
                        "name", True, name, f"not a name of {self.rules.dataset} with a known label"
                    )
                )
            elif part is None and split == "train":
                detail = (
                    "in no *.list file and no folder (or folders of both parts) named train or"
                    " test; expected one"
                )
                problems.append(Problem("split", True, name, detail))
        expected = (
            self._lists.names(split)
            if self._lists
            else (self.rules.test_names() or set())
            if split == "test"
            else set()
        )
        have, known = (
            {e.name: None for e in entries},
            {name for table in everything.values() for name in table},
        )
        problems += missing_names(expected, have, f"listed for {split} but without features", known)
        if split == "train" and (why := self.rules.lacks(len(entries))):
            problems.append(Problem("split", True, self.rules.path.name, why))
        return entries, problems + missing_files(split, tables)
