"""MSAD as descriptions alone, of the same events at two scales, by folds (layouts/folds.py):

captions_coarse_dev.json, captions_fine_dev.json  {video: [{"first_frame", "last_frame", "text"}]}
frame_labels_dev.npz                              one array [T] of 0 / 1 a video

Each file is a modality: `coarse` and `fine`. A video is cut into UNITS equal spans; a unit has the
mean embedding of the sentences of the descriptions that overlap it. Training videos have the label
of the video only, abnormal where any of its frames is.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.files import present, read_json
from gfvad.base.names import canonical, some
from gfvad.base.seals import lines_hash
from gfvad.base.types import DataError
from gfvad.data.annotations import Videos
from gfvad.data.captions import CaptionText
from gfvad.data.features.layouts import arrays, folds
from gfvad.data.features.layouts.base import Layout
from gfvad.data.features.layouts.entries import SPLITS, Entry, Problem
from gfvad.data.ground_truth import Truth
from gfvad.data.text import RULES, Captions
from gfvad.data.truth_audit import Stated, frame_labels
from gfvad.measure.frames import spans_of

LABELS = "frame_labels_dev.npz"
FILES = {"coarse": "captions_coarse_dev.json", "fine": "captions_fine_dev.json"}
FPS = 30.0  # of every video; the files count frames
UNITS = 32  # equal spans that a video is cut into
SENTENCE = re.compile(r"(?<=[.!?])\s+")
EXPECTED = "expected first_frame <= last_frame (whole numbers, from 0) and text"


class MsadText(Layout):
    """Modalities coarse and fine."""

    kind = "msad_text"
    dims = dict.fromkeys(FILES, 0)
    unit_frames = 0
    fps = FPS
    ground_truth = f"{LABELS} (123 of the 240 official test videos)"

    def open(self) -> None:
        super().open()
        fold, count = folds.tested_of(self.cfg)
        self.split_rule = f"fold {fold} of {count} of {LABELS}"
        if not present(self.root / LABELS, "frame labels"):
            raise DataError(f"{self.root / LABELS}: not found; expected an array of 0 / 1 a video")
        self._labels = arrays.Npz(self.root / LABELS)
        self._of = {canonical(key): key for key in self._labels.headers}
        self._lengths = {
            name: int(self._labels.headers[key].shape[0]) for name, key in self._of.items()
        }
        # both, whichever are asked for: the folds are the same for either
        self._texts = {m: self._read_text(self.root / file) for m, file in FILES.items()}

    def _read_text(self, path: Path) -> CaptionText:
        return CaptionText(path, self.cfg, described(path, self._lengths))

    def claims(self, entry: Entry) -> dict[str, str]:
        """Nothing: all are of the official test part, which the folds cut anew."""
        return {}

    def annotation_files(self) -> list[Path]:
        return [self.root / LABELS, *(text.path for text in self._texts.values())]

    @cached_property
    def fold_of(self) -> dict[str, int]:
        """Video -> its fold. Videos that share sentences stay together; each fold has its share of
        every class (a name without its number)."""
        names = sorted(self._of)
        told = [
            [s for text in self._texts.values() if (c := text.get(name)) for s in c.sentences]
            for name in names
        ]
        # no features but sentences: no two means are alike
        groups = folds.near_duplicates(np.eye(len(names)), told)
        strata = [class_of(name) for name in names]
        found = folds.deal(names, strata, groups, int(self.cfg.folds))
        return dict(zip(names, found.tolist(), strict=True))

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        entries, problems = [], []
        tested, paths = int(self.cfg.fold), {m: (text.path,) for m, text in self._texts.items()}
        for name, fold in self.fold_of.items():
            if (SPLITS[fold == tested]) != split:
                continue
            lacking = [text.path.name for text in self._texts.values() if text.get(name) is None]
            if lacking:
                problems.append(
                    Problem("annotation", True, name, f"no descriptions in {some(lacking)}")
                )
                continue
            label = int(self._mask(name).any())
            entries.append(Entry(name, split, label, (class_of(name),) * label, paths))
        return entries, problems

    def _mask(self, name: str) -> np.ndarray:
        return frame_labels(
            self._labels.array(self._of[name]), f"{self.root / LABELS}:{self._of[name]}"
        )

    def headers(self, entry: Entry, modality: str) -> list[tuple[Path, arrays.Header]]:
        text = self._texts[modality]
        width = text.encoder.width
        header = arrays.Header((UNITS, width), np.dtype(np.float32), False, 0, 4 * UNITS * width)
        return [(text.path, header)]

    def _first_dim(self, modality: str) -> int:
        return self._texts[modality].encoder.width

    def read(self, entry: Entry, modality: str) -> np.ndarray:
        text = self._texts[modality]
        if not text.ready:
            text.embed_all(sorted(self._of))
        return text.features(entry.name, UNITS, 0, 0.0)

    def fingerprint(self) -> str:
        """Hash of everything the videos depend on, the rules of their sentences among them."""
        cfg = self.cfg
        rules = [f"text rules {RULES}", cfg.text_encoder, cfg.text_assign, f"{UNITS} units"]
        return lines_hash([super().fingerprint(), *rules])

    def train_frames(self, entry: Entry, units: int) -> int:
        return self._lengths[entry.name]

    def stated(self, entry: Entry) -> Stated:
        return Stated(spans_source=f"{self.root / LABELS}:{entry.name}")

    def truth(self, entry: Entry, units: int) -> Truth:
        mask = self._mask(entry.name)
        spans = spans_of(mask)
        return Truth(len(mask), spans, entry.classes * len(spans))


def class_of(name: str) -> str:
    """'Traffic_accident' of 'Traffic_accident_12'."""
    return re.sub(r"_?\d+$", "", name)


def described(path: Path, lengths: dict[str, int]) -> Videos:
    """{video: Captions} of the videos whose length is known."""
    if not present(path, "descriptions"):
        raise DataError(f"{path}: not found; expected descriptions {{video: [...]}}")
    table = Videos(path.name)
    for name, told in read_json(path, "descriptions {video: [...]}").items():
        where = f"{path}: video {name!r}"
        if not isinstance(told, list):
            raise DataError(f"{where}: {type(told).__name__}; expected a list of descriptions")
        frames = lengths.get(canonical(name))
        if frames is None:
            continue
        spans, sentences = [], []
        for place, one in enumerate(told):
            known: dict[str, Any] = one if isinstance(one, dict) else {}
            first, last = (known.get(key, -1) for key in ("first_frame", "last_frame"))
            text = known.get("text")
            whole = isinstance(first, int) and isinstance(last, int) and 0 <= first <= last
            if not whole or not isinstance(text, str):
                raise DataError(f"{where}, description {place}: {one!r:.120}; {EXPECTED}")
            for sentence in SENTENCE.split(text.strip()):
                spans.append((min(first, frames) / FPS, min(last + 1, frames) / FPS))
                sentences.append(sentence)
        captions = Captions(frames / FPS, np.array(spans).reshape(-1, 2), tuple(sentences))
        table.add(where, name, captions)
    return table
