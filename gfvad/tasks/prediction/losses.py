"""Training losses of the predictive model: each term is one function, registered under its name
(`register_loss`), whose weight is `config.loss.NAME`; see gfvad/train/loss_terms.py.

Source: MemoryOut (arXiv 2506.02535) for frame, text and contrast; flow and pace are ours. Clips
with valid False count nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gfvad.base.types import ClipBatch
from gfvad.nn.blocks import pool_cells
from gfvad.tasks.prediction.model import Prediction, normalise_frames
from gfvad.tasks.prediction.pace import PACE_STRIDE
from gfvad.train.loss_terms import LossTerms, SumCount

EPSILON = 1e-8

LOSSES = LossTerms()


class Pace(NamedTuple):
    """What the pace network says of a batch of clips."""

    logits: jax.Array  # [B, h / 4, w / 4]
    moving: jax.Array  # bool, the same shape: see `moving_cells`


class LossInputs(NamedTuple):
    """What every term may look at: this device's clips, and what the model gave on them."""

    prediction: Prediction  # leading B
    paces: tuple[Pace, Pace] | None  # of the clips and of the faster ones; None without the network
    batch: ClipBatch
    cfg: Any  # config.loss
    frames: jax.Array  # [B, F + 1, h, w, C] in the model's unit, [-1, 1] of ours


def total_loss(
    prediction: Prediction,
    paces: tuple[Pace, Pace] | None,
    batch: ClipBatch,
    cfg: Any,
    axis_name: str | None = None,
    normalise: Callable[[jax.Array], jax.Array] = normalise_frames,
) -> tuple[jax.Array, Mapping[str, jax.Array]]:
    """Weighted sum of all active terms over the global batch.

    Args: as the fields of `LossInputs`; axis_name of the device mapping, None on one device;
    normalise: uint8 frames -> the unit that the model predicts frames in.
    Returns (scalar, {term: its unweighted global value}), both equal on every device.
    """
    frames = normalise(batch.features["frames"])
    inputs = LossInputs(prediction, paces, batch, cfg, frames)
    return LOSSES.total(inputs, cfg, axis_name)


def register_loss(name: str, default: float = 0.0) -> Callable:
    """Decorates the function of a new term, `LossInputs` -> value of each clip [B], or None where
    the model does not feed it. default: weight where config.loss has no such key. A term of weight
    0 is still logged."""

    def add(function: Callable[[LossInputs], jax.Array | None]) -> Callable:
        def over_clips(given: LossInputs) -> SumCount | None:
            values, valid = function(given), given.batch.valid
            if values is None:
                return None
            return jnp.where(valid, values, 0.0).sum(), valid.sum()

        over_clips.__qualname__ = function.__qualname__
        LOSSES.register(name, default, always=True)(over_clips)
        return function

    return add


@register_loss("frame")
def frame(given: LossInputs) -> jax.Array:
    """Error of the next frame."""
    return frame_error(given.prediction.frame, given.frames[:, -1])


@register_loss("contrast")
def contrast(given: LossInputs) -> jax.Array:
    """The next frame against the last one."""
    return motion_contrast(given.prediction.frame, given.frames[:, -1], given.frames[:, -2])


@register_loss("text")
def text(given: LossInputs) -> jax.Array | None:
    """Error of the next description."""
    if given.prediction.text is None:
        return None
    return text_error(given.prediction.text, given.batch.features["text_next"])


@register_loss("flow")
def flow(given: LossInputs) -> jax.Array | None:
    """Squared error of the next flow, in pixels a frame."""
    if given.prediction.flow is None:
        return None
    return jnp.square(given.prediction.flow - given.batch.features["flow"][:, -1]).mean((1, 2, 3))


@register_loss("pace")
def pace(given: LossInputs) -> jax.Array | None:
    """Cross entropy of the pace network, on clips and faster ones."""
    if given.paces is None:
        return None
    usual, fast = given.paces
    still = given.cfg.pace_still
    return 0.5 * (pace_error(usual, 0.0, still) + pace_error(fast, 1.0, still))


@register_loss("balance")
def balance(given: LossInputs) -> jax.Array:
    """Expert balance of the filters."""
    return jnp.broadcast_to(given.prediction.aux["balance"], given.batch.valid.shape)


def frame_error(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error of frames [B, h, w, C] in [-1, 1] -> [B]."""
    return jnp.square(predicted - target).mean((1, 2, 3))


def motion_contrast(predicted: jax.Array, target: jax.Array, last: jax.Array) -> jax.Array:
    """Mean of max(0, (p - next)^2 - (p - last)^2): the prediction must be nearer the next frame
    than the last. [B, h, w, C] -> [B]."""
    nearer_last = jnp.square(predicted - target) - jnp.square(predicted - last)
    return jnp.maximum(nearer_last, 0.0).mean((1, 2, 3))


def text_error(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """1 - cosine of embeddings [B, V] -> [B], in [0, 2]."""
    norm = lambda x: jnp.sqrt(jnp.square(x).sum(-1) + EPSILON)
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
    change = pool_cells(0.5 * jnp.abs(frames[1:] - frames[:-1]).mean((0, 3)), PACE_STRIDE)
    around = jax.lax.reduce_window(change, 0.0, jax.lax.add, (3, 3), (1, 1), "SAME") / 9.0
    return around > motion
