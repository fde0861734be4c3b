"""UCF-Crime as I3D Kinetics-400 class scores, 40 segments a video, with human sentences:

i3d_logits_train.npz, i3d_logits_test_dev.npz  x [V, 40, 400] float16, name [V]; the segments cut a
video's frames into 40 equal spans
frame_labels_test_dev.npz                      one array [T] of 0 / 1 a test video
captions.json                                  timed sentences
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gfvad.base.files import present
from gfvad.base.names import Names, canonical, some
from gfvad.base.types import DataError
from gfvad.data import annotations
from gfvad.data.captions import captions_path, read_captions
from gfvad.data.features.layouts import arrays
from gfvad.data.features.layouts.base import Layout
from gfvad.data.features.layouts.entries import Entry, Problem
from gfvad.data.features.layouts.rules import NO_CLASS, UCF_FILES, UCF_TEST_NAME, ucf_lists
from gfvad.data.features.layouts.splits import list_claims
from gfvad.data.ground_truth import SNIPPET, Truth
from gfvad.data.truth_audit import Stated, frame_labels
from gfvad.measure.frames import spans_of

FILES = {"train": "i3d_logits_train.npz", "test": "i3d_logits_test_dev.npz"}
LABELS = "frame_labels_test_dev.npz"
FPS = 30.0  # of every video of the set; captions give seconds


class UcfLogits(Layout):
    """Modalities i3d_logits and text. A training video has duration * 30 frames by its captions,
    16 a segment where it has none."""

    kind = "ucf_logits"
    dims = {"i3d_logits": 0}
    unit_frames = 0
    fps = FPS
    ground_truth = f"{LABELS} (60 of the 290 official test videos)"

    def open(self) -> None:
        super().open()
        self._npz = {split: arrays.Npz(self.root / file) for split, file in FILES.items()}
        self._labels = arrays.Npz(self.root / LABELS)
        self._masks = Names(LABELS)
        for key in self._labels.headers:
            self._masks.add(str(self.root / LABELS), key, key)
        self._names = {
            split: [canonical(name) for name in npz.names()] for split, npz in self._npz.items()
        }
        self.split_rule = f"{FILES['train']} (training) and {FILES['test']} (test)"
        files = [self.root / f for f in UCF_FILES if present(self.root / f, "annotations")]
        self._lists = {p.name: ("test", annotations.parse_ucf(p)) for p in files}
        self._lists |= ucf_lists(self.root)
        for split, npz in self._npz.items():
            header = npz.require("x", 3)
            count = len(self._names[split])
            usable = arrays.is_float(header.dtype) and 0 not in header.shape
            if header.shape[0] != count or not usable:
                raise DataError(
                    f"{npz.path}:x: shape {header.shape} of {header.dtype} for {count} names;"
                    " expected floats [names, units, features]"
                )
        leaked = set(self._names["train"]) & set(self._names["test"])
        if leaked:
            raise DataError(
                f"{self.root}: {len(leaked)} videos are in both parts: {some(leaked)}; "
                "expected train and test to share none, remove them from one"
            )
        path = captions_path(self.cfg, self.root)
        self._captions = read_captions(path) if path else {}

    def claims(self, entry: Entry) -> dict[str, str]:
        says = {
            f"its array in {LABELS}": entry.name in self._masks,
            "its name": bool(UCF_TEST_NAME.fullmatch(entry.name)),
        }
        own = {what: "test" for what, said in says.items() if said}
        return own | list_claims(self._lists, entry.name)

    def decided(self, entry: Entry) -> str:
        return FILES[entry.split]

    def tables(self):
        return {self.root / LABELS: (self._masks, "arrays of frame labels")}

    def annotation_files(self) -> list[Path]:
        return [self.root / LABELS]

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        entries, problems = [], []
        path = self.root / FILES[split]
        for row, name in enumerate(self._names[split]):
            label = annotations.ucf_class(name)
            if label is None:
                problems.append(Problem("name", True, name, NO_CLASS))
                continue
            if split == "test" and name not in self._masks:
                detail = f"no array of frame labels in {LABELS}"
                problems.append(Problem("annotation", True, name, detail))
            entries.append(Entry(name, split, *label, dict.fromkeys(self.on_disk, (path,)), row))
        return entries, problems

    def headers(self, entry: Entry, modality: str) -> list[tuple[Path, arrays.Header]]:
        npz = self._npz[entry.split]
        return [(npz.path, npz.headers["x"]._replace(shape=npz.headers["x"].shape[1:]))]

    def _first_dim(self, modality: str) -> int:
        dims = {npz.headers["x"].shape[2] for npz in self._npz.values()}
        if len(dims) > 1:
            raise DataError(
                f"{self.root}: {sorted(dims)} features in {' and '.join(FILES.values())}; expected"
                " the same number in both"
            )
        return dims.pop()

    def read(self, entry: Entry, modality: str) -> np.ndarray:
        array = self._npz[entry.split].array("x")[entry.row]
        arrays.require_finite(array, f"{self._npz[entry.split].path}:x, video {entry.name}")
        return arrays.to_features(array)[None]

    def text_units(self, entry: Entry) -> int:
        return self._npz[entry.split].headers["x"].shape[1]

    def train_frames(self, entry: Entry, units: int) -> int:
        captions = self._captions.get(entry.name)
        return max(1, round(captions.duration * FPS)) if captions else units * SNIPPET

    def stated(self, entry: Entry) -> Stated:
        return Stated(spans_source=f"{self.root / LABELS}:{entry.name}")

    def truth(self, entry: Entry, units: int) -> Truth:
        where = f"{self.root / LABELS}:{entry.name}"
        mask = frame_labels(self._labels.array(self._masks[entry.name]), where)
        captions = self._captions.get(entry.name)
        lasts = captions.duration * FPS if captions else len(mask)
        # durations are of the whole file, labels of what was decoded
        if abs(len(mask) - lasts) > max(4 * SNIPPET, 0.05 * lasts):
            raise DataError(
                f"{where}: {len(mask):,} labels, and about {lasts:,.0f} frames by the captions;"
                " expected one a frame"
            )
        spans = spans_of(mask)
        return Truth(len(mask), spans, entry.classes * len(spans))
