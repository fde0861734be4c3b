"""Text of a unit: the sentence embedding of its descriptions, from a file or from a vision-language model in a local folder."""
from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.data.video.layouts import match_names
from gfvad.extraction.encoders import Encoder, Plain
from gfvad.extraction.networks import file_hash, middle
from gfvad.extraction.units import FRAMES, Unit
from gfvad.types import ConfigError, DataError

ENCODERS = {"minilm": 384, "hash": 384}


class Described(Plain):
    """Mean over a unit's frames of their descriptions' embeddings.

    path: JSON lines (gfvad/data/video/descriptions.py), or the folder of an image-text-to-text model, which describes the middle frame.
    A frame without a description takes the last one before it, so nothing comes from the future; before the first one there is no text.
    """

    name = modality = "text"

    def __init__(self, path: str, encoder: str = "minilm", prompt: str = "") -> None:
        super().__init__()
        if encoder not in ENCODERS:
            raise ConfigError(f"encoder text: sentence encoder {encoder!r}; valid: {', '.join(ENCODERS)}")
        self.path, self.encoder, self.prompt, self.width = Path(path), encoder, prompt, ENCODERS[encoder]
        what = "JSON lines of descriptions, or the folder of a vision-language model"
        self.settings = {"path": path, "encoder": encoder, "prompt": prompt}
        if not self.path.is_dir():
            self.settings["sha256"] = file_hash(path, what)
        elif not (self.path / "config.json").is_file():
            raise DataError(f"{path}: a folder without config.json; expected {what}")
        self._texts: list[str | None] | None = None  # of the frames of one video, set by `of`

    @cached_property
    def _lines(self) -> list[Any]:
        from gfvad.data.video.descriptions import read_lines

        return list(read_lines(self.path))

    @cached_property
    def _sentences(self) -> Any:
        from gfvad.data import minilm  # imports jax

        return minilm.get_encoder(self.encoder)

    @cached_property
    def _captioner(self) -> Any:
        from gfvad.data.video.describe import load_captioner

        return load_captioner(self.path)

    def of(self, video: str) -> Encoder:
        if self.path.is_dir():
            return self
        bound = copy.copy(self)
        names = sorted({line.video for line in self._lines})
        place = match_names([video], names)[0]
        lines = [line for line in self._lines if place >= 0 and line.video == names[place]]
        texts: list[str | None] = [None] * max((line.end for line in lines), default=0)
        for line in sorted(lines, key=lambda line: (line.single, line.start, line.number)):
            texts[line.start - 1 : line.end] = [line.text] * (line.end - line.start + 1)
        bound._texts = texts
        return bound

    def encode(self, unit: Unit) -> np.ndarray | None:
        """float32 [D]; None where nothing was said yet."""
        if self._texts is None:
            from gfvad.data.video.describe import PROMPT

            return self._embed([self._captioner(middle(unit), self.prompt or PROMPT)])
        first = unit.index * FRAMES
        said = [self.said(t) for t in range(first, first + len(unit.frames))]
        said = [text for text in said if text]
        return self._embed(said) if said else None

    def said(self, frame: int) -> str | None:
        """The description of a frame (from 0): its own or the last before it."""
        return next((t for t in reversed(self._texts[: frame + 1]) if t), None)

    def _embed(self, texts: list[str]) -> np.ndarray:
        distinct = sorted(set(texts))
        vectors = np.asarray(self._sentences.encode(distinct), np.float32)
        return vectors[[distinct.index(t) for t in texts]].mean(0)
