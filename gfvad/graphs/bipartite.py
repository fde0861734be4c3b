"""Relations between the units of a video and a bank of normal units, and how new a unit is to the
bank (ours; no square graph is needed, for the fusion acts edge by edge).

A joint relation of several feature sets is `G = 1 / (1 + sum_m |x_m - b_m|^2 / s^2)`. It is the
limit of the operator's sum of products (gfvad/fusion/operator.py): with `R_m = exp(-|x_m - b_m|^2 /
s^2)` and the weight `exp(-t) dt` of a power t, `sum_t a_t prod_m R_m^t` goes to `G`. Its tail falls
as slowly as a power, so that a unit far from every other keeps a finite score and gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def squared_distances(units: jax.Array, bank: jax.Array) -> jax.Array:
    """[N, D], [K, D] (or each unit's own [N, K, D]) -> float32 [N, K] squared distances, never
    below 0."""
    if bank.ndim == 3:
        return ((units[:, None] - bank) ** 2).sum(-1)
    # differences, not the expansion of the square: one to four features, no cancellation
    if units.shape[-1] <= 4:
        return sum((units[:, None, d] - bank[None, :, d]) ** 2 for d in range(units.shape[-1]))  # type: ignore[return-value]
    square = (units**2).sum(-1)[:, None] + (bank**2).sum(-1)[None]
    return jnp.maximum(square - 2 * units @ bank.T, 0)


def log_joint_relation(distances: Sequence[jax.Array], softness: float) -> jax.Array:
    """The log of the joint relation, float32 [N, K] in (-inf, 0].

    Args: distances: squared ones of each feature set [N, K]; softness: the distance s at which a
    relation is a half.
    """
    return -jnp.log1p(sum(distances) / softness**2)


def novelty(log_graph: jax.Array, nearest: int) -> jax.Array:
    """`-log` of the mean of the `nearest` largest entries of each row: [N, K] -> [N], 0 or more."""
    largest = jax.lax.top_k(log_graph, nearest)[0]
    return -(jax.nn.logsumexp(largest, axis=-1) - jnp.log(nearest))
