"""DE-Net: dynamic erasing network on multi-scale temporal features (Zhang et al., 2023), written
from its description.

    features side by side [N, D] -> four convolutions over time side by side, kernels 1, 3, 5 and 7,
    ReLU, 128 each, each followed by a transformer encoder of its own (pre-norm, 4 heads, 128 - 256
    - 128) -> [N, 512] -> 512 - 32 - 1, ReLU and dropout 0.6 between

In training there is a second pass. What was found in a video is incomplete where its k = n // 16 +
1 highest scores, of n units, hold more than half of the sum of all its scores: where they fade into
the rest, the event has been found as a whole. Of an incomplete video these k units are erased, for
the second pass as if the video did not have them. Losses (weights in brackets):

de_net_score   [1]  cross entropy of the mean of the k highest scores
de_net_erased  [1]  of incomplete abnormal videos: the same of the second pass, with the number of
                    units that are left

What the description leaves open and is decided here: kernels, widths, when a video is incomplete,
weights, and the optimiser (that of HL-Net, 3,000 steps, 32 + 32 videos). No gradient flows through
what is erased. The model scores by its first pass.
"""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.base.types import Output
from gfvad.nn.blocks import Block
from gfvad.nn.temporal_conv import TemporalConv
from gfvad.tasks.fusion.comparators.ranking import (
    number_of,
    over,
    parts_of,
    top_weights,
    video_entropy,
)
from gfvad.tasks.fusion.content import ContentModel
from gfvad.tasks.fusion.losses import LossInputs, register_loss
from gfvad.train.loss_terms import SumCount

NAME = "de_net"
KERNELS, WIDTH, HEADS = (1, 3, 5, 7), 128, 4
HIDDEN, DROPOUT = (512, 32), 0.6
COMPLETE = 0.5  # most of the sum of scores that the highest of a completely found event hold


class Scales(nn.Module):
    """Features of several scales of time -> logits of units."""

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
        """[N, D], bool [N] -> [N], 0 at units that are not there."""
        x = jnp.where(mask[:, None], x, 0.0)
        far = jnp.where(mask, 0.0, jnp.finfo(x.dtype).min / 2)
        bias = jnp.broadcast_to(far, (HEADS, x.shape[0], x.shape[0]))
        found = []
        for width in KERNELS:
            y = nn.relu(TemporalConv(WIDTH, width, width // 2, name=f"scale_{width}")(x))
            found.append(Block(HEADS, name=f"encoder_{width}")(y, bias))
        y = jnp.concatenate(found, -1)
        for i, width in enumerate(HIDDEN):
            y = nn.relu(nn.Dense(width, name=f"hidden_{i}")(y))
            y = nn.Dropout(DROPOUT, deterministic=not train)(y)
        return jnp.where(mask, nn.Dense(1, name="logit")(y)[:, 0], 0.0)


def erased(logits: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(bool [N] the units that are left, bool [] whether the video is incomplete) of logits [N]; no
    gradient flows through it."""
    score = jnp.where(mask, jax.nn.sigmoid(jax.lax.stop_gradient(logits)), 0.0)
    highest = top_weights(score, mask, number_of(mask)) > 0
    rest = mask & ~highest
    incomplete = (highest * score).sum() > COMPLETE * score.sum()
    return jnp.where(incomplete, rest, mask), incomplete & rest.any()


class DENet(ContentModel):
    """Collections: 'params', and 'constants' (feature statistics, never trained). Random stream:
    'dropout'."""

    @nn.compact
    def __call__(
        self, features: Mapping[str, jax.Array], mask: jax.Array, *, train: bool
    ) -> Output:
        """features {m: [N, D_m]}, mask bool [N] -> Output(logits [N], graph [0, N, N], aux): aux,
        in training, is 'de_net/...': logits of the second pass [N], its units [N], incomplete []"""
        self.check_shapes(features, mask)
        raw, _, _ = self.standardise_features(features, mask, train)
        x, network = jnp.concatenate(list(raw.values()), -1), Scales(name="network")
        logits = network(x, mask, train)
        graph = jnp.zeros((0, *mask.shape, *mask.shape), logits.dtype)
        if not train:
            return Output(logits, graph, {})
        left, incomplete = erased(logits, mask)
        aux = {"logits": network(x, left, train), "left": left, "incomplete": incomplete}
        return Output(logits, graph, {f"{NAME}/{name}": value for name, value in aux.items()})


@register_loss("de_net_score", default=1.0)
def score_entropy(given: LossInputs) -> SumCount | None:
    """Of the first pass."""
    if parts_of(given.output, NAME) is None:
        return None
    return over(video_entropy(given.output.logits, given.mask, given), given.known)


@register_loss("de_net_erased", default=1.0)
def erased_entropy(given: LossInputs) -> SumCount | None:
    """Of the second pass, which has to find the rest of an event."""
    if (found := parts_of(given.output, NAME)) is None:
        return None
    values = video_entropy(found["logits"], found["left"] & given.mask, given)
    return over(values, given.abnormal & found["incomplete"])
