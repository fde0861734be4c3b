"""The way from raw features to unit embeddings, shared by every model: standardise, drop
modalities, embed.

A unit whose raw features in a modality are all zero (a silent second, a missing modality, padding)
is *absent* there: it stays zero on the whole way, whatever the statistics and biases are, so it has
no relation to anything, adds no content and enters no statistic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from gfvad.base.types import DataError

MIN_STD = 1e-6  # a constant feature is not divided by its standard deviation
NORM_EPSILON = 1e-12  # keeps the gradient of the residual norm finite at 0

Arrays = dict[str, jax.Array]
# modality -> [N], how much a unit counts in it: 0 absent, 1 wholly
Confident = Mapping[str, jax.Array]


class Linear(NamedTuple):
    """A branch that is linear in standardised features: x @ weight - offset."""

    weight: jax.Array  # [D]; 0: the set is left out
    offset: jax.Array  # []


class Modality(NamedTuple):
    """A feature set and its constant statistics over the training split (tuples, so that a
    module stays hashable)."""

    name: str
    width: int  # D
    mean: tuple[float, ...] = ()  # [D]; () where unknown yet: restored with the parameters
    std: tuple[float, ...] = ()  # [D]
    # of a linear branch on standardised features (evidence.py); all 0: the set is left out
    weight: tuple[float, ...] = ()  # [D]
    offset: float = 0.0
    # sentences of events by the encoder of the descriptions (described_events.py)
    events: tuple[tuple[float, ...], ...] = ()  # [E, D]


def direction(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Features whose length says how much they count -> (unit vectors [N, D], lengths [N] in [0,
    1]); zeros stay zeros, with finite gradients."""
    squared = jnp.square(x).sum(-1)
    length = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
    return x / jnp.where(squared > 0, length, 1.0)[:, None], jnp.minimum(length, 1.0)


def standardise(
    x: jax.Array, mask: jax.Array, mean: jax.Array, std: jax.Array, mode: str
) -> tuple[jax.Array, jax.Array]:
    """Takes the mean [D] (`center`), and divides by the deviation [D] (`standardize`), of present
    units; the others become 0.

    x [N, D], mask bool [N] -> (x [N, D], present bool [N]: real, with a feature that is not 0).
    mode `none` changes no value.
    """
    x = jnp.where(mask[:, None], x, 0.0)
    present = mask & (x != 0).any(-1)
    if mode != "none":
        x = x - mean
    if mode == "standardize":
        x = x / jnp.where(std > MIN_STD, std, 1.0)
    return jnp.where(present[:, None], x, 0.0), present


def kept_modalities(key: jax.Array, there: jax.Array, rate: float) -> jax.Array:
    """Modalities of one video that are kept: there bool [M] (has a present unit) -> bool [M] (ours;
    dropout of whole inputs).

    Each is dropped with probability `rate`, but where that would leave none of those there, one of
    them, drawn evenly, is kept: of M that are there, each is dropped with probability rate - rate^M
    / M.
    """
    draw = jax.random.uniform(key, there.shape)
    # where all draws lie below the rate, the place of the largest is evenly distributed
    spared = jnp.arange(len(there)) == jnp.argmax(jnp.where(there, draw, -1.0))
    return (draw >= rate) | spared


def without_left_out(
    branches: Mapping[str, Linear], raw: Arrays, present: Arrays, counts: Confident
) -> tuple[Arrays, Arrays, Confident]:
    """The same with sets that are left out absent everywhere."""
    kept = {m: (branch.weight != 0).any() for m, branch in branches.items()}
    take = lambda arrays: {m: jnp.where(kept[m], x, jnp.zeros_like(x)) for m, x in arrays.items()}
    return take(raw), take(present), take(counts)


class ContentModel(nn.Module):
    """Base of the models of one video: checks features, standardises and embeds them. A subclass's
    __call__ calls the methods in turn.

    Collections: 'params', and 'constants' (feature statistics, never trained). Random stream:
    'dropout'.
    """

    config: FrozenConfigDict  # config.model
    modalities: tuple[Modality, ...] = dataclasses.field(repr=False)
    standardize: str = "center"  # config.data.standardize

    def check_shapes(self, features: Mapping[str, jax.Array], mask: jax.Array) -> None:
        """Refuses features of other modalities or widths than the model was built for."""
        expected = {m.name: (mask.shape[0], m.width) for m in self.modalities}
        found = {name: tuple(x.shape) for name, x in features.items()}
        if any(found.get(name) != shape for name, shape in expected.items()):
            raise DataError(
                f"features are {found}, the model was built for {expected} ([N, D]): give every"
                " modality of data.modalities at its width"
            )

    def standardise_features(
        self, features: Mapping[str, jax.Array], mask: jax.Array, train: bool
    ) -> tuple[Arrays, Arrays, Confident]:
        """All modalities with the constants of the training split: ({m: [N, D]}, {m: present bool
        [N]}, {m: how much a unit counts [N]}).

        In training some modalities of the video are dropped as a whole where model.modality_dropout
        is above 0.
        """
        raw, present, counts = {}, {}, {}
        for name, width, mean, std, *_ in self.modalities:
            mean = self.variable(
                "constants", f"mean_{name}", jnp.asarray, mean or (0.0,) * width, jnp.float32
            ).value
            std = self.variable(
                "constants", f"std_{name}", jnp.asarray, std or (1.0,) * width, jnp.float32
            ).value
            x, length = jnp.where(mask[:, None], features[name], 0.0), 1.0
            if name in self.config.confidence:
                x, length = direction(x)
            raw[name], present[name] = standardise(x, mask, mean, std, self.standardize)
            counts[name] = jnp.where(present[name], length, 0.0)
        if not train or self.config.modality_dropout == 0 or len(raw) == 1:
            return raw, present, counts
        there = jnp.stack([p.any() for p in present.values()])
        rate = self.config.modality_dropout
        kept = dict(zip(raw, kept_modalities(self.make_rng("dropout"), there, rate)))
        raw, present, counts = (
            {m: jnp.where(kept[m], x, jnp.zeros_like(x)) for m, x in part.items()}
            for part in (raw, present, counts)
        )
        return raw, present, counts

    def as_given(self, name: str, x: jax.Array) -> jax.Array:
        """Standardised features [N, D] of a modality as they were before."""
        std = self.get_variable("constants", f"std_{name}")
        x = x * jnp.where(std > MIN_STD, std, 1.0) if self.standardize == "standardize" else x
        return (
            x if self.standardize == "none" else x + self.get_variable("constants", f"mean_{name}")
        )

    def linear_branches(self) -> Mapping[str, Linear]:
        """The linear branches of evidence.py, constants of the run; {} where branches are learnt
        with the rest."""
        if self.config.evidence == "trained":
            return {}
        constant = lambda key, value: self.variable(
            "constants", key, jnp.asarray, value, jnp.float32
        )
        found = {}
        for m in self.modalities:
            weight = constant(f"weight_{m.name}", m.weight or (0.0,) * m.width).value
            found[m.name] = Linear(weight, constant(f"offset_{m.name}", m.offset).value)
        return found

    def embed_content(
        self, raw: Arrays, counts: Confident, residual: Arrays, train: bool
    ) -> Arrays:
        """Unit embeddings {m: [N, embed_dim]} of every modality, and {m residual: [N, 1]}, residual
        norms of the filtered ones.

        Each is times what its unit counts: 0 where absent, so that the logit of a fading unit goes
        to the branch's own constant.
        """
        parts = {}
        for m, x in raw.items():
            # shared: a feature is dropped from all units of the video at once (variational dropout,
            # Gal and Ghahramani 2016)
            shared = (0,) if self.config.input_dropout_shared else ()
            rate = self.config.input_dropout
            x = nn.Dropout(rate, broadcast_dims=shared, deterministic=not train)(x)
            # [N, H]
            x = nn.Dense(self.config.embed_dim, name=f"embed_{m}")(x)
            x = nn.gelu(nn.LayerNorm(name=f"norm_{m}")(x))
            x = nn.Dropout(self.config.dropout, deterministic=not train)(x)
            parts[m] = counts[m][:, None] * x
        for m, x in residual.items():
            # [N, 1]: root mean square, so that it does not grow with D
            norm = jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + NORM_EPSILON)
            parts[f"{m}_residual"] = counts[m][:, None] * norm
        return parts
