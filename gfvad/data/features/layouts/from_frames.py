"""Features from the frames themselves: motion, appearance and text of every 16 frames of a video
(`gfvad/data/frames/snippets.py`).

Frames need the video extras (OpenCV, PyAV), which are imported when features are read, not before.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gfvad.base.seals import file_hash, lines_hash
from gfvad.base.types import DataError
from gfvad.data.captions import cache_folder
from gfvad.data.features.layouts import arrays
from gfvad.data.features.layouts.base import Layout
from gfvad.data.features.layouts.entries import SPLITS, Entry, Problem
from gfvad.data.frames import video_folders as videos_lib
from gfvad.data.ground_truth import EMPTY, SNIPPET, Truth

if TYPE_CHECKING:
    from gfvad.data.frames.snippet_store import SnippetFeatures

VERSION = 1  # of the features: records of another one are made anew
MODALITIES = ("motion", "appearance", "text")


class Frames(Layout):
    """Base of the layouts that read frames. A video's snippets are counted up: the last may hold
    fewer than 16 frames, and counts as 16.

    `places` {video: (part of the folder, index in it)} is for a layout to fill in when it opens; a
    part is 'train' or 'test', as the folder has them.
    """

    dims = dict.fromkeys(MODALITIES, 0)
    video_layout = "auto"  # of gfvad/data/frames/video_folders.py

    def open(self) -> None:
        if not self.root.exists() or (self.root.is_dir() and not any(self.root.iterdir())):
            raise DataError(
                f"{self.root}: {'an empty folder' if self.root.exists() else 'not found'}; expected"
                " frames, see docs/data.md (section ped2_weak)"
            )
        self.folder = videos_lib.open_layout(self.video_layout, self.root)
        self.places: dict[str, tuple[str, int]] = {}
        self._parts: dict[str, SnippetFeatures] = {}
        self._read: dict[tuple[str, str], np.ndarray] = {}

    def descriptions(self, part: str) -> Path | None:
        """JSON lines of the descriptions of a part's frames; None where the modality text is not
        asked for."""
        raise TypeError(f"layout {self.kind!r} defines no descriptions")

    # ---- for everyone

    def video(self, name: str) -> videos_lib.VideoFile:
        """The frames of a video on disk."""
        part, index = self.places[name]
        return self.folder.videos(part)[index]

    def part(self, part: str) -> SnippetFeatures:
        """Features of one part of the folder. Nothing is computed before a video is read."""
        from gfvad.data.frames.cache import Cache
        from gfvad.data.frames.snippet_store import SnippetFeatures

        if part not in self._parts:
            text = self.descriptions(part) if "text" in self.asked else None
            cache = Cache(cache_folder(self.cfg))
            self._parts[part] = SnippetFeatures(
                self.folder, part, cache, text, self.cfg.text_encoder
            )
        return self._parts[part]

    def claims(self, entry: Entry) -> dict[str, str]:
        return {}  # a layout of frames says by `places` how it takes the folder's own parts

    def entry(self, name: str, split: str, label: int) -> Entry:
        """Entry of a video; every modality comes from its frames."""
        files = {m: self.video(name).sources() for m in self.on_disk}
        return Entry(name, split, label, (), files, self.places[name][1])

    def frames(self, name: str) -> int:
        """Frames T of a video on disk."""
        from gfvad.data.frames.snippet_store import frame_count

        return frame_count(self.video(name))

    def headers(self, entry: Entry, modality: str) -> list[tuple[Path, arrays.Header]]:
        shape = (-(-self.frames(entry.name) // SNIPPET), self._first_dim(modality))
        header = arrays.Header(shape, np.dtype(np.float32), False, 0, 4 * shape[0] * shape[1])
        return [(self.video(entry.name).path, header)]

    def _first_dim(self, modality: str) -> int:
        from gfvad.data.frames.snippet_store import width

        return width(modality, self.cfg.text_encoder)

    def read(self, entry: Entry, modality: str) -> np.ndarray:
        key = entry.name, modality
        if key not in self._read:
            part, index = self.places[entry.name]
            self._read[key] = self.part(part).read(index, modality)[None]
        return self._read[key]

    def fingerprint(self) -> str:
        """Hash of the choices, the frames (names, sizes, times), the descriptions and the
        annotation (content)."""
        encoder = self.cfg.text_encoder if "text" in self.asked else ""
        lines = [self.kind, self.name, *self.asked, f"version {VERSION}", encoder]
        lines.append(str(self.unit_frames))
        parts = dict.fromkeys(part for part, _ in self.places.values())
        lines += [videos_lib.fingerprint(self.folder.videos(part)) for part in parts]
        texts = [self.descriptions(part) for part in parts] if "text" in self.asked else []
        for path in filter(None, [*self.annotation_files(), *texts]):
            lines.append(f"{path.name} {file_hash(path)}")
        for split in SPLITS:
            lines += [f"{split} {entry.name} {entry.label}" for entry in self.entries(split)]
        return lines_hash(lines)


class FrameInputs(Frames):
    """Videos to score, without labels: a folder of frames or of videos, or one video file; all
    of it is the part 'test'."""

    kind = "input"
    video_layout = "any"
    missing: dict[str, str] = {}  # as of `Inputs`: frames lack nothing
    gaps: dict[str, list[str]] = {}

    def warnings(self) -> list[str]:
        """What scores will be made without, a line each."""
        return []

    def open(self) -> None:
        super().open()
        self.places = {v.name: ("test", i) for i, v in enumerate(self.folder.videos("test"))}

    def descriptions(self, part: str) -> Path:
        path = Path(self.cfg.captions) if self.cfg.captions else None
        if path is None or not path.is_file():
            found = f"{path}: not found" if path else "none given"
            raise DataError(
                f"{self.root}: the model reads descriptions, {found}; give them by --captions=FILE"
                " (JSON lines, docs/data.md) or train without 'text'"
            )
        return path

    def scan(self, split: str) -> tuple[list[Entry], list[Problem]]:
        if split == "test" and "text" in self.asked:
            self.descriptions("test")
        return [self.entry(name, "test", -1) for name in self.places] if split == "test" else [], []

    def truth(self, entry: Entry, units: int) -> Truth:
        # scores are wanted for the frames there are
        return Truth(self.frames(entry.name), EMPTY, ())
