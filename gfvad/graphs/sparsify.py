"""Fewer edges: a threshold, the k nearest neighbours of a dense graph, and neighbour lists for
videos too long for a dense one (ours).

Dense forms keep [N, N] and set edges to 0; `Edges` lists k neighbours a unit, and leaves through
`graphs/tuples.py` as jraph graphs.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gfvad.base.types import ConfigError
from gfvad.graphs.units import PAIRWISE, largest, rbf_of


class Edges(NamedTuple):
    """k directed edges for each unit, from its neighbours to it. Slots without an edge (padding,
    too few units) have valid False."""

    neighbour: jax.Array  # int32 [N, k] index of the neighbour; 0 where not valid
    weight: jax.Array  # float32 [N, k] relation; 0 where not valid
    valid: jax.Array  # bool [N, k]


def threshold(r: jax.Array, alpha: float) -> jax.Array:
    """Edges below alpha set to 0, those at alpha kept. r [..., N, N] -> same shape."""
    return jnp.where(r >= alpha, r, 0.0)


def knn_mask(r: jax.Array, k: int, mask: jax.Array) -> jax.Array:
    """Which edges join a unit and one of its k most related others, in either direction; r [N, N],
    mask [N] -> bool [N, N].

    Symmetric; the diagonal of real units stays. Ties at the k-th relation are all kept, so that the
    choice commutes with permuting the units. Raises ConfigError for k < 1.
    """
    _check_k(k)
    mask = jnp.asarray(mask, bool)
    n = mask.shape[0]
    others = mask[:, None] & mask & ~jnp.eye(n, dtype=bool)
    # a symbol where the model is exported for any number of units
    if not isinstance(n, int) or k < n - 1:
        # [N] relation of the k-th neighbour; -inf where a unit has fewer, which keeps all of them
        relation = jnp.where(others, jax.lax.stop_gradient(r), -jnp.inf)
        others &= relation >= largest(relation, k)[:, -1:]
    return others | others.T | jnp.diag(mask)


def top_edges(r: jax.Array, k: int, mask: jax.Array, *, loops: bool = False) -> Edges:
    """The k strongest edges into each unit of a dense graph; r [N, N], mask [N] -> Edges [N, k].

    loops: whether a unit may be its own neighbour; k = N with loops lists the whole graph. Ties go
    to the lower index.
    Raises ConfigError for k < 1.
    """
    _check_k(k)
    mask = jnp.asarray(mask, bool)
    candidates = mask[:, None] & mask & (loops | ~jnp.eye(mask.shape[0], dtype=bool))
    neighbour, valid = _top(jnp.where(candidates, jax.lax.stop_gradient(r), -jnp.inf), k)
    return _edges(neighbour, jnp.take_along_axis(r, neighbour, axis=1), valid)


def knn_edges(
    x: jax.Array,
    k: int,
    mask: jax.Array,
    *,
    similarity: str = "cosine",
    sigma: float | jax.Array | None = None,
    chunk: int = 256,
) -> Edges:
    """The k most related others of each unit, without any [N, N] array; x [N, D], mask [N] -> Edges
    [N, k].

    Rows are compared `chunk` at a time: memory O(chunk N) forward and O(chunk k D) backward, so N
    may reach tens of thousands. The gradient runs through the weights, not through the choice. Ties
    go to the lower index. Relations and their rules as in `graphs/relations.py`; rbf needs its
    sigma, since a median over all pairs would need all pairs.
    Raises ConfigError for k < 1, an unknown similarity, or rbf without sigma.
    """
    _check_k(k)
    if similarity not in PAIRWISE:
        raise ConfigError(f"knn_edges: similarity is {similarity!r}; valid: {', '.join(PAIRWISE)}")
    relate = PAIRWISE[similarity]
    if relate.of is rbf_of and sigma is None:
        raise ConfigError(
            "knn_edges: similarity 'rbf' needs sigma (the median distance would take all pairs)"
        )
    u, live = relate.rows(x, mask)
    mask, n = jnp.asarray(mask, bool), u.shape[0]
    chunk = min(chunk, n)
    # [chunks, chunk]; the last rows are repeated to fill the last chunk, and cut again below
    rows = jnp.minimum(jnp.arange(-(-n // chunk) * chunk), n - 1).reshape(-1, chunk)

    def choose(rows):
        # [chunk, N] relations of these rows; a unit is not its own neighbour
        fixed = jax.lax.stop_gradient(u)
        relation = relate.of(relate.compared(fixed[rows], fixed), sigma)
        relation = jnp.where(live[rows][:, None] & live, relation, 0.0)
        candidates = mask[rows][:, None] & mask & (rows[:, None] != jnp.arange(n))
        return _top(jnp.where(candidates, relation, -jnp.inf), k)

    @jax.checkpoint
    def weigh(rows_and_neighbours):
        rows, neighbour = rows_and_neighbours
        # [chunk, k] relations from the gathered units [chunk, k, D], gathered again on the way back
        relation = relate.of(relate.gathered(u[rows], u[neighbour]), sigma)
        return jnp.where(live[rows][:, None] & live[neighbour], relation, 0.0)

    neighbour, valid = jax.lax.map(choose, rows)
    weight = jax.lax.map(weigh, (rows, neighbour))
    return _edges(*(a.reshape(-1, k)[:n] for a in (neighbour, weight, valid)))


def _top(relation: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """relation [n, N], -inf where there is no edge -> (index int32 [n, k], valid bool [n, k]),
    also for k > N."""
    value, index = jax.lax.top_k(relation, min(k, relation.shape[1]))
    missing = ((0, 0), (0, k - value.shape[1]))
    return jnp.pad(index, missing), jnp.pad(value > -jnp.inf, missing)


def _edges(neighbour: jax.Array, weight: jax.Array, valid: jax.Array) -> Edges:
    return Edges(
        jnp.where(valid, neighbour, 0).astype(jnp.int32), jnp.where(valid, weight, 0.0), valid
    )


def _check_k(k: int) -> None:
    if k < 1:
        raise ConfigError(
            f"config.model.relation.knn is {k}; a nearest-neighbour graph needs 1 or more"
        )
