"""Graphs of long videos, a few rows at once: what needs rows alone never sees [N, N] (ours).

Relations, thresholds and powers entry by entry make each row of a fused graph from the units of the
video and nothing else. So rows are made in blocks of `rows`, used, and let go of; on the way back
each block is made again. Memory is that of one block, [G, rows, N]; time still grows with N^2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gfvad.base.types import ConfigError
from gfvad.graphs.units import (
    cosine_of,
    directions,
    positions,
    products,
    rbf_of,
    square_distances,
)

MakeRows = Callable[[jax.Array], jax.Array]  # int32 [b] units -> [..., b, N] their rows


class RowBlocks(NamedTuple):
    """Graphs [G, N, N] that are made `rows` rows at once."""

    make: MakeRows  # [b] -> [G, b, N]
    rows: int

    def each(self, use: Callable[..., jax.Array], mask: jax.Array) -> jax.Array:
        """use(rows [G, b, N], which entries join real units, which join different ones, bool [b,
        N]) -> [G, b, K], for all units of mask [N]: [G, N, K]."""
        mask = jnp.asarray(mask, bool)
        n = mask.shape[0]
        count = -(-n // self.rows)
        # the last block repeats the last unit
        index = jnp.minimum(jnp.arange(count * self.rows), n - 1).reshape(count, self.rows)

        @jax.checkpoint
        def one(units: jax.Array) -> jax.Array:
            pairs = mask[units][:, None] & mask
            return use(self.make(units), pairs, pairs & (units[:, None] != jnp.arange(n)))

        found = jnp.moveaxis(jax.lax.map(one, index), 0, 1)  # [G, count, b, K]
        return found.reshape(found.shape[0], count * self.rows, -1)[:, :n]


def relation_rows(
    x: jax.Array, mask: jax.Array, cfg: Any, sigma: jax.Array | float | None = None
) -> MakeRows:
    """Rows of `relationship_graph`: units int32 [b] -> [b, N], to a few roundings the same.

    x [N, D], mask [N], cfg: config.model.relation, sigma: the learnt width, where it is learnt.
    Raises ConfigError for what needs whole graphs: nearest neighbours, the median width of rbf,
    relations from outside.
    """
    width = sigma if cfg.sigma < 0 else float(cfg.sigma) or None
    require_rows("relation.knn", cfg.knn, cfg.knn == 0, "0")
    if cfg.similarity == "rbf":
        require_rows("relation.sigma", cfg.sigma, width is not None, "a width, or below 0")
        width = 1.0 if width is None else width
        u, live = positions(x, mask)
        of = lambda own: rbf_of(square_distances(own, u), width)
    else:
        known = {"cosine": cosine_of, "cosine01": lambda p: 0.5 * (1.0 + cosine_of(p))}
        found = known.get(cfg.similarity)
        require_rows(
            "relation.similarity", cfg.similarity, found is not None, "cosine, cosine01, rbf"
        )
        u, live = directions(x, mask)
        of = lambda own: known[cfg.similarity](products(own, u))
    always = not isinstance(cfg.threshold, jax.Array) and cfg.threshold <= -1.0

    def make(units: jax.Array) -> jax.Array:
        found = jnp.where(units[:, None] == jnp.arange(len(u)), 1.0, of(u[units]))
        found = jnp.where(live[units][:, None] & live, found, 0.0)
        return found if always else jnp.where(found >= cfg.threshold, found, 0.0)

    return make


def time_rows(time: jax.Array, mask: jax.Array, tau: float) -> MakeRows:
    """Rows of exp(-|t_i - t_j| / tau) of units at times [N]: units int32 [b] -> [b, N]."""
    mask = jnp.asarray(mask, bool)
    t = jnp.where(mask, time, 0.0)

    def make(units: jax.Array) -> jax.Array:
        near = jnp.exp(-jnp.abs(t[units][:, None] - t) / tau)
        return jnp.where(mask[units][:, None] & mask, near, 0.0)

    return make


def require_rows(key: str, value: Any, holds: bool, expected: str) -> None:
    """Raises ConfigError where a setting needs whole graphs."""
    if not holds:
        raise ConfigError(
            f"config.model.{key} is {value!r}, which needs the whole graph of a video; expected"
            f" {expected} where graphs are made by rows (config.model.relation.rows; 0: whole)"
        )
