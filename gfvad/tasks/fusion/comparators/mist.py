"""MIST: multiple instance self-training (Feng, Hong and Zheng, CVPR 2021), written from its
description. Two stages in one training:

    features side by side x [N, D]
    generator  x -> 512 - 32 - 1, ReLU, dropout 0.6 each
    second     h = x -> 512, ReLU; m = h -> convolution of kernel 3, 512, ReLU -> 16, ReLU: 8 maps a
    stage      class; guided logit: m -> 16, the mean of the abnormal 8 minus that of the normal 8;
               map A = sigmoid(m -> 1); logit: h + A h -> dropout 0.8 -> 1

In the first half of the steps the generator learns, in the second half what it says of a video
teaches the second stage: its scores without dropout, twice smoothed by a box of 5 units (the first
and last unit go on beyond the ends), and of an abnormal video scaled to 0 and 1; a normal video's
labels are 0. No gradient flows through them. The model scores by the second stage. Losses (weights
in brackets; the score of a video is the mean of its k = max(1, n // 32) highest of n units):

mist_rank    [1]     first stage: max(0, 1 - a + n) of the scores of an abnormal and a normal video,
                     mean over all pairs of the global batch
mist_sparse  [0.01]  first stage: mean score of the units of abnormal videos
mist_label   [1]     second stage: cross entropy of its scores with those labels y, weighted: 1.2 of
                     y, 0.8 of 1 - y; mean over units, then over videos
mist_guided  [1]     second stage: the same of the guided logits

What differs, for there is no network of pictures here to be trained with it: the second stage is a
layer on the same features, and its maps are over time, not over a picture. What the description
leaves open and is decided here: 32 parts of 7 clips with the top 7 are the top 1 in 32 of the units
that an example has; half of the steps for each stage; one optimiser for both (published: Adagrad
with 0.01, then Adam with 0.0001), whose momentum and decay are all that moves the generator in the
second stage.
"""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.base.types import Output
from gfvad.nn.temporal_conv import TemporalConv
from gfvad.tasks.fusion.comparators.ranking import (
    gathered,
    mean_of_units,
    over,
    parts_of,
    top_mean,
)
from gfvad.tasks.fusion.content import ContentModel
from gfvad.tasks.fusion.losses import LossInputs, register_loss
from gfvad.train.loss_terms import SumCount

NAME = "mist"
HIDDEN, DROPOUT_FIRST = (512, 32), 0.6
WIDTH, MAPS, DROPOUT = 512, 8, 0.8
FIRST = 0.5  # share of the steps in which the generator learns
PARTS, BOX, MARGIN = 32, 5, 1.0
WEIGHTS = 1.2, 0.8  # of labels 1 and 0


class Generator(nn.Module):
    """The first stage."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[N, D] -> logits [N]."""
        for i, width in enumerate(HIDDEN):
            x = nn.relu(nn.Dense(width, name=f"hidden_{i}")(x))
            x = nn.Dropout(DROPOUT_FIRST, deterministic=not train)(x)
        return nn.Dense(1, name="logit")(x)[:, 0]


class Guided(nn.Module):
    """The second stage, with attention that learns to tell by itself."""

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """[N, D], bool [N] -> (logits [N], guided logits [N])."""
        h = jnp.where(mask[:, None], nn.relu(nn.Dense(WIDTH, name="embed")(x)), 0.0)
        m = nn.relu(TemporalConv(WIDTH, 3, 1, name="around")(h))
        m = nn.relu(nn.Dense(2 * MAPS, name="maps")(m))
        normal, abnormal = jnp.split(nn.Dense(2 * MAPS, name="detectors")(m), 2, -1)
        attended = h * (1.0 + jax.nn.sigmoid(nn.Dense(1, name="attention")(m)))
        attended = nn.Dropout(DROPOUT, deterministic=not train)(attended)
        logits = nn.Dense(1, name="logit")(attended)[:, 0]
        return logits, abnormal.mean(-1) - normal.mean(-1)


class MIST(ContentModel):
    """Collections: 'params', and 'constants' (feature statistics, never trained). Random stream:
    'dropout'."""

    @nn.compact
    def __call__(
        self, features: Mapping[str, jax.Array], mask: jax.Array, *, train: bool
    ) -> Output:
        """features {m: [N, D_m]}, mask bool [N] -> Output(logits [N], graph [0, N, N], aux): aux,
        in training, is 'mist/...' [N]: logits of the generator, the labels it makes of an abnormal
        video, guided logits."""
        self.check_shapes(features, mask)
        raw, _, _ = self.standardise_features(features, mask, train)
        x, generator = jnp.concatenate(list(raw.values()), -1), Generator(name="generator")
        first, taught = generator(x, train), generator(x, False)
        logits, guided = Guided(name="second")(x, mask, train)
        logits = jnp.where(mask, logits, 0.0)
        graph = jnp.zeros((0, *mask.shape, *mask.shape), logits.dtype)
        if not train:
            return Output(logits, graph, {})
        aux = {"first": first, "labels": labels_of(jax.nn.sigmoid(taught), mask), "guided": guided}
        return Output(logits, graph, {f"{NAME}/{name}": value for name, value in aux.items()})


def smoothed(values: jax.Array, mask: jax.Array) -> jax.Array:
    """[N] mean over a box around each unit; the first and last real unit go on beyond the ends."""
    last = jnp.maximum(mask.sum() - 1, 0)
    around = jnp.arange(values.shape[0])[:, None] + jnp.arange(BOX) - BOX // 2
    return values[jnp.clip(around, 0, last)].mean(-1)


def labels_of(scores: jax.Array, mask: jax.Array) -> jax.Array:
    """Scores [N] of an abnormal video -> labels [N] of its units, smoothed twice, from 0 to 1
    (scores that are all the same stay as they are); without a gradient."""
    scores = smoothed(smoothed(jax.lax.stop_gradient(scores), mask), mask)
    least = jnp.where(mask, scores, jnp.inf).min()
    most = jnp.where(mask, scores, -jnp.inf).max()
    apart = jnp.where(most > least, most - least, 1.0)
    return jnp.where(mask, jnp.where(most > least, (scores - least) / apart, scores), 0.0)


# ---- losses


@register_loss("mist_rank", default=1.0)
def ranking(given: LossInputs) -> SumCount | None:
    """Every abnormal video has a higher score than every normal one."""
    if (found := parts_of(given.output, NAME)) is None:
        return None
    number = jnp.maximum(given.mask.sum(-1) // PARTS, 1)
    share = top_mean(jax.nn.sigmoid(found["first"]), given.mask, number)
    flags = given.normal, given.abnormal
    share, (normal, abnormal) = gathered((share, flags), given.axis_name)
    pairs = normal[:, None] & abnormal[None] & (given.progress < FIRST)
    return over(jax.nn.relu(MARGIN - share[None] + share[:, None]), pairs)


@register_loss("mist_sparse", default=0.01)
def sparse(given: LossInputs) -> SumCount | None:
    """Events are rare."""
    if (found := parts_of(given.output, NAME)) is None:
        return None
    values = mean_of_units(jax.nn.sigmoid(found["first"]), given.mask)
    return over(values, given.abnormal & (given.progress < FIRST))


def taught(logits: jax.Array, labels: jax.Array, given: LossInputs) -> SumCount:
    """Weighted cross entropy of logits [B, N] with the generator's labels [B, N]."""
    target = jnp.where(given.abnormal[:, None], labels, 0.0)
    yes, no = (jax.nn.log_sigmoid(sign * logits) for sign in (1, -1))
    values = -WEIGHTS[0] * target * yes - WEIGHTS[1] * (1.0 - target) * no
    return over(mean_of_units(values, given.mask), given.known & (given.progress >= FIRST))


@register_loss("mist_label", default=1.0)
def of_scores(given: LossInputs) -> SumCount | None:
    """The second stage learns the labels."""
    found = parts_of(given.output, NAME)
    return taught(given.output.logits, found["labels"], given) if found else None


@register_loss("mist_guided", default=1.0)
def of_guided(given: LossInputs) -> SumCount | None:
    """So does its attention."""
    found = parts_of(given.output, NAME)
    return taught(found["guided"], found["labels"], given) if found else None
