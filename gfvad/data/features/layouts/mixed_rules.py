"""Rules of the sets whose weak split mixes the set's own parts: ShanghaiTech and Ped2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from gfvad.base.names import Names
from gfvad.base.types import DataError
from gfvad.data import annotations, ground_truth
from gfvad.data.features.layouts import arrays
from gfvad.data.features.layouts.entries import Label, Rules, find_files
from gfvad.data.features.layouts.parts import without_npy
from gfvad.data.ground_truth import SNIPPET, Truth
from gfvad.data.truth_audit import Stated, frame_labels


class ShanghaiRules(Rules):
    """ShanghaiTech, weak split: a clip number of four digits is one of the set's own test part,
    all abnormal; masks in test_frame_mask/."""

    dataset, pattern, fps = "shanghaitech", re.compile(r"\d\d_\d{3,4}"), 24.0
    ground_truth = "test_frame_mask, 16 frames a feature row"

    def __init__(self, root: Path):
        self.folder = root / "test_frame_mask"
        self.files = find_files(self.folder)
        self.masks = Names(self.folder.name)
        for path in self.files:
            self.masks.add(str(path), without_npy(path.name), path)

    def tables(self) -> Mapping[Path, tuple[Mapping, str]]:
        return {self.folder: (self.masks, "frame masks")}

    def label(self, name: str) -> Label | None:
        return (int(len(name) == 7), ()) if self.pattern.fullmatch(name) else None

    def covers(self, name: str) -> str:
        known = len(name) == 6 or name in self.masks
        return "" if known else f"no frame mask {self.folder / name}.npy"

    def stated(self, name: str) -> Stated:
        path = self.masks.get(name)
        frames = [*(arrays.read_header(path).shape[:1] if path else ()), None]
        return Stated(frames[0], frames_source=str(path), spans_source=str(path))

    def truth(self, name: str, units: int) -> Truth:
        if lacks := self.covers(name):
            raise DataError(f"{name}: {lacks}; expected one 0 or 1 a frame")
        if name not in self.masks:
            return super().truth(name, units)
        path = self.masks[name]
        mask = frame_labels(arrays.read_array(path, arrays.read_header(path)), str(path))
        return ground_truth.mask_truth(mask, units * SNIPPET)


class Ped2Rules(Rules):
    """Ped2, weak split of TEVAD; abnormal are the clips Test001..012. Ground truth: 904 of 3,200
    frames."""

    dataset, pattern, fps = "ped2", re.compile(r"(Train|Test)\d{3}"), 0.0
    split_rule = (
        "the weak split of TEVAD: 10 training videos, 6 of them from the set's own test part; 18"
        " test videos"
    )
    train = frozenset(
        [f"Test{i:03d}" for i in (2, 6, 9, 10, 11, 12)] + [f"Train{i:03d}" for i in (7, 8, 14, 15)]
    )
    test = frozenset(
        [f"Test{i:03d}" for i in range(1, 13)] + [f"Train{i:03d}" for i in range(1, 17)]
    ).difference(train)
    ground_truth = (
        "test_spans.txt as published by TEVAD (spans one frame late), 16 frames a feature row"
    )

    def __init__(self, root: Path):
        self.path = root / "test_spans.txt"
        self.spans = annotations.parse_ped2(self.path)
        self.files = [self.path]

    def tables(self) -> Mapping[Path, tuple[Mapping, str]]:
        return {self.path: (self.spans, "spans")}

    def label(self, name: str) -> Label | None:
        return (int(name.startswith("Test")), ()) if name in self.train | self.test else None

    def split(self, name: str) -> str:
        return "train" if name in self.train else "test"

    def test_names(self) -> frozenset[str]:
        return self.test

    def covers(self, name: str) -> str:
        known = name.startswith("Train") or name in self.spans
        return "" if known else f"no line in {self.path.name}"

    def stated(self, name: str) -> Stated:
        return Stated(spans=self.spans.get(name, ground_truth.EMPTY), spans_source=str(self.path))

    def truth(self, name: str, units: int) -> Truth:
        return ground_truth.ped2_truth(name, units * SNIPPET, self.spans)
