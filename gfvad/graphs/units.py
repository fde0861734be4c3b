"""What every relation is made of: cleaned unit vectors, products, squared distances and the median
distance. Pure, masked, vmappable.

A unit is *live* when it is real and not all zero; relations are taken between live units only
(graph_fusion, Symbols).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

TERMS = 16  # features whose squared differences are added up at once


def directions(x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x [N, D], mask [N] -> (unit vectors [N, D], 0 where not live; live bool [N]).

    Each row is first divided by its largest entry, held constant: the direction does not depend on
    it, and neither very small nor very large features leave the range of squares. The root is taken
    of 1 where a unit is not live, so its gradient is 0 and not NaN.
    """
    x, live = _clean(x, mask)
    top = jax.lax.stop_gradient(jnp.abs(x).max(-1, keepdims=True, initial=0.0))
    scaled = x / jnp.where(live[:, None], top, 1.0)
    square = jnp.where(live, jnp.square(scaled).sum(-1), 1.0)
    return jnp.where(live[:, None], scaled / jnp.sqrt(square)[:, None], 0.0), live


def positions(x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x [N, D], mask [N] -> (x [N, D], 0 where not live; live bool [N]). No mean is taken: it
    would round small rows beside large ones."""
    x, live = _clean(x, mask)
    return jnp.where(live[:, None], x, 0.0), live


def products(u: jax.Array, v: jax.Array) -> jax.Array:
    """u [n, D], v [N, D] -> [n, N] scalar products at full precision (accelerators would round
    the factors to fewer bits)."""
    return jnp.matmul(u, v.T, precision=jax.lax.Precision.HIGHEST)


def cosine_of(product: jax.Array) -> jax.Array:
    """Product of unit vectors -> [-1, 1]; rounding may leave the interval. Beyond it the true
    gradient is 0, as clip gives."""
    return jnp.clip(product, -1.0, 1.0)


@jax.custom_vjp
def square_distances(u: jax.Array, v: jax.Array) -> jax.Array:
    """u [n, D], v [N, D] -> [n, N] squared distances |u_i - v_j|^2, from the differences
    themselves.

    |u|^2 + |v|^2 - 2 u.v would lose every digit of the distance of two near rows among large ones
    (their relation by 0.6 of 1 in float32). No array is larger than [n, N] or those given, also on
    the way back.
    """
    first, *more = _feature_groups(u, v)
    total = _square_differences(*first)
    if more:
        total, _ = jax.lax.scan(
            lambda total, pair: (total + _square_differences(*pair), None), total, more[0]
        )
    return total


def _square_distances_forward(u: jax.Array, v: jax.Array):
    return square_distances(u, v), (u, v)


def _square_distances_backward(
    rows: tuple[jax.Array, jax.Array], weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Gradients of both sides, again from the differences: 2 sum_j w_ij (u_i - v_j), and the
    same for v with w transposed."""
    u, v = rows
    return _weighted_differences(u, v, 2.0 * weight), _weighted_differences(v, u, 2.0 * weight.T)


square_distances.defvjp(_square_distances_forward, _square_distances_backward)


def _feature_groups(u: jax.Array, v: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    """u [n, D], v [N, D] -> [the first TERMS features of both, [TERMS, n] and [TERMS, N]; the
    others, [groups, TERMS, ...], if any].

    Features beyond D are 0 in both, which adds nothing to a distance.
    """
    wide = u.shape[1]
    groups = max(1, -(-wide // TERMS))
    pair = tuple(
        jnp.pad(a.T, ((0, groups * TERMS - wide), (0, 0))).reshape(groups, TERMS, a.shape[0])
        for a in (u, v)
    )
    first, others = tuple(a[0] for a in pair), tuple(a[1:] for a in pair)
    return [first, others] if groups > 1 else [first]  # pyright: ignore[reportReturnType]


def _square_differences(u: jax.Array, v: jax.Array) -> jax.Array:
    """u [TERMS, n], v [TERMS, N] -> [n, N]; term by term, so that one pass over [n, N] does them
    all."""
    return sum(jnp.square(a[:, None] - b) for a, b in zip(u, v))  # pyright: ignore[reportReturnType]


def _weighted_differences(u: jax.Array, v: jax.Array, weight: jax.Array) -> jax.Array:
    """sum_j w_ij (u_i - v_j): u [n, D], v [N, D], weight [n, N] -> [n, D]; TERMS rows of v in
    one pass over [n, D]."""
    groups = max(1, -(-v.shape[0] // TERMS))
    more = groups * TERMS - v.shape[0]
    others = jnp.pad(v, ((0, more), (0, 0))).reshape(groups, TERMS, -1)
    weights = jnp.pad(weight.T, ((0, more), (0, 0))).reshape(groups, TERMS, -1)
    pull = lambda pair: sum(w[:, None] * (u - row) for row, w in zip(*pair))
    total = pull((others[0], weights[0]))  # begun by the data: a zero would lack its mapped axes
    if groups > 1:
        total, _ = jax.lax.scan(
            lambda total, pair: (total + pull(pair), None), total, (others[1:], weights[1:])
        )
    return total  # pyright: ignore[reportReturnType]


def rbf_of(squared: jax.Array, sigma: jax.Array | float) -> jax.Array:
    """exp(-d^2 / (2 sigma^2))."""
    return jnp.exp(-squared / (2.0 * jnp.square(sigma)))


class Pairwise(NamedTuple):
    """A relation that two units have by themselves, whatever the others are."""

    rows: Callable[..., tuple[jax.Array, jax.Array]]  # x [N, D], mask [N] -> ([N, D], live [N])
    compared: Callable[..., jax.Array]  # rows [n, D], rows [N, D] -> [n, N]
    gathered: Callable[..., jax.Array]  # rows [n, D], k rows for each [n, k, D] -> [n, k]
    of: Callable[..., jax.Array]  # what was compared, sigma -> relation


def _gathered_products(u: jax.Array, v: jax.Array) -> jax.Array:
    return jnp.einsum("cd,ckd->ck", u, v, precision=jax.lax.Precision.HIGHEST)


def _gathered_distances(u: jax.Array, v: jax.Array) -> jax.Array:
    return jnp.square(u[:, None] - v).sum(-1)


_ANGLES = (directions, products, _gathered_products)
PAIRWISE = {  # of graphs/relations.py: RELATIONS, those that need not see all pairs
    "cosine": Pairwise(*_ANGLES, lambda product, sigma: cosine_of(product)),
    "cosine01": Pairwise(*_ANGLES, lambda product, sigma: 0.5 * (1.0 + cosine_of(product))),
    "rbf": Pairwise(positions, square_distances, _gathered_distances, rbf_of),
}


def median_distance(squared: jax.Array, pairs: jax.Array) -> jax.Array:
    """Median of sqrt(squared) where `pairs` (symmetric) holds -> []; differentiable.

    Where more than half of the pairs coincide the median is 0 and no width: then the root mean
    square serves, and 1 where that is 0 too or there is no pair.
    """
    count = pairs.sum()
    lower, upper = (_ranked(squared, pairs, rank) for rank in ((count - 1) // 2, count // 2))
    median = 0.5 * (_root(lower) + _root(upper))
    spread = _root(jnp.where(pairs, squared, 0.0).sum() / jnp.maximum(count, 1))
    return jnp.where(median > 0, median, jnp.where(spread > 0, spread, 1.0))


def _clean(x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x in at least float32 with padded units 0, and which units are live (below the root of the
    smallest float a square is 0)."""
    mask = jnp.asarray(mask, bool)
    x = jnp.where(mask[:, None], x, 0.0).astype(jnp.result_type(x, jnp.float32))
    tiny = float(jnp.finfo(x.dtype).tiny) ** 0.5
    return x, mask & (jnp.abs(x) > tiny).any(-1)


def _root(x: jax.Array) -> jax.Array:
    """sqrt with gradient 0 at 0."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)


def _ranked(values: jax.Array, valid: jax.Array, rank: jax.Array) -> jax.Array:
    """The valid value (>= 0) of that rank, 0 for the smallest; differentiable in `values`.

    Bisection on the bit pattern, which orders floats from 0 up as integers: sorting the [N, N]
    pairs takes 25 times as long on a processor (N = 200), which would cost more than the whole
    training step.
    """
    integer = jnp.int64 if values.dtype == jnp.float64 else jnp.int32
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(values), integer)
    top = jax.lax.bitcast_convert_type(jnp.array(jnp.inf, values.dtype), integer)

    def halve(_, ends):
        low, high = ends
        middle = low + (high - low) // 2
        enough = (valid & (bits <= middle)).sum() > rank
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    # as a sum over the data keeps the mapped axes of both ends alike
    zero = jnp.zeros_like(bits, shape=())
    low, _ = jax.lax.fori_loop(0, jnp.iinfo(integer).bits, halve, (zero, top + zero))
    hit = valid & (bits == low)
    return jnp.where(hit, values, 0.0).sum() / jnp.maximum(hit.sum(), 1)


def largest(x: jax.Array, k: int) -> jax.Array:
    """The k largest entries along the last axis, in order: [..., N] -> [..., min(k, N)].

    Where N is a symbol, as in a model exported for any number of units, [..., k] with -inf for what
    is not there.
    """
    n = x.shape[-1]
    if isinstance(n, int):
        return jax.lax.top_k(x, min(k, n))[0]
    return jax.lax.top_k(
        jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, k)], constant_values=-jnp.inf), k
    )[0]
