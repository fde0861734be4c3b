"""Relationship graphs: how alike the units of one video are. x [N, D], mask bool [N] -> [N, N], to
be vmapped over B.

Paper: "Learnable Expansion of Graph Operators" (ICLR 2025), relation = cosine similarity of unit
features. The other relations are ours. The same functions serve clips, frames, patches and tokens,
since they see only [N, D].

All relations share three rules. Rows and columns of padded units are exactly 0, whatever those
units contain. A real unit whose features are all zero (a silent second, a dropped modality) has
relation 0 to every unit, itself included. Every gradient is finite: the value of a norm or a root
at zero is replaced before the operation, so that no NaN meets a zero on the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Protocol

import jax
import jax.numpy as jnp

from gfvad.base.registry import Registry
from gfvad.base.types import ConfigError
from gfvad.graphs.sparsify import knn_mask, threshold
from gfvad.graphs.units import (
    cosine_of,
    directions,
    median_distance,
    positions,
    products,
    rbf_of,
    square_distances,
)


class RelationConfig(Protocol):
    """What a graph reads of `config.model.relation`."""

    similarity: str  # a name of RELATIONS
    sigma: float  # width; 0: the relation's own, below 0: learnable
    threshold: float  # edges below are set to 0; -1 keeps all
    knn: int  # nearest neighbours of each unit that are kept; 0 keeps all


def cosine(x: jax.Array, mask: jax.Array) -> jax.Array:
    """cos(x_i, x_j) in [-1, 1], diagonal 1 (paper). x [N, D], mask [N] -> [N, N]."""
    u, live = directions(x, mask)
    return _finish(cosine_of(products(u, u)), live)


def cosine01(x: jax.Array, mask: jax.Array) -> jax.Array:
    """(1 + cos) / 2 in [0, 1], diagonal 1 (ours). x [N, D], mask [N] -> [N, N]."""
    u, live = directions(x, mask)
    return _finish(0.5 * (1.0 + cosine_of(products(u, u))), live)


def rbf(x: jax.Array, mask: jax.Array, sigma: jax.Array | float | None = None) -> jax.Array:
    """exp(-|x_i - x_j|^2 / (2 sigma^2)) in (0, 1], diagonal 1 (ours). x [N, D], mask [N] -> [N, N].

    sigma, in units of x: None takes the median distance over pairs of different real, non-zero
    units; a number fixes it; an array makes it learnable. The gradient runs through the median too.
    Raises ConfigError for a number that is not positive.
    """
    if isinstance(sigma, (int, float)) and not sigma > 0:
        raise ConfigError(
            f"config.model.relation.sigma is {sigma}; a fixed rbf width is positive (None takes the"
            " median distance)"
        )
    u, live = positions(x, mask)
    same = jnp.eye(u.shape[0], dtype=bool)
    # [N, N]; right to a few roundings on rows of any mix of scales
    squared = square_distances(u, u)
    width = median_distance(squared, _pairs(live) & ~same) if sigma is None else sigma
    return _finish(rbf_of(squared, width), live)


def temporal_seconds(clock: jax.Array, mask: jax.Array, seconds: float) -> jax.Array:
    """exp(-|t_i - t_j| / seconds) of units at times clock [N] in seconds; mask [N] -> [N, N]
    (graph_fusion section 1, in time instead of units).

    Events last seconds: units of long videos, cut into as many units as short ones, are further
    apart.
    Raises ConfigError for seconds that are not positive.
    """
    if seconds <= 0:
        raise ConfigError(
            f"config.model.relation.temporal_seconds is {seconds}; the temporal graph needs a"
            " positive value (0 leaves it out)"
        )
    t = jnp.where(mask, clock, 0.0)
    return jnp.where(_pairs(mask), jnp.exp(-jnp.abs(t[:, None] - t) / seconds), 0.0)


def temporal(mask: jax.Array, tau: float) -> jax.Array:
    """exp(-|i - j| / tau), tau in units (snippets), diagonal 1 (ours). mask [N] -> float32 [N,
    N]. Raises ConfigError for tau <= 0."""
    if isinstance(tau, (int, float)) and not tau > 0:
        raise ConfigError(
            f"config.model.relation.temporal_tau is {tau}; the temporal graph needs a positive"
            " value (0 leaves it out)"
        )
    index = jnp.arange(mask.shape[0], dtype=jnp.float32)
    return _finish(jnp.exp(-jnp.abs(index[:, None] - index) / tau), jnp.asarray(mask, bool))


def masked(relation: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """A relation from outside, held to the rules: its graph is [N, N], and 0 at padded units."""

    @wraps(relation)
    def graph(x: jax.Array, mask: jax.Array, *width: jax.Array | float | None) -> jax.Array:
        mask = jnp.asarray(mask, bool)
        found = jnp.asarray(relation(x, mask, *width))
        if found.shape != (len(x), len(x)):
            raise ConfigError(
                f"relation {relation.__name__!r} gives {found.shape} for x {x.shape}; expected"
                f" [N, N] = {(len(x), len(x))}"
            )
        return jnp.where(_pairs(mask), found, 0.0)

    return graph


# name -> (x [N, D], mask [N]) -> [N, N]; a third parameter `sigma` takes a width, fixed or learnt
RELATIONS: Registry[Callable[..., jax.Array]] = Registry(
    "model.relation.similarity", {"cosine": cosine, "cosine01": cosine01, "rbf": rbf}, masked
)


def has_width(name: str) -> bool:
    """Whether a relation takes a width `sigma`. Raises ConfigError for an unknown one."""
    return "sigma" in signature(RELATIONS.find(name)).parameters


def learns_width(cfg: RelationConfig) -> bool:
    """Whether `config.model.relation` asks for a learnt width, of a relation that has one."""
    return has_width(cfg.similarity) and cfg.sigma < 0


def relationship_graph(
    x: jax.Array, mask: jax.Array, cfg: RelationConfig, sigma: jax.Array | float | None = None
) -> jax.Array:
    """The graph that `config.model.relation` asks for: similarity, then threshold, then nearest
    neighbours.

    x [N, D], mask [N], sigma: the learnt width, needed where `learns_width` -> [N, N]. Raises
    ConfigError for values that mean nothing. The learned projection is the caller's: pass projected
    features.
    """
    check_relation(cfg)
    relation = RELATIONS.find(cfg.similarity)
    if learns_width(cfg) and sigma is None:
        raise ConfigError(
            f"config.model.relation.sigma is {cfg.sigma} (learnable): relationship_graph needs the"
            " width as sigma"
        )
    if has_width(cfg.similarity):
        graph = relation(x, mask, sigma if cfg.sigma < 0 else float(cfg.sigma) or None)
    else:
        graph = relation(x, mask)
    # an array: of one of several settings side by side (gfvad/ablation)
    if isinstance(cfg.threshold, jax.Array) or cfg.threshold > -1.0:
        graph = threshold(graph, cfg.threshold)
    if cfg.knn > 0:
        graph = jnp.where(knn_mask(graph, cfg.knn, mask), graph, 0.0)
    return graph


def check_relation(cfg: RelationConfig) -> None:
    """Raises ConfigError where `config.model.relation` holds a value without meaning; cheap, for
    use before any device work."""
    RELATIONS.find(cfg.similarity)
    if not isinstance(cfg.threshold, jax.Array) and not -1.0 <= cfg.threshold <= 1.0:
        raise ConfigError(
            f"config.model.relation.threshold is {cfg.threshold}; relations lie in [-1, 1], so it"
            " must too (-1 keeps all)"
        )
    if cfg.knn < 0:
        raise ConfigError(
            f"config.model.relation.knn is {cfg.knn}; it counts neighbours (0 keeps all)"
        )


def _pairs(live: jax.Array) -> jax.Array:
    return live[:, None] & live


def _finish(graph: jax.Array, live: jax.Array) -> jax.Array:
    """Diagonal exactly 1 (its gradient is 0 anyway), pairs with a padded or zero unit exactly 0."""
    graph = jnp.where(jnp.eye(live.shape[0], dtype=bool), 1.0, graph)
    return jnp.where(_pairs(live), graph, 0.0)
