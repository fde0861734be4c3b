"""Descriptions of frames or clips by a vision-language model: JSON lines -> one text a frame -> one
embedding a frame.

The lines: gfvad/encoders/description_lines.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.names import match_names, near, some
from gfvad.base.progress import Progress
from gfvad.base.types import DataError
from gfvad.data import text
from gfvad.data.frames.cache import Say, say_on_stderr
from gfvad.data.frames.clips import Lengths
from gfvad.encoders.description_lines import Line, read_lines
from gfvad.encoders.registry import open_sentences


class Descriptions(NamedTuple):
    """One text a frame for V videos."""

    texts: tuple[tuple[str, ...], ...]  # V x T_i
    # int64 [V] frames without a description of their own, which took a neighbour's
    filled: np.ndarray

    def report(self, names: Sequence[str]) -> str:
        """Which videos took how many texts from a neighbour, for a message; '' where none did."""
        took = [f"{names[i]} ({n})" for i, n in enumerate(self.filled) if n]
        total = int(self.filled.sum())
        said = f"{total} frames without a description take the last one before them: {some(took)}"
        return said if took else ""


def read_descriptions(
    path: str | os.PathLike,
    names: Sequence[str],
    lengths: Lengths,
    lines: Sequence[Line] | None = None,
) -> Descriptions:
    """The text of every frame of the videos `names` [V] with `lengths` [V] frames. lines: of the
    file, only these (None: all).

    Of descriptions that overlap, a frame's own (`frame`) wins, then the clip that starts last. A
    frame without any takes the last description before it, so nothing comes from the future; only
    the frames before a video's first description take that one. `filled` counts both. Video names
    are matched as `names.match_names` does ('Test001' is '01').
    Raises DataError for an unreadable file, a bad line, an unknown video, a frame outside its
    video, two texts of one frame, a video without any.
    """
    path = Path(path)
    texts: list[list[str | None]] = [[None] * int(length) for length in lengths]
    known: dict[str, int] = {}
    own: set[tuple[int, int]] = set()
    # clips in order of their starts, then single frames: what is written later wins
    for line in sorted(
        read_lines(path) if lines is None else lines,
        key=lambda line: (line.single, line.start, line.number),
    ):
        where = f"{path}, line {line.number}"
        if line.video not in known:
            known[line.video] = match_names([line.video], names)[0]
        i = known[line.video]
        if i < 0:
            raise DataError(
                f"{where}: unknown video {line.video!r}{near(line.video, names)}; expected one of"
                f" {some(names)}: one file a split, with the videos' names"
            )
        if not 1 <= line.start <= line.end <= len(texts[i]):
            raise DataError(
                f"{where}: frames {line.start} to {line.end} of video {line.video!r}, which has"
                f" frames 1 to {len(texts[i])}; expected frames of the video, counted from 1"
            )
        if line.single and (i, line.start) in own:
            raise DataError(
                f"{where}: frame {line.start} of video {line.video!r} is described twice; expected"
                " once: remove one line"
            )
        own |= {(i, line.start)} if line.single else set()
        texts[i][line.start - 1 : line.end] = [line.text] * (line.end - line.start + 1)
    empty = [name for name, row in zip(names, texts) if not any(row)]
    if empty:
        raise DataError(
            f"{path}: no description of {len(empty)} videos, e.g. {empty[0]!r}; expected at least"
            " one a video: describe them or leave the text out"
        )
    return Descriptions(
        tuple(tuple(fill(row)) for row in texts),
        np.array([row.count(None) for row in texts], np.int64),
    )


def describe_one(path: str | os.PathLike, name: str, frames: int) -> Descriptions:
    """The text of every frame of one video, from a file that may describe others too. Raises
    DataError as `read_descriptions`."""
    lines = list(read_lines(Path(path)))
    known = list(dict.fromkeys(line.video for line in lines))
    found = match_names([name], known)[0]
    if found < 0:
        raise DataError(
            f"{path}: no description of video {name!r}; found {', '.join(known[:8]) or 'none'}: add"
            " lines of it"
        )
    return read_descriptions(
        path, [known[found]], [frames], [line for line in lines if line.video == known[found]]
    )


def fill(texts: Sequence[str | None]) -> list[str]:
    """Each gap takes the last text before it; a leading gap the first one after it. At least one
    text is there."""
    last = next(t for t in texts if t is not None)
    filled = []
    for t in texts:
        last = last if t is None else t
        filled.append(last)
    return filled


def embed_descriptions(
    descriptions: Descriptions,
    encoder_name: str,
    cache: str | os.PathLike | None,
    say: Say = say_on_stderr,
) -> np.ndarray:
    """Embeddings float32 [T_total, D] of every frame's text, video after video, unit norm; each
    distinct text is embedded once and cached.

    encoder_name: 'minilm' or 'hash' (gfvad/encoders/registry.py). Texts longer than the
    encoder reads are cut at their end, and `say` tells how many. Raises ConfigError for another
    encoder, DataError where its weights are missing.
    """
    encoder = open_sentences(encoder_name)
    store = text.open_cache(cache, encoder)
    texts = [t for video in descriptions.texts for t in video]
    missing = sorted({t for t in set(texts) if text.text_key(encoder.id, t) not in store.vectors})
    if missing:
        cut = encoder.count_cut(missing)
        if cut:
            say(
                f"text: {cut} of {len(missing)} descriptions are longer than the {encoder.longest}"
                " tokens the encoder reads; their ends are cut off"
            )
        with Progress(len(missing), "embedding", "descriptions") as progress:
            text.embed(
                missing, encoder, store, lambda done, _: progress.advance(done - progress.done)
            )
    return text.embed(texts, encoder, store)
