"""A video of a split with synthetic events, as a split of one video."""

from __future__ import annotations

import numpy as np

from gfvad.base.types import ConfigError
from gfvad.data.captions import cache_folder
from gfvad.data.frames import decode, perturb
from gfvad.data.frames.clip_data import ClipData, Say, set_root
from gfvad.data.frames.descriptions import Descriptions, embed_descriptions
from gfvad.data.frames.flow import FlowStore, array_flow
from gfvad.data.frames.frame_arrays import GivenArrays
from gfvad.data.frames.store import fit
from gfvad.data.frames.video_folders import open_layout

NO_TOKENS = (
    "config.score.weights is empty: with a frozen encoder's tokens the weights cannot be chosen on"
    " perturbed frames; expected one weight a term"
)


def perturbed(
    data: ClipData, video: int, rng: np.random.Generator, say: Say
) -> tuple[ClipData, np.ndarray]:
    """A video of a split with synthetic events (gfvad/data/frames/perturb.py), as a split of
    one video, and the frame labels [T] of the events.

    Frames are changed at their own size, then brought to the model's; the flow is taken anew;
    changed descriptions are embedded. Precomputed tokens of changed frames cannot be had: raises
    ConfigError for a config with them.
    """
    cfg = data.config.data
    if data.tokens is not None:
        raise ConfigError(NO_TOKENS)
    file = open_layout(cfg.layout, set_root(cfg)).videos(data.split)[video]
    whole = np.stack(list(decode.read_frames(file, cfg.channels)))
    whole = whole[..., None] if whole.ndim == 3 else whole
    changed = perturb.perturb(whole, data.texts[video] if data.texts is not None else None, rng)
    size = (cfg.height, cfg.width)
    frames = np.stack([fit(frame, size).reshape(*size, cfg.channels) for frame in changed.frames])
    given = lambda rows: GivenArrays([data.names[video]], [rows], [data.fps[video]])
    flow = None
    if data.flow is not None:
        assert isinstance(data.flow, FlowStore)  # of a split on disk
        flow = given(array_flow(changed.frames, data.flow.spec))
    text = None
    if changed.texts is not None:
        said = Descriptions((tuple(changed.texts),), np.zeros(1, np.int64))
        text = embed_descriptions(said, cfg.text_encoder, cache_folder(cfg), say)
    return ClipData(data.config, data.split, given(frames), flow, text, None), changed.labels
