"""UCSD Ped2 in the weakly supervised split of TEVAD, with features made from the frames.

The folder is that of the predictive model (training/frames/01/000.jpg, ..., or UCSD's own
Train/Train001/001.tif, ...); both of its parts are mixed
anew: 10 training videos, of which 6 abnormal ones from the set's test part, and 18 test videos.
Labels of frames come from test_spans.txt (or UCSD's .m file); of training videos they are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gfvad.base.files import whole_number
from gfvad.base.types import DataError
from gfvad.data import ground_truth
from gfvad.data.features.layouts.entries import Entry, Problem
from gfvad.data.features.layouts.from_frames import Frames
from gfvad.data.features.layouts.mixed_rules import Ped2Rules
from gfvad.data.ground_truth import EMPTY, SNIPPET, Truth
from gfvad.measure.flow_floors import FLOORS
from gfvad.measure.frames import spans_of

# part of the folder -> (its videos' prefix, how many)
PARTS = {"train": ("Train", 16), "test": ("Test", 12)}
SPANS = ("test_spans.txt", "Test/*.m")
DESCRIPTIONS = "captions_gpt4o_{part}.jsonl"


class Ped2Weak(Frames):
    """Modalities motion, appearance and text. Ground truth as TEVAD publishes it: 904 of 3,200
    frames, snippets counted up."""

    kind = "ped2_weak"
    has_text = True
    split_rule = Ped2Rules.split_rule
    compares = True

    def open(self) -> None:
        super().open()
        for part, (prefix, expected) in PARTS.items():
            videos = self.folder.videos(part)
            numbers = [whole_number(video.name.removeprefix(prefix)) or 0 for video in videos]
            if numbers != list(range(1, expected + 1)):
                names = ", ".join(video.name for video in videos[:4])
                found = f"{len(videos)} videos ({names}{', ...' if len(videos) > 4 else ''})"
                raise DataError(
                    f"{self.folder.folder(part)}: {found}; expected the {expected} videos of Ped2,"
                    " numbered from 1: give the folder of Ped2, whole"
                )
            self.places |= {f"{prefix}{number:03d}": (part, i) for i, number in enumerate(numbers)}
        paths = [path for pattern in SPANS for path in sorted(self.root.glob(pattern))]
        if not paths:
            raise DataError(
                f"{self.root}: no {' or '.join(SPANS)}; expected the abnormal frames of the test"
                " part, `video first last` a line, from 1, both in"
            )
        self.spans_path = paths[0]
        if "text" in self.asked:
            for part in PARTS:
                self.descriptions(part)
        self.ground_truth = (
            f"{self.spans_path.name} as published by TEVAD (spans one frame late), snippets of 16"
            " frames counted up"
        )
        self._spans: dict[str, np.ndarray] = {}

    def descriptions(self, part: str) -> Path:
        pattern = self.cfg.captions or DESCRIPTIONS
        if "{part}" not in pattern:
            raise DataError(
                f"config.data.captions = {pattern!r}: expected a name with {{part}} in it, for"
                f" train and test ({DESCRIPTIONS}): one file a part of the folder"
            )
        path = self.root / Path(pattern.replace("{part}", part)).expanduser()
        if not path.is_file():
            raise DataError(
                f"{path}: not found; expected descriptions of the {part} part's frames as JSON"
                " lines: see docs/data.md, or leave out the modality 'text'"
            )
        return path

    def annotation_files(self) -> list[Path]:
        return [self.spans_path]

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        names = Ped2Rules.train if split == "train" else Ped2Rules.test
        return [self.entry(name, split, int(name.startswith("Test"))) for name in names], []

    def spans(self, name: str) -> np.ndarray:
        """Abnormal frames of a video as the set states them: int64 [S, 2], half-open, from 0;
        none of a normal video."""
        if not self._spans:
            from gfvad.data.frames.truth import read_labels

            clips = sorted(clip for clip, (part, _) in self.places.items() if part == "test")
            names = [self.video(clip).name for clip in clips]
            labels = read_labels(self.spans_path, names, [self.frames(clip) for clip in clips])
            self._spans = {clip: spans_of(row) for clip, row in zip(clips, labels)}
            if normal := [clip for clip in clips if not len(self._spans[clip])]:
                raise DataError(
                    f"{self.spans_path}: no abnormal frames of {', '.join(normal)}; expected some"
                    " of every video of the test part"
                )
        return self._spans.get(name, EMPTY)

    def truth(self, entry: Entry, units: int) -> Truth:
        spans = {entry.name: self.spans(entry.name)}
        return ground_truth.ped2_truth(entry.name, units * SNIPPET, spans, self.frames(entry.name))

    def other_truths(self) -> Mapping[str, dict[str, np.ndarray]]:
        """Further ground truths in use, by name: {test video: uint8 [T] labels}, T no longer than
        `truth` has it.

        Counted down, the published labels of whole snippets; and the frames there are, labelled as
        the set itself states them.
        """
        down, own = {}, {}
        for name in (entry.name for entry in self.entries("test")):
            frames, spans = self.frames(name), self.spans(name)
            whole = ground_truth.snippets_down(frames)
            published = ground_truth.ped2_truth(name, whole, {name: spans}, frames)
            down[name] = ground_truth.labels(published)
            own[name] = ground_truth.labels(ground_truth.cut(spans, frames))
        return {"snippets counted down": down, "the set's own labels and lengths": own}

    def untrained(self) -> dict[str, dict[str, np.ndarray]]:
        """Scores [N] of the test videos' snippets by what needs no training, by name: the floors
        of optical flow, averaged over a snippet's frames."""
        places = {entry.name: self.places[entry.name] for entry in self.entries("test")}
        return {
            name: {
                video: self.part(part).floor(i, frames, side) for video, (part, i) in places.items()
            }
            for name, frames, side in FLOORS
        }
