"""Pieces of long videos: what stands for a split where all of it would take too long to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gfvad.data.frames.clip_data import ClipData
from gfvad.data.frames.frame_arrays import GivenArrays

PIECE = 250  # frames of a piece


class Piece(NamedTuple):
    """Frames start .. stop (half-open) of a video of a split, by its index."""

    video: int
    start: int
    stop: int


def spread_pieces(
    lengths: np.ndarray, videos: Sequence[int] | np.ndarray, frames: int, piece: int = PIECE
) -> list[Piece]:
    """Pieces of the videos, as many as stay within a number of frames, evenly spread over all
    their frames; the whole videos where these have no more.

    Args: lengths: frames of each video of the split [V]; videos: those that are meant. A piece lies
    in one video, and is shorter than `piece` only where its video is.
    """
    videos = [int(v) for v in videos]
    ends = np.cumsum([int(lengths[v]) for v in videos])
    if not len(ends) or ends[-1] <= frames:
        return [Piece(v, 0, int(lengths[v])) for v in videos]
    count = max(1, frames // piece)
    middles = (np.arange(count) + 0.5) * ends[-1] / count
    found = []
    for middle in middles.astype(int):
        place = int(np.searchsorted(ends, middle, "right"))
        length = int(lengths[videos[place]])
        start = int(middle) - (int(ends[place]) - length) - piece // 2
        start = max(0, min(start, length - piece))
        found.append(Piece(videos[place], start, min(length, start + piece)))
    return list(dict.fromkeys(found))  # of short videos the same one may be met twice


def cut_pieces(data: ClipData, pieces: Sequence[Piece]) -> ClipData:
    """The pieces as a split of its own, in their order; a clip at the start of one repeats its
    first frame, as at the start of a video."""

    def given(arrays) -> GivenArrays:
        rows = [arrays.clip(p.video, np.arange(p.start, p.stop)) for p in pieces]
        return GivenArrays(names, rows, [data.fps[p.video] for p in pieces])

    names = [name_of(data, piece) for piece in pieces]
    text = texts = None
    if data.text is not None:
        at = [data.offsets[p.video] for p in pieces]
        rows = [data.text[o + p.start : o + p.stop] for o, p in zip(at, pieces)]
        text = np.concatenate(rows)
    if data.texts is not None:
        texts = [data.texts[p.video][p.start : p.stop] for p in pieces]
    tokens = None if data.tokens is None else given(data.tokens)
    flow = None if data.flow is None else given(data.flow)
    return ClipData(data.config, data.split, given(data.frames), flow, text, tokens, texts)


def name_of(data: ClipData, piece: Piece) -> str:
    """The video's name, with the frames (from 1) of what is not the whole of it."""
    name, (video, start, stop) = data.names[piece.video], piece
    whole = (start, stop) == (0, int(data.lengths[video]))
    return name if whole else f"{name}, frames {start + 1} to {stop}"
