"""Files to be scored, without labels: any of the published layouts or one's own files, found by `loose.py`, captions beside them."""
from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from gfvad.data import annotations
from gfvad.data.ground_truth import EMPTY, SNIPPET, Truth
from gfvad.data.layouts import rules as rules_lib
from gfvad.data.layouts.base import Entry, Layout, Problem, find_files, some
from gfvad.data.layouts.frames import FrameInputs
from gfvad.data.layouts.loose import Found, Loose
from gfvad.data.layouts.ped2_weak import Ped2Weak
from gfvad.data.layouts.ucf_logits import FPS as LOGITS_FPS
from gfvad.types import DataError


class Inputs(Loose):
    """Every video is of the part 'test' with label -1, no spans, and 16 frames a unit where nothing says more."""

    kind = "input"

    def open(self) -> None:
        super().open()
        if self.cfg.layout == "ucf_logits":
            self.unit_frames, self.fps = 0, LOGITS_FPS  # its units are equal spans of a video, of whatever length

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        if split == "train":
            return [], []
        if self.root.suffix == ".csv":
            videos, problems = self._gather_csv()
        else:
            videos, problems = self._gather_npzs() if self._npz_folder() else self.gather(self.root)
        rules = {next((r for r in rules_lib.ALL if r.pattern.fullmatch(name)), None) for name in videos}
        if len(rules) == 1 and None not in rules:
            self.fps = rules.pop().fps
        return [Entry(name, "test", -1, (), found.files, found.row) for name, found in videos.items()], problems

    def _npz_folder(self) -> list[Path]:
        """The containers of a folder that has no .npy: those with an array name."""
        if not self.root.is_dir() or find_files(self.root):
            return []
        return [p for p in sorted(self.root.glob("*.npz")) if "name" in self.container(p).headers]

    def _gather_npzs(self) -> tuple[dict[str, Found], list[Problem]]:
        videos: dict[str, Found] = {}
        for path in self._npz_folder():
            more = self.gather(path)[0]
            if set(more) & set(videos):
                raise DataError(f"{path}: {some(set(more) & set(videos))} also in another .npz of the folder; expected each video once")
            videos |= more
        return videos, []

    def _gather_csv(self) -> tuple[dict[str, Found], list[Problem]]:
        """Files of a CSV with a column path (VadCLIP), found as written or below the CSV's folder."""
        rows = list(csv.reader(line for _, line in annotations.read_lines(self.root, "a CSV with a column path")))
        if "path" not in rows[0]:
            raise DataError(f"{self.root}: columns {','.join(rows[0])}; expected one named path")
        below = {p.name: p for p in find_files(self.folder)}
        written = [row[rows[0].index("path")] for row in rows[1:] if len(row) == len(rows[0])]
        paths = [Path(w) if Path(w).is_file() else below.get(Path(w.replace("\\", "/")).name) for w in written]
        lost = [w for w, p in zip(written, paths) if p is None]
        if lost:
            raise DataError(f"{self.root}: {len(lost)} files are neither there nor below {self.folder}: {some(lost)}; copy them there")
        return self._gather_npy(paths, Path(paths[0].anchor or "."))

    def truth(self, entry: Entry, units: int) -> Truth:
        captions = self.text.get(entry.name) if self.text and not self.unit_frames else None
        return Truth(max(1, round(captions.duration * self.fps)) if captions else units * SNIPPET, EMPTY, ())


def open_input(path: str | Path, modalities: Sequence[str], data_cfg, captions: str | Path | None = None) -> Layout:
    """A reader of features to score: a .npy, an .npz, a CSV of paths, or a folder (of any layout), its videos in entries('test').

    modalities: those of the trained model. data_cfg: config.data of its run (layout, text encoder and assignment, cache). captions: the
    JSON of timed sentences for the modality 'text' (default: captions.json beside the features).
    Raises DataError where nothing is there, a modality or the captions are missing, or files do not say which modality they are of.
    """
    cfg = data_cfg.copy_and_resolve_references()
    cfg.root, cfg.modalities = str(path), tuple(modalities)
    cfg.captions = str(Path(captions).expanduser().resolve()) if captions else ""
    layout = FrameInputs(cfg) if cfg.layout == Ped2Weak.kind else Inputs(cfg)
    if not layout.entries("test"):
        raise DataError(f"{path}: no videos; expected features of {', '.join(modalities)}")
    return layout
