"""ShanghaiTech, weakly supervised split: NAME_i3d.npy [T, 10, 2048], ten crops in one file (RTFM
and its descendants).

The split comes from *.list files in the root (shanghai-i3d-train-10crop.list,
shanghai-i3d-test-10crop.list) or from folders with 'train' and 'test' in their names.
test_frame_mask/NAME.npy holds the set's own frame labels of the 107 abnormal videos.
"""

from __future__ import annotations

from gfvad.base.names import canonical
from gfvad.base.types import DataError
from gfvad.data.features.layouts.base import Layout
from gfvad.data.features.layouts.entries import Entry, Label, Problem, find_files
from gfvad.data.features.layouts.grouping import group_crops, missing_names
from gfvad.data.features.layouts.mixed_rules import ShanghaiRules
from gfvad.data.features.layouts.parts import without_npy
from gfvad.data.features.layouts.splits import deciding, read_lists, split_of_path
from gfvad.data.ground_truth import SHANGHAI_TOTALS, SNIPPET

SUFFIX = "_i3d"


def video_of(file: str) -> str:
    """'01_0015_i3d.npy' -> '01_0015'."""
    return canonical(without_npy(file).removesuffix(SUFFIX))


class ShanghaiTech(Layout):
    """Modality i3d, and text from captions."""

    kind = "shanghaitech"
    dims = {"i3d": 2048}
    ndims = {"i3d": (3,)}
    fps = ShanghaiRules.fps

    def open(self) -> None:
        super().open()
        self.rules = ShanghaiRules(self.root)
        if not self.rules.files:
            raise DataError(
                f"{self.rules.folder}: no frame masks; "
                "expected NAME.npy of the set's test part (test_frame_mask of ShanghaiTech)"
            )
        self._files = [p for p in find_files(self.root) if self.rules.folder not in p.parents]
        self._lists = read_lists(self.root, video_of)
        self.split_rule = deciding(self._lists)

    def claims(self, entry: Entry) -> dict[str, str]:
        return {**super().claims(entry), **(self._lists.claims(entry.name) if self._lists else {})}

    @property
    def ground_truth(self) -> str:
        """Which of the three published ground truths (or none of them) these features have:
        reads the header of every test file."""
        units = sum(self.headers(entry, "i3d")[0][1].shape[0] for entry in self.entries("test"))
        total, which = units * SNIPPET, "published length"
        if total not in SHANGHAI_TOTALS:
            which = f"none of the published {', '.join(f'{n:,}' for n in SHANGHAI_TOTALS)}"
        return f"{self.rules.ground_truth}: {total:,} frames ({which})"

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        problems, files, labels = [], [], dict[str, Label]()
        for path in self._files:
            name = video_of(path.name)
            label = self.rules.label(name) if without_npy(path.name).endswith(SUFFIX) else None
            part = self._lists.get(name) if self._lists else split_of_path(path, self.root)
            if label is None and split == "train":
                detail = "not named like 01_0015_i3d.npy; left out"
                problems.append(Problem("foreign", False, str(path), detail))
            elif label is not None and part == split:
                files.append((name, 0, path))
                labels[name] = label
            elif split == "train" and part is None:
                detail = f"{path} is in no list and no folder named train or test; expected one"
                problems.append(Problem("split", True, name, detail))
        table, wrong = group_crops(files)
        entries = [
            Entry(name, split, *labels[name], dict.fromkeys(self.on_disk, paths))
            for name, paths in table.items()
        ]
        problems += wrong + self.rules.uncovered(table if split == "test" else ())
        listed = self._lists.names(split) if self._lists else ()
        lacking, known = f"in the {split} list but without features", (p.name for p in self._files)
        problems += missing_names(listed, table, lacking, map(video_of, known))
        return entries, problems
