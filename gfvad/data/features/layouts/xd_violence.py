"""XD-Violence as its authors publish it (also the format of the simulated set):

i3d-features/{RGB,RGBTest,Flow,FlowTest}/NAME__{0..4}.npy  [T, 1024], five crops, 0 is the centre
vggish-features/{train,test}/NAME__vggish.npy              [T, 128]
annotations.txt, frame_counts.txt                          ground truth of the test part
(frame_counts.txt may be absent)
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from gfvad.base.names import canonical
from gfvad.base.types import DataError
from gfvad.data.features.layouts.base import Layout
from gfvad.data.features.layouts.entries import Entry, Problem, find_files
from gfvad.data.features.layouts.grouping import group_crops, missing_files, missing_names
from gfvad.data.features.layouts.rules import XdRules

FLOW_TEST_MISSING = 62  # files the published flow features of the test part lack
FOLDERS = {
    "rgb": {"train": "i3d-features/RGB", "test": "i3d-features/RGBTest"},
    "flow": {"train": "i3d-features/Flow", "test": "i3d-features/FlowTest"},
    "audio": {"train": "vggish-features/train", "test": "vggish-features/test"},
}
CROP = re.compile(r"(?P<name>.+)__(?P<crop>\d)(?i:\.npy)")
AUDIO = re.compile(r"(?P<name>.+)__vggish(?i:\.npy)")


class XdViolence(Layout):
    """Modalities rgb, flow, audio, and text from captions. Up to 62 test videos without flow get
    zeros in its place (see `notes`)."""

    kind = "xd_violence"
    has_text = True
    dims = {"rgb": 1024, "flow": 1024, "audio": 128}
    ndims = {"rgb": (2,), "flow": (2,), "audio": (2,)}
    fps = XdRules.fps

    def open(self) -> None:
        super().open()
        self.rules = XdRules(self.root)
        self.ground_truth = self.rules.ground_truth
        lists = " and ".join(p.name for p in self.rules.files)
        self.split_rule = (
            f"folders (RGB, Flow, train: training; RGBTest, FlowTest, test: test), as {lists} say"
        )

    def claims(self, entry: Entry) -> dict[str, str]:
        elsewhere = self._elsewhere.get(entry.name, {})
        return {**super().claims(entry), **self.rules.claims(entry.name), **elsewhere}

    @functools.cached_property
    def _elsewhere(self) -> dict[str, dict[str, str]]:
        """{video: {what says of which part it is: part}} by the folders of modalities that are
        not asked for."""
        found: dict[str, dict[str, str]] = {}
        others = [m for m in FOLDERS if m not in self.on_disk]
        for m, part, folder in [(n, p, FOLDERS[n][p]) for n in others for p in FOLDERS[n]]:
            pattern = AUDIO if m == "audio" else CROP
            for path in find_files(self.root / folder):
                if match := pattern.fullmatch(path.name):
                    found.setdefault(canonical(match["name"]), {})[f"folder {folder!r}"] = part
        return found

    def decided(self, entry: Entry) -> str:
        return "its folder"

    def list_modality(
        self, modality: str, split: str
    ) -> tuple[dict[str, tuple[Path, ...]], list[Problem]]:
        """{video: files in order of crops} of one folder, and what in it is no feature file or
        lacks a crop."""
        folder = self.root / FOLDERS[modality][split]
        if not folder.is_dir():
            found = ", ".join(sorted(p.name for p in self.root.iterdir())[:8])
            raise DataError(
                f"{folder}: no such folder; expected {modality} features of the {split} part."
                f" {self.root} holds {found}; see docs/data.md"
            )
        pattern, files, problems = AUDIO if modality == "audio" else CROP, [], []
        for path in find_files(folder, ""):
            match = pattern.fullmatch(path.name)
            if match:
                crop = 0 if modality == "audio" else int(match["crop"])
                files.append((canonical(match["name"]), crop, path))
            else:
                detail = f"not named like a {modality} file ({pattern.pattern}); left out"
                problems.append(Problem("foreign", False, str(path), detail))
        table, wrong = group_crops(files)
        return table, problems + wrong

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        tables, problems = {}, []
        for modality in self.on_disk:
            tables[modality], wrong = self.list_modality(modality, split)
            problems += wrong
        names, flow = set().union(*tables.values()), tables.get("flow")
        lenient = split == "test" and flow and len(names - set(flow)) <= FLOW_TEST_MISSING
        problems += missing_files(split, tables, ("flow",) if lenient else ())
        entries = []
        for name in sorted(names):
            label = self.rules.label(name)
            if label is None:
                detail = "no '_label_' with known classes at its end; expected e.g. '_label_B1-0-0'"
                problems.append(Problem("name", True, name, detail))
                continue
            problems += self.rules.uncovered([name] if split == "test" else ())
            files = {m: tables[m].get(name, ()) for m in self.on_disk}
            entries.append(Entry(name, split, *label, files))
        if split == "test":
            have = {e.name: None for e in entries}
            lacking = f"in {self.rules.files[-1].name} but without features of the test part"
            problems += missing_names(self.rules.test_names(), have, lacking)
        return entries, problems
