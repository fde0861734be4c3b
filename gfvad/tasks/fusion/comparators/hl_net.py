"""HL-Net: holistic and localized network (Wu et al., ECCV 2020), written from its description.

    features side by side [N, D] -> 512 - 128, ReLU and dropout 0.6 each: h [N, 128]
    approximator: 128 - 64, ReLU, then a convolution over a unit and the 4 before it: online logit
    three branches of two graph convolutions, 128 - 32 - 32, ReLU, dropout between: G X W + residual
    (a convolution of kernel 5 where the width changes), with the graphs
        similarity   softmax over each row of the cosine of raw features, 0 where it is at most 0.7
        distance     exp(-|i - j| / e)
        score        softmax over each row of sigmoid((1 - |s_i - s_j| - 0.5) / 0.1), s the online
                     score, through which no gradient flows
    -> the three side by side, 96 - 1: logit

Losses (A score of a video is the mean of its k = n // 16 + 1 highest unit scores; weights in
brackets):

hl_net_score        [1]  cross entropy of the video score
hl_net_online       [1]  the same of the online logits
hl_net_distillation [5]  -s log(online score), s the score as a fixed target, mean over units
"""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.base.types import Output
from gfvad.nn.temporal_conv import TemporalConv
from gfvad.tasks.fusion.comparators.ranking import (
    mean_of_units,
    over,
    parts_of,
    video_entropy,
)
from gfvad.tasks.fusion.content import ContentModel
from gfvad.tasks.fusion.losses import LossInputs, register_loss
from gfvad.train.loss_terms import SumCount

NAME = "hl_net"
HIDDEN, WIDTH, ONLINE, OUT = 512, 128, 64, 32
DROPOUT = 0.6
PAST, REACH = 4, 2  # units before one that the approximator sees; on either side, of a residual
ALIKE, MIDDLE, STEEPNESS = 0.7, 0.5, 0.1


def rows_to_one(graph: jax.Array, mask: jax.Array) -> jax.Array:
    """Softmax over the real units of each row."""
    return jax.nn.softmax(jnp.where(mask[None], graph, jnp.finfo(graph.dtype).min), -1)


def similarity_graph(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Features [N, D] -> [N, N]."""
    squared = jnp.square(x).sum(-1)
    length = jnp.sqrt(jnp.where(squared > 0, squared, 1.0))
    cosine = (x / length[:, None]) @ (x / length[:, None]).T
    return rows_to_one(jnp.where(cosine > ALIKE, cosine, 0.0), mask)


def distance_graph(mask: jax.Array) -> jax.Array:
    """[N, N]."""
    place = jnp.arange(mask.shape[0])
    return jnp.exp(-jnp.abs(place[:, None] - place[None]) / jnp.e) * mask[None]


def score_graph(score: jax.Array, mask: jax.Array) -> jax.Array:
    """Scores [N] -> [N, N]."""
    close = 1.0 - jnp.abs(score[:, None] - score[None])
    return rows_to_one(jax.nn.sigmoid((close - MIDDLE) / STEEPNESS), mask)


class GraphConvolution(nn.Module):
    """G X W + residual."""

    @nn.compact
    def __call__(self, x: jax.Array, graph: jax.Array) -> jax.Array:
        """[N, C], [N, N] -> [N, 32]; rows of padded units of x must be 0."""
        residual = x
        if x.shape[-1] != OUT:
            residual = TemporalConv(OUT, 2 * REACH + 1, REACH, name="residual")(x)
        return graph @ nn.Dense(OUT, use_bias=False, name="weight")(x) + residual


class HLNet(ContentModel):
    """Collections: 'params', and 'constants' (feature statistics, never trained). Random stream:
    'dropout'."""

    @nn.compact
    def __call__(
        self, features: Mapping[str, jax.Array], mask: jax.Array, *, train: bool
    ) -> Output:
        """features {m: [N, D_m]}, mask bool [N] -> Output(logits [N], graph [0, N, N], aux): aux is
        'hl_net/online' [N], the logits that see no future."""
        self.check_shapes(features, mask)
        raw, _, _ = self.standardise_features(features, mask, train)
        hide = lambda y: jnp.where(mask[:, None], y, 0.0)
        drop = lambda y: nn.Dropout(DROPOUT, deterministic=not train)(y)
        x = jnp.concatenate(list(raw.values()), -1)
        for width in (HIDDEN, WIDTH):
            x = drop(nn.relu(nn.Dense(width, name=f"embed_{width}")(x)))
        x = hide(x)
        past = hide(nn.relu(nn.Dense(ONLINE, name="approximator")(x)))
        online = TemporalConv(1, PAST + 1, (PAST, 0), name="online")(past)[:, 0]
        seen = hide(jnp.concatenate([features[m.name] for m in self.modalities], -1))
        graphs = {
            "similarity": similarity_graph(seen, mask),
            "distance": distance_graph(mask),
            "score": score_graph(jax.lax.stop_gradient(jax.nn.sigmoid(online)), mask),
        }
        found = []
        for name, graph in graphs.items():
            y = hide(drop(nn.relu(GraphConvolution(name=f"{name}_0")(x, graph))))
            found.append(nn.relu(GraphConvolution(name=f"{name}_1")(y, graph)))
        logits = nn.Dense(1, name="logit")(jnp.concatenate(found, -1))[:, 0]
        none = jnp.zeros((0, *mask.shape, *mask.shape), logits.dtype)
        aux = {f"{NAME}/online": jnp.where(mask, online, 0.0)}
        return Output(jnp.where(mask, logits, 0.0), none, aux)


@register_loss("hl_net_score", default=1.0)
def holistic(given: LossInputs) -> SumCount | None:
    """Of the network that sees whole videos."""
    if parts_of(given.output, NAME) is None:
        return None
    return over(video_entropy(given.output.logits, given.mask, given), given.known)


@register_loss("hl_net_online", default=1.0)
def online(given: LossInputs) -> SumCount | None:
    """Of the approximator."""
    if (found := parts_of(given.output, NAME)) is None:
        return None
    return over(video_entropy(found["online"], given.mask, given), given.known)


@register_loss("hl_net_distillation", default=5.0)
def distillation(given: LossInputs) -> SumCount | None:
    """The approximator learns the scores of the whole network."""
    if (found := parts_of(given.output, NAME)) is None:
        return None
    target = jax.lax.stop_gradient(jax.nn.sigmoid(given.output.logits))
    values = -target * jax.nn.log_sigmoid(found["online"])
    return over(mean_of_units(values, given.mask), given.known)
