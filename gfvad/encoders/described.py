"""Text of a unit: the sentence embedding of its descriptions, from a file or from a
vision-language model in a local folder."""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from gfvad.base.names import match_names, matched
from gfvad.base.seals import file_hash
from gfvad.base.types import ConfigError, DataError
from gfvad.encoders.captioner import PROMPT, Captioner, load_captioner
from gfvad.encoders.description_lines import Line, read_lines, require_once
from gfvad.encoders.registry import ENCODERS, UnitEncoder, find_encoder, open_sentences
from gfvad.encoders.units import FRAMES, Unit


class Described(UnitEncoder):
    """Mean over a unit's frames of their descriptions' embeddings.

    path: JSON lines (description_lines.py), or the folder of an image-text-to-text
    model, which describes the middle frame. A frame without a description takes the last one before
    it, so nothing comes from the future; before the first one there is no text.
    Raises DataError for a file with a line that cannot be read, or with two descriptions of one
    frame.
    """

    name = modality = "text"

    def __init__(self, path: str, encoder: str = "minilm", prompt: str = "") -> None:
        super().__init__()
        if find_encoder(encoder, "sentences") is None:
            raise ConfigError(
                f"encoder text: sentence encoder {encoder!r}; valid:"
                f" {', '.join(ENCODERS['sentences'])}"
            )
        self.path, self.encoder, self.prompt = Path(path), encoder, prompt or PROMPT
        what = "JSON lines of descriptions, or the folder of a vision-language model"
        self.settings = {"path": path, "encoder": encoder, "prompt": prompt}
        if not self.path.is_dir():
            self.settings["sha256"] = file_hash(path, what)
        elif not (self.path / "config.json").is_file():
            raise DataError(f"{path}: a folder without config.json; expected {what}")
        self._lines = [] if self.path.is_dir() else list(read_lines(self.path))
        if not self._lines and not self.path.is_dir():
            raise DataError(f"{self.path}: empty; expected descriptions, a JSON object a line")
        require_once(self.path, self._lines)
        self._names = sorted({line.video for line in self._lines})
        self._own: list[Line] = []  # lines of one video, set by `of`
        self._begins: list[int] = []  # frames from which on another text holds, from 1
        self._texts: list[str | None] = []  # from each of these

    @cached_property
    def width(self) -> int:
        """D of the sentence encoder."""
        return open_sentences(self.encoder).width

    @cached_property
    def _captioner(self) -> Captioner:
        return load_captioner(self.path)

    def of(self, video: str) -> UnitEncoder:
        if self.path.is_dir():
            return self
        bound, place = copy.copy(self), match_names([video], self._names)[0]
        name = self._names[place] if place >= 0 else None
        bound._own = [line for line in self._lines if line.video == name]
        bounds = sorted({t for line in bound._own for t in (line.start, line.end + 1)})
        texts: list[str | None] = [None] * len(bounds)
        for line in sorted(bound._own, key=lambda line: (line.single, line.start, line.number)):
            first, last = (bisect_left(bounds, t) for t in (line.start, line.end + 1))
            texts[first:last] = [line.text] * (last - first)
        for i in range(1, len(texts)):
            texts[i] = texts[i] or texts[i - 1]
        bound._begins, bound._texts = bounds, texts
        return bound

    def about(self, videos: Sequence[str]) -> str:
        """Which descriptions are of none of these videos. Raises DataError where all are."""
        if self.path.is_dir():
            return ""
        places = match_names(videos, self._names)
        fits = [self._names[place] for place in places if place >= 0]
        known = dict.fromkeys((*videos, *fits))
        note = matched(str(self.path), dict.fromkeys(self._names), known, "sets of descriptions")
        return f"{self.path}: {note}" if note else ""

    def require_frames(self, frames: int) -> None:
        """Raises DataError where a description is of a frame behind the end of its video."""
        for line in self._own:
            if line.end > frames:
                raise DataError(
                    f"{self.path}, line {line.number}: frames {line.start} to {line.end} of video"
                    f" {line.video!r}, which has frames 1 to {frames}; expected frames of the"
                    " video, counted from 1: correct the line, or give the file that belongs to"
                    " the video"
                )

    def encode(self, unit: Unit) -> np.ndarray | None:
        """float32 [D]; None where nothing was said yet."""
        if not self._lines:
            return self._embed([self._captioner(unit.middle, self.prompt)])
        first = unit.index * FRAMES
        said = [self.said(t) for t in range(first, first + len(unit.frames))]
        said = [text for text in said if text]
        return self._embed(said) if said else None

    def said(self, frame: int) -> str | None:
        """The description of a frame (from 0): its own or the last before it."""
        at = bisect_right(self._begins, frame + 1) - 1
        return self._texts[at] if at >= 0 else None

    def _embed(self, texts: list[str]) -> np.ndarray:
        distinct = sorted(set(texts))
        vectors = np.asarray(open_sentences(self.encoder).encode(distinct), np.float32)
        return vectors[[distinct.index(t) for t in texts]].mean(0)
