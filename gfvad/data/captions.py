"""The modality 'text' from timed sentences: for a video of any layout, one sentence embedding a
unit."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np

from gfvad.base.files import present
from gfvad.base.progress import Progress
from gfvad.base.types import DataError
from gfvad.data import text
from gfvad.data.annotations import Videos
from gfvad.encoders.registry import SentenceEncoder, open_sentences


def cache_folder(data_cfg) -> Path:
    """Folder of embeddings already made: config.data.cache_dir, $GFVAD_CACHE, ~/.cache/gfvad, in
    this order."""
    folder = data_cfg.cache_dir or os.environ.get("GFVAD_CACHE") or "~/.cache/gfvad"
    return Path(folder).expanduser()


def captions_path(data_cfg, root: Path) -> Path | None:
    """The captions file of a config: relative to the root (or absolute), captions.json there by
    default; None where there is none.

    Raises DataError where one is named but absent.
    """
    folder = root if root.is_dir() else root.parent
    if data_cfg.captions:
        path = folder / Path(data_cfg.captions).expanduser()
        if not path.is_file():
            raise DataError(
                f"{path}: not found; expected the JSON of timed sentences named by"
                " config.data.captions (relative to config.data.root)"
            )
        return path
    path = folder / "captions.json"
    return path if present(path, "timed sentences") else None


def read_captions(path: Path) -> Videos:
    """{video: Captions} of a file, found by any spelling of a video's name. Raises DataError
    where a video stands under two."""
    table = Videos(path.name)
    for name, captions in text.load_captions(path).items():
        table.add(f"{path}, key {name!r}", name, captions)
    return table


class CaptionText:
    """Sentences of a set, and their embeddings when they are first asked for."""

    def __init__(self, path: Path, data_cfg, captions: Videos | None = None):
        """captions: of a file in another format; None: `path` is read as `read_captions` does."""
        self.path, self.assign = path, data_cfg.text_assign
        self.captions = read_captions(path) if captions is None else captions
        self._encoder_name, self._cache_dir = data_cfg.text_encoder, cache_folder(data_cfg)
        self._cache: text.TextCache | None = None

    @functools.cached_property
    def encoder(self) -> SentenceEncoder:
        """The sentence encoder (imports jax, so it is opened when needed only)."""
        return open_sentences(self._encoder_name)

    def get(self, name: str) -> text.Captions | None:
        """Captions of a video (in any spelling, with or without a leading 'v='); None where it
        has none."""
        return self.captions.get(name)

    def embed_all(self, names: list[str]) -> None:
        """Embeds every sentence of these videos in full batches (cached on disk); shows progress
        where there is much to do."""
        self._cache = text.open_cache(self._cache_dir, self.encoder)
        sentences = [s for captions in map(self.get, names) if captions for s in captions.sentences]
        missing = {text.text_key(self.encoder.id, s) for s in sentences} - set(self._cache.vectors)
        if len(missing) <= text.FLUSH:
            text.embed(sentences, self.encoder, self._cache)
            return
        with Progress(len(missing), "embedding", "sentences") as progress:
            told = lambda done, _: progress.advance(done - progress.done)
            text.embed(sentences, self.encoder, self._cache, told)

    @property
    def ready(self) -> bool:
        """True once `embed_all` has run."""
        return self._cache is not None

    def features(self, name: str, units: int, unit_frames: int, fps: float) -> np.ndarray:
        """float32 [1, N, D]: units of unit_frames / fps seconds, or, where either is unknown (0), N
        equal spans of the captions' duration.

        A video without captions gets zeros: no relation to anything.
        """
        captions = self.get(name)
        edges = np.linspace(0.0, captions.duration if captions else float(units), units + 1)
        if unit_frames and fps:
            edges = np.arange(units + 1) * (unit_frames / fps)
        spans = np.stack([edges[:-1], edges[1:]], axis=1)  # [N, 2] in seconds
        return text.text_features(captions, spans, self.encoder, self.assign, self._cache)[None]
