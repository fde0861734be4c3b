"""UR-DMU: dual memory units with uncertainty regulation (Zhou, Yu and Yang, AAAI 2023), written
from its description.

    features side by side [N, D] -> convolution of kernel 3 and ReLU [N, 512] -> 2 layers of global
    and local attention, x [N, 512] -> memories of abnormal and of normal slots (60 x 512 each):
    S = sigmoid(x M^T / sqrt 512), attention = mean of the 4 largest of S, readout = S M
    -> [x | mu(abnormal readout) + mu(normal readout)] -> 1024 - 128 - 1

Every video passes both memories. In training a normal video's own readout is drawn: mu + eps sigma.
Losses (A abnormal, N normal video; k = n // 16 + 1 of n units; weights in brackets):

ur_dmu_score     [1]       cross entropy of the mean of the k highest scores
ur_dmu_memory    [0.1]     cross entropies: k highest abnormal attentions of A with 1; k highest
                           1 - normal attention of A with 1; normal attention of N with 1; abnormal
                           attention of N with 0
ur_dmu_triplet   [0.1]     margin 1 on unit vectors of x, means over k units: anchor N where normal
                           attention is highest, positive A where it is, negative A where abnormal
                           attention is
ur_dmu_kl        [0.001]   of a normal video's own readout from N(0, 1): summed over features, mean
                           over units
ur_dmu_distance  [0.0001]  max(0, 100 - |negative| + |anchor|) of the readouts there

The i-th normal video of a global batch is paired with its i-th abnormal one. What the description
leaves open and is decided here: the axes of the KL term, and that the distance is one of readouts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.base.types import Output
from gfvad.nn.temporal_conv import TemporalConv
from gfvad.tasks.fusion.comparators.ranking import (
    length_of,
    mean_of_units,
    number_of,
    over,
    pairs_of,
    parts_of,
    share_entropy,
    top_mean,
    top_weights,
)
from gfvad.tasks.fusion.content import ContentModel
from gfvad.tasks.fusion.losses import LossInputs, register_loss
from gfvad.train.loss_terms import SumCount

NAME = "ur_dmu"
WIDTH, HEADS, LAYERS, SLOTS, HIDDEN = 512, 4, 2, 60, 128
SLOTS_TOP = SLOTS // 16 + 1
DROPOUT, EPSILON = 0.5, 1e-5
MARGIN, DISTANCE = 1.0, 100.0


class GlobalLocalAttention(nn.Module):
    """softmax(q k^T / sqrt d) v beside D t, D_ij = exp(-|i - j| / e) with rows that sum to 1."""

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
        """[N, 512] -> [N, 512]."""
        n = x.shape[0]
        found = nn.Dense(4 * WIDTH, use_bias=False, name="qkvt")(x)
        # [H, N, 128] each
        q, k, v, t = found.reshape(n, 4, HEADS, WIDTH // HEADS).transpose(1, 2, 0, 3)
        logits = q @ k.swapaxes(-1, -2) / jnp.sqrt(WIDTH / HEADS)
        far = jnp.finfo(logits.dtype).min
        whole = jax.nn.softmax(jnp.where(mask[None, None], logits, far), -1) @ v
        place = jnp.arange(n)
        near = jnp.exp(-jnp.abs(place[:, None] - place[None]) / jnp.e) * mask[None]
        near = near / jnp.maximum(near.sum(-1, keepdims=True), jnp.finfo(near.dtype).tiny)
        beside = lambda y: y.transpose(1, 0, 2).reshape(n, -1)  # [H, N, 128] -> [N, 512]
        joined = jnp.concatenate([beside(whole), beside(near @ t)], -1)
        out = nn.Dense(WIDTH, name="out")(joined)
        return nn.Dropout(DROPOUT, deterministic=not train)(out)


class Memory(nn.Module):
    """60 slots: how well units fit them, and what they read."""

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[N, 512] -> (attention [N], readout [N, 512])."""
        bound = WIDTH**-0.5
        start = lambda key, shape: jax.random.uniform(key, shape, minval=-bound, maxval=bound)
        slots = self.param("slots", start, (SLOTS, WIDTH))
        fit = jax.nn.sigmoid(x @ slots.T * bound)
        return jax.lax.top_k(fit, SLOTS_TOP)[0].mean(-1), fit @ slots


class URDMU(ContentModel):
    """Collections: 'params', and 'constants' (feature statistics, never trained). Random stream:
    'dropout'."""

    @nn.compact
    def __call__(
        self, features: Mapping[str, jax.Array], mask: jax.Array, *, train: bool
    ) -> Output:
        """features {m: [N, D_m]}, mask bool [N] -> Output(logits [N], graph [0, N, N], aux): aux,
        in training, is what the losses need, 'ur_dmu/...'."""
        self.check_shapes(features, mask)
        raw, _, _ = self.standardise_features(features, mask, train)
        hide = lambda y: jnp.where(mask[:, None], y, 0.0)
        x = jnp.concatenate(list(raw.values()), -1)
        x = nn.relu(TemporalConv(WIDTH, 3, 1, name="embed")(hide(x)))
        for i in range(LAYERS):
            x = self.layer(hide(x), mask, train, i)
        x = hide(x)
        fits_abnormal, abnormal = Memory(name="abnormal")(x)
        fits_normal, normal = Memory(name="normal")(x)
        mean, spread = nn.Dense(WIDTH, name="mean"), nn.Dense(WIDTH, name="log_variance")
        abnormal, normal, log_variance = mean(abnormal), mean(normal), spread(normal)
        hidden, last = nn.Dense(HIDDEN, name="hidden"), nn.Dense(1, name="logit")
        score = lambda read: last(nn.relu(hidden(jnp.concatenate([x, read], -1))))[:, 0]
        logits = jnp.where(mask, score(abnormal + normal), 0.0)
        graph = jnp.zeros((0, *mask.shape, *mask.shape), logits.dtype)
        if not train:
            return Output(logits, graph, {})
        noise = jax.random.normal(self.make_rng("dropout"), normal.shape, normal.dtype)
        drawn = normal + jnp.exp(log_variance / 2) * noise
        divergence = -0.5 * (1 + log_variance - normal**2 - jnp.exp(log_variance)).sum(-1)
        number = number_of(mask)
        at_normal = top_weights(fits_normal, mask, number)
        at_abnormal = top_weights(fits_abnormal, mask, number)
        aux = {
            "drawn_logits": jnp.where(mask, score(abnormal + drawn), 0.0),
            "fits_abnormal": fits_abnormal,
            "fits_normal": fits_normal,
            "divergence": divergence,
            # [512] each: where normal and abnormal attention are highest
            "x_normal": at_normal @ x,
            "x_abnormal": at_abnormal @ x,
            "drawn_normal": at_normal @ hide(drawn),
            "read_abnormal": at_abnormal @ hide(abnormal),
        }
        return Output(logits, graph, {f"{NAME}/{name}": value for name, value in aux.items()})

    def layer(self, x: jax.Array, mask: jax.Array, train: bool, i: int) -> jax.Array:
        """One pre-norm layer: attention, then 512 - 512 - 512 with GELU."""
        drop = lambda y: nn.Dropout(DROPOUT, deterministic=not train)(y)
        norm = lambda name: nn.LayerNorm(EPSILON, name=f"{name}_{i}")
        x = x + GlobalLocalAttention(name=f"attention_{i}")(norm("norm_attention")(x), mask, train)
        y = nn.Dense(WIDTH, name=f"up_{i}")(norm("norm_feed_forward")(x))
        y = drop(nn.gelu(y, approximate=False))
        return x + drop(nn.Dense(WIDTH, name=f"down_{i}")(y))


# ---- losses


def given_of(given: LossInputs) -> dict[str, jax.Array] | None:
    """What the model gave for its losses, leading B; None of another model."""
    return parts_of(given.output, NAME)


@register_loss("ur_dmu_score", default=1.0)
def score_entropy(given: LossInputs) -> SumCount | None:
    """Of the video score with the video's label."""
    if (found := given_of(given)) is None:
        return None
    logits = jnp.where(given.normal[:, None], found["drawn_logits"], given.output.logits)
    share = top_mean(jax.nn.sigmoid(logits), given.mask, number_of(given.mask))
    return over(share_entropy(share, given.batch.label), given.known)


@register_loss("ur_dmu_memory", default=0.1)
def memory_entropy(given: LossInputs) -> Mapping[str, SumCount] | None:
    """Of the attentions of both memories."""
    if (found := given_of(given)) is None:
        return None
    mask, number = given.mask, number_of(given.mask)
    abnormal, normal = found["fits_abnormal"], found["fits_normal"]
    best = lambda fits: share_entropy(top_mean(fits, mask, number), 1.0)
    every = lambda fits, target: mean_of_units(share_entropy(fits, target), mask)
    return {
        "ur_dmu_memory/abnormal_of_abnormal": over(best(abnormal), given.abnormal),
        "ur_dmu_memory/normal_of_abnormal": over(best(1.0 - normal), given.abnormal),
        "ur_dmu_memory/normal_of_normal": over(every(normal, 1.0), given.normal),
        "ur_dmu_memory/abnormal_of_normal": over(every(abnormal, 0.0), given.normal),
    }


def paired_parts(given: LossInputs, names: Sequence[str]) -> tuple[Any, Any, jax.Array] | None:
    """`in_pairs` of parts of what the model gave, over all devices."""
    found = given_of(given)
    return None if found is None else pairs_of({name: found[name] for name in names}, given)


@register_loss("ur_dmu_triplet", default=0.1)
def triplet(given: LossInputs) -> SumCount | None:
    """Normal units of both kinds of video are alike, and unlike abnormal ones."""
    if (pairs := paired_parts(given, ("x_normal", "x_abnormal"))) is None:
        return None
    normal, abnormal, there = pairs
    unit = lambda x: x / length_of(x)[..., None]
    anchor, positive, negative = map(
        unit, (normal["x_normal"], abnormal["x_normal"], abnormal["x_abnormal"])
    )
    apart = length_of(anchor - positive) - length_of(anchor - negative)
    return over(jax.nn.relu(apart + MARGIN), there)


@register_loss("ur_dmu_kl", default=0.001)
def divergence(given: LossInputs) -> SumCount | None:
    """Of the distribution that a normal video's readout is drawn from."""
    if (found := given_of(given)) is None:
        return None
    return over(mean_of_units(found["divergence"], given.mask), given.normal)


@register_loss("ur_dmu_distance", default=0.0001)
def distance(given: LossInputs) -> SumCount | None:
    """Abnormal readouts are longer than normal ones."""
    if (pairs := paired_parts(given, ("drawn_normal", "read_abnormal"))) is None:
        return None
    normal, abnormal, there = pairs
    apart = length_of(normal["drawn_normal"]) - length_of(abnormal["read_abnormal"])
    return over(jax.nn.relu(DISTANCE + apart), there)
