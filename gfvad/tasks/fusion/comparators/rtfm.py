"""RTFM: robust temporal feature magnitude learning (Tian et al., ICCV 2021), written from its
description.

    features side by side [N, D] -> multi-scale temporal network (foils.py) [N, D], dropout 0.7
    -> 512 - 128 - 1, ReLU and dropout between

The score of a video is the mean score of the 3 units of the largest feature norm. Losses (weights
in brackets; `smoothness` and `sparsity` of losses.py beside them, 8e-4 and 8e-3):

rtfm_score      [1]     cross entropy of the video score
rtfm_magnitude  [1e-4]  (|100 - |a|| + |n|)^2, a and n the mean features of those 3 units of an
                        abnormal and of a normal video

The i-th normal video of a global batch is paired with its i-th abnormal one. LayerNorm stands where
the published network has batch normalisation: a model here sees one video at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.base.types import Output
from gfvad.tasks.fusion.comparators.ranking import (
    length_of,
    over,
    pairs_of,
    parts_of,
    share_entropy,
    top_weights,
)
from gfvad.tasks.fusion.content import ContentModel
from gfvad.tasks.fusion.foils import TemporalNetwork
from gfvad.tasks.fusion.losses import LossInputs, register_loss
from gfvad.train.loss_terms import SumCount

NAME = "rtfm"
HIDDEN = (512, 128)
DROPOUT, KEPT, MARGIN = 0.7, 3, 100.0


class RTFM(ContentModel):
    """Collections: 'params', and 'constants' (feature statistics, never trained). Random stream:
    'dropout'."""

    @nn.compact
    def __call__(
        self, features: Mapping[str, jax.Array], mask: jax.Array, *, train: bool
    ) -> Output:
        """features {m: [N, D_m]}, mask bool [N] -> Output(logits [N], graph [0, N, N], aux): aux,
        in training, is what the losses need, 'rtfm/...'."""
        self.check_shapes(features, mask)
        raw, _, _ = self.standardise_features(features, mask, train)
        x = jnp.concatenate(list(raw.values()), -1)
        x = TemporalNetwork(name="mtn")(x, mask.astype(x.dtype), mask)
        drop = lambda y: nn.Dropout(DROPOUT, deterministic=not train)(y)
        x = y = drop(x)
        for i, width in enumerate(HIDDEN):
            y = drop(nn.relu(nn.Dense(width, name=f"hidden_{i}")(y)))
        logits = jnp.where(mask, nn.Dense(1, name="logit")(y)[:, 0], 0.0)
        graph = jnp.zeros((0, *mask.shape, *mask.shape), logits.dtype)
        if not train:
            return Output(logits, graph, {})
        kept = top_weights(length_of(x), mask, jnp.minimum(mask.sum(), KEPT))
        aux = {"share": kept @ jax.nn.sigmoid(logits), "feature": kept @ x}
        return Output(logits, graph, {f"{NAME}/{name}": value for name, value in aux.items()})


@register_loss("rtfm_score", default=1.0)
def score_entropy(given: LossInputs) -> SumCount | None:
    """Of the video score with the video's label."""
    if (found := parts_of(given.output, NAME)) is None:
        return None
    return over(share_entropy(found["share"], given.batch.label), given.known)


@register_loss("rtfm_magnitude", default=1e-4)
def magnitude(given: LossInputs) -> SumCount | None:
    """Features of abnormal units are long, those of normal ones short."""
    if (found := parts_of(given.output, NAME)) is None:
        return None
    normal, abnormal, there = pairs_of(length_of(found["feature"]), given)
    return over(jnp.square(jnp.abs(MARGIN - abnormal) + normal), there)
