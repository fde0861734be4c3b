"""Training losses of the predictive model. Each is a (sum, count) pair over the clips of a batch,
divided once, over all devices.

Source: MemoryOut (arXiv 2506.02535) for frame, text and contrast; flow and pace are ours. Clips
with valid False count nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gfvad.base.types import ClipBatch
from gfvad.nn.blocks import pool_cells
from gfvad.tasks.fusion.losses import SumCount, across, divide
from gfvad.tasks.prediction.model import PACE_STRIDE, Prediction, normalise_frames

EPSILON = 1e-8


class Pace(NamedTuple):
    """What the pace network says of a batch of clips."""

    logits: jax.Array  # [B, h / 4, w / 4]
    moving: jax.Array  # bool, the same shape: see `moving_cells`


def total_loss(
    prediction: Prediction,
    paces: tuple[Pace, Pace] | None,
    batch: ClipBatch,
    cfg: Any,
    axis_name: str | None = None,
) -> tuple[jax.Array, Mapping[str, jax.Array]]:
    """Weighted sum of all active terms over the global batch.

    Args: prediction batched over B; paces: of the clips and of the faster ones, None without the
    pace network; cfg = config.loss. Returns (scalar, {term: its unweighted global value}), both
    equal on every device.
    """
    frames, valid = normalise_frames(batch.features["frames"]), batch.valid
    last, target = frames[:, -2], frames[:, -1]
    terms: dict[str, tuple[float, jax.Array]] = {
        "frame": (cfg.frame, frame_error(prediction.frame, target)),
        "contrast": (cfg.contrast, motion_contrast(prediction.frame, target, last)),
    }
    if prediction.text is not None:
        terms["text"] = (cfg.text, text_error(prediction.text, batch.features["text_next"]))
    if prediction.flow is not None:
        terms["flow"] = (
            cfg.flow,
            jnp.square(prediction.flow - batch.features["flow"][:, -1]).mean((1, 2, 3)),
        )
    if paces is not None:
        terms["pace"] = (
            cfg.pace,
            0.5
            * (
                pace_error(paces[0], 0.0, cfg.pace_still)
                + pace_error(paces[1], 1.0, cfg.pace_still)
            ),
        )
    terms["balance"] = (cfg.balance, jnp.broadcast_to(prediction.aux["balance"], valid.shape))
    values = {
        name: divide(*across(over_clips(value, valid), axis_name))
        for name, (_, value) in terms.items()
    }
    return sum(weight * values[name] for name, (weight, _) in terms.items()), values


def over_clips(values: jax.Array, valid: jax.Array) -> SumCount:
    """[B] and bool [B] -> (sum over valid clips, their number)."""
    return jnp.where(valid, values, 0.0).sum(), valid.sum()


def frame_error(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error of frames [B, h, w, C] in [-1, 1] -> [B]."""
    return jnp.square(predicted - target).mean((1, 2, 3))


def motion_contrast(predicted: jax.Array, target: jax.Array, last: jax.Array) -> jax.Array:
    """Mean of max(0, (p - next)^2 - (p - last)^2): the prediction must be nearer the next frame
    than the last. [B, h, w, C] -> [B]."""
    return jnp.maximum(jnp.square(predicted - target) - jnp.square(predicted - last), 0.0).mean(
        (1, 2, 3)
    )


def text_error(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """1 - cosine of embeddings [B, V] -> [B], in [0, 2]."""
    norm = lambda x: jnp.sqrt(jnp.square(x).sum(-1) + EPSILON)  # noqa: E731
    return 1.0 - (predicted * target).sum(-1) / (norm(predicted) * norm(target))


def pace_error(pace: Pace, fast: float, still: float) -> jax.Array:
    """Cross entropy of pace logits -> [B]: moving cells of a fast clip (fast = 1) are 1, all others
    0.

    Cells that do not move have nothing to tell the pace by and count `still`.
    """
    weight = jnp.where(pace.moving, 1.0, still)
    target = jnp.where(pace.moving, fast, 0.0)
    entropy = jax.nn.softplus(pace.logits) - target * pace.logits
    # 0 where nothing moves and still is 0
    return (weight * entropy).sum((1, 2)) / jnp.maximum(weight.sum((1, 2)), EPSILON)


def moving_cells(frames: jax.Array, motion: float) -> jax.Array:
    """bool [h / 4, w / 4]: where frames [F + 1, h, w, C] in [-1, 1] change: the mean absolute
    difference from frame to frame around a cell (3 x 3 cells) is above `motion` (pixels in
    0..1)."""
    change = 0.5 * jnp.abs(frames[1:] - frames[:-1]).mean((0, 3))
    around = (
        jax.lax.reduce_window(
            pool_cells(change, PACE_STRIDE), 0.0, jax.lax.add, (3, 3), (1, 1), "SAME"
        )
        / 9.0
    )
    return around > motion
