"""MACIL-SD: modality-aware contrastive instance learning with self-distillation (Yu et al., ACM MM
2022), written from its description.

The first feature set is visual, the second is audio; further ones stand beside the second.

    visual -> 128: v [N, 128]; audio -> 128: a [N, 128]
    one layer for both ways: v' = layer(v, a), a' = layer(a, v): pre-norm, 4 heads, feed forward 128
    - 128 with ReLU, dropout 0.1
    one last layer, 128 - 1, for both: logits of v', of a', and their sum, which is the unit's logit

Beside it, in training, a network of what is visual alone: the same v, a layer of the same shape
with v on both sides, the same last layer. After each step the layer across takes over a share of
the weights of the layer alone (self-distillation by a moving average): w <- w + r (w_alone - w), r
falling as a cosine from 0.09 to 0 at the last step, 50 times in the whole training as published (a
step of more than 50 takes the share that falls to it).

The score of a video is the sigmoid of the mean of its k = n // 16 + 1 highest logits. Losses
(weights in brackets):

macil_sd_score     [1]    cross entropy of that score
macil_sd_visual    [1]    the same of the visual network alone
macil_sd_contrast  [1.5]  four terms, times min(1, steps taken / 0.3 of all): in either set the mean
                          of the k highest units of an abnormal video (by the set's own logits) is
                          to be like the video's mean in the other set, and unlike units of the
                          other set: of the background (the k lowest of any video), and of normal
                          videos (their k highest). InfoNCE, -log exp(q p / t) / (exp(q p / t) +
                          sum_n exp(q n / t)), of unit vectors, t = 0.1, over the global batch; mean
                          over abnormal videos

What differs, and what the description leaves open and is decided here: which videos are abnormal is
told by their labels, not by their scores; the network of what is visual shares its first and last
layer, so that 0.35 M values are learnt at 1,024 + 128 features (the published count has as many: of
the network across, and of copies that it never uses); one learning rate for both networks
(published: a fifth for the visual one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.base.types import ConfigError, Output
from gfvad.nn.blocks import Attention
from gfvad.tasks.fusion.comparators.ranking import (
    gathered,
    length_of,
    number_of,
    over,
    parts_of,
    top_mean,
    top_weights,
)
from gfvad.tasks.fusion.content import ContentModel
from gfvad.tasks.fusion.losses import LossInputs, register_loss
from gfvad.train.loss_terms import SumCount

NAME = "macil_sd"
WIDTH, HEADS, DROPOUT = 128, 4, 0.1
TAKEN, TIMES = 0.09, 50  # share that is taken over at the start; how many times in all
RISE = 0.3  # share of the steps over which the contrast comes in
TEMPERATURE = 0.1
ACROSS, ALONE = "across", "alone"  # layers among the parameters
SETS = ("visual", "audio")


class Layer(nn.Module):
    """A transformer layer from one set to another."""

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
        """[N, 128], [N, 128], bool [N] -> [N, 128]; rows of padded units are of no use."""
        drop = lambda y: nn.Dropout(DROPOUT, deterministic=not train)(y)
        norm = nn.LayerNorm(name="norm_attention")
        far = jnp.where(mask, 0.0, jnp.finfo(x.dtype).min / 2)
        bias = jnp.broadcast_to(far, (HEADS, x.shape[0], x.shape[0]))
        x = x + drop(Attention(HEADS, name="attention")(norm(x), norm(context), bias))
        y = nn.relu(nn.Dense(WIDTH, name="up")(nn.LayerNorm(name="norm_feed_forward")(x)))
        return x + drop(nn.Dense(WIDTH, name="down")(y))


class MACILSD(ContentModel):
    """Collections: 'params', and 'constants' (feature statistics, never trained). Random stream:
    'dropout'."""

    @nn.compact
    def __call__(
        self, features: Mapping[str, jax.Array], mask: jax.Array, *, train: bool
    ) -> Output:
        """features {m: [N, D_m]}, mask bool [N] -> Output(logits [N], graph [0, N, N], aux): aux,
        in training, is 'macil_sd/...': logits of each set and of the visual network [N], and
        'units/' of each set, unit vectors [N, 128]."""
        self.check_shapes(features, mask)
        raw, _, _ = self.standardise_features(features, mask, train)
        visual, *others = raw.values()
        v = nn.Dense(WIDTH, name="visual")(visual)
        a = nn.Dense(WIDTH, name="audio")(jnp.concatenate(others, -1))
        across, last = Layer(name=ACROSS), nn.Dense(1, name="logit")
        found = dict(zip(SETS, (across(v, a, mask, train), across(a, v, mask, train))))
        logits = {name: last(x)[:, 0] for name, x in found.items()}
        total = jnp.where(mask, sum(logits.values()), 0.0)
        graph = jnp.zeros((0, *mask.shape, *mask.shape), total.dtype)
        if not train and not self.is_initializing():
            return Output(total, graph, {})
        aux = {"alone": last(Layer(name=ALONE)(v, v, mask, train))[:, 0], **logits}
        aux |= {f"units/{name}": x / length_of(x)[:, None] for name, x in found.items()}
        return Output(total, graph, {f"{NAME}/{name}": value for name, value in aux.items()})

    @nn.nowrap
    def after_step(self, variables: Mapping[str, Any], given: LossInputs) -> Mapping[str, Any]:
        """The parameters after a step, with what the layer across took over from the layer alone
        (step.py)."""
        share = taken_over(given.step, given.steps)
        params = variables["params"]
        take = lambda own, other: own + share * (other - own)
        return {"params": {**params, ACROSS: jax.tree.map(take, params[ACROSS], params[ALONE])}}

    @staticmethod
    def refuse(config: Any, modalities: Sequence[str]) -> None:
        """Raises ConfigError where there are no two sets."""
        if len(modalities) < 2:
            raise ConfigError(
                f"config.data.modalities = {tuple(modalities)!r}: model {NAME!r} needs two feature"
                " sets, the visual one first, then audio (or what stands for it); add one, or take"
                " another model"
            )


def taken_over(step: Any, steps: int) -> jax.Array:
    """Share of the weights alone that a step takes over: 50 times in the whole training, 0.09 at
    the start and 0 at its end."""
    return TAKEN * (1.0 + jnp.cos(jnp.pi * step / steps)) / 2.0 * min(1.0, TIMES / steps)


# ---- losses


def video_entropy_of_mean(logits: jax.Array, given: LossInputs) -> SumCount:
    """Cross entropy of the sigmoid of the mean of the k highest logits, of [B, N], with the
    label."""
    mean, label = top_mean(logits, given.mask, number_of(given.mask)), given.batch.label
    values = -label * jax.nn.log_sigmoid(mean) - (1.0 - label) * jax.nn.log_sigmoid(-mean)
    return over(values, given.known)


@register_loss("macil_sd_score", default=1.0)
def across_entropy(given: LossInputs) -> SumCount | None:
    """Of the network across both sets."""
    if parts_of(given.output, NAME) is None:
        return None
    return video_entropy_of_mean(given.output.logits, given)


@register_loss("macil_sd_visual", default=1.0)
def alone_entropy(given: LossInputs) -> SumCount | None:
    """Of the visual network alone."""
    found = parts_of(given.output, NAME)
    return video_entropy_of_mean(found["alone"], given) if found else None


def unlike(query: jax.Array, alike: jax.Array, units: jax.Array, chosen: jax.Array) -> jax.Array:
    """InfoNCE [B] of queries [B, 128] that are to be alike [B, 128], and unlike the chosen, bool
    [V, N], of units [V, N, 128]; all of length 1."""
    near = (query * alike).sum(-1, keepdims=True) / TEMPERATURE
    far = jnp.einsum("bd,vnd->bvn", query, units) / TEMPERATURE
    far = jnp.where(chosen[None], far, -jnp.inf).reshape(len(query), -1)
    return jax.nn.logsumexp(jnp.concatenate([near, far], -1), -1) - near[:, 0]


@register_loss("macil_sd_contrast", default=1.5)
def contrast(given: LossInputs) -> Mapping[str, SumCount] | None:
    """Abnormal units of both sets are alike."""
    if (found := parts_of(given.output, NAME)) is None:
        return None
    mask, number, parts = given.mask, number_of(given.mask), {}
    for name in SETS:
        units, logits = found[f"units/{name}"], found[name]
        high, low = (top_weights(sign * logits, mask, number) for sign in (1, -1))
        mean = jnp.einsum("bn,bnd->bd", high, units)
        query = mean / length_of(mean)[:, None]
        parts[name] = query, units, low > 0, (high > 0) & given.normal[:, None]
    parts, abnormal = gathered((parts, given.abnormal), given.axis_name)
    rise, terms = jnp.minimum(given.progress / RISE, 1.0), {}
    for name, other in (SETS, SETS[::-1]):
        query, (alike, units, *against) = parts[name][0], parts[other]
        for kind, chosen in zip(("background", "normal"), against):
            values = rise * unlike(query, alike, units, chosen)
            terms[f"macil_sd_contrast/{name}_{kind}"] = over(values, abnormal)
    return terms
