"""A piece of a video of a split with synthetic events, as a split of one video."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

import numpy as np

from gfvad.base.types import ConfigError
from gfvad.data.captions import cache_folder
from gfvad.data.frames import decode, perturb
from gfvad.data.frames.clip_data import ClipData, Say, set_folder
from gfvad.data.frames.descriptions import Descriptions, embed_descriptions
from gfvad.data.frames.flow import FlowStore, array_flow
from gfvad.data.frames.frame_arrays import GivenArrays
from gfvad.data.frames.pieces import Piece, name_of
from gfvad.data.frames.store import fit

NO_TOKENS = (
    "config.score.weights is empty: with a frozen encoder's tokens the weights cannot be chosen on"
    " perturbed frames; expected one weight a term"
)
KEPT_BYTES = 1 << 29  # of decoded pieces that are remembered from one copy to the next


class Perturbable:
    """Pieces of a split's videos, decoded at their own size, of which changed copies are made.
    Raises ConfigError for a split with precomputed tokens: those of changed frames cannot be had.
    """

    def __init__(self, data: ClipData, pieces: Sequence[Piece], kinds: Sequence[str]):
        if data.tokens is not None:
            raise ConfigError(NO_TOKENS)
        self.data, self.pieces, self._kinds = data, pieces, tuple(kinds)
        cfg = data.config.data
        self._files = set_folder(cfg).videos(data.split)
        sizes = [decode.first_frame(self._files[p.video], cfg.channels).nbytes for p in pieces]
        most = max((size * (p.stop - p.start) for size, p in zip(sizes, pieces)), default=1)
        self._frames = lru_cache(max(1, KEPT_BYTES // most))(self._decode)

    def _decode(self, number: int) -> np.ndarray:
        video, start, stop = self.pieces[number]
        frames = decode.read_frames(self._files[video], self.data.config.data.channels)
        whole = np.stack(list(islice(frames, start, stop)))
        return whole[..., None] if whole.ndim == 3 else whole

    def copy(
        self, number: int, rng: np.random.Generator, say: Say
    ) -> tuple[ClipData, perturb.Perturbed]:
        """A copy of piece `number` with synthetic events (gfvad/data/frames/perturb.py), as a split
        of one video, and what was changed.

        Frames are changed at their own size, then brought to the model's; the flow is taken anew;
        changed descriptions are embedded.
        """
        data, piece = self.data, self.pieces[number]
        cfg = data.config.data
        texts = data.texts[piece.video][piece.start : piece.stop] if data.texts else None
        changed = perturb.perturb(self._frames(number), texts, rng, self._kinds)
        size = (cfg.height, cfg.width)
        frames = [fit(frame, size).reshape(*size, cfg.channels) for frame in changed.frames]
        given = lambda rows: GivenArrays([name_of(data, piece)], [rows], [data.fps[piece.video]])
        flow = None
        if data.flow is not None:
            assert isinstance(data.flow, FlowStore)  # of a split on disk
            flow = given(array_flow(changed.frames, data.flow.spec))
        text = None
        if changed.texts is not None:
            said = Descriptions((tuple(changed.texts),), np.zeros(1, np.int64))
            text = embed_descriptions(said, cfg.text_encoder, cache_folder(cfg), say)
        return ClipData(data.config, data.split, given(np.stack(frames)), flow, text, None), changed
