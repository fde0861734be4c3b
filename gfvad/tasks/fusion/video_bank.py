"""Relations to other videos: a bank of described training units with what the model said of them,
and what it says of a new unit by those that are alike.

The bank is written while the model learns (the newest examples take the place of the oldest), one
unit of each example, and is read where videos are scored alone: evidence of a unit is the mean of
the evidence of the bank's units, weighted by exp(sharpness (cosine - 1)) of their features (ours;
after label propagation over k nearest neighbours, Zhu and Ghahramani 2002, and the kernel of
Nadaraya 1964 in place of a fixed number of neighbours).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

COLLECTION = "bank"  # of what steps of training write (gfvad/train/state.py: is_written)
KEYS = "bank_keys"  # of Output.aux in training: directions of the units [N, D]
STRIDE = 7  # units that the place drawn from an example moves from one example to the next
DESCRIBED = 0.5  # what a unit has to count at least
TINY = 1e-30


class Bank(NamedTuple):
    """K units of training videos."""

    keys: Any  # float32 [K, D] directions; zeros where nothing is written
    values: Any  # float32 [K] evidence, as a logit
    known: Any  # float32 [K], 1 where a unit is written that counts


def empty(units: int, width: int) -> Bank:
    """A bank of K units without any."""
    return Bank(jnp.zeros((units, width)), jnp.zeros(units), jnp.zeros(units))


def unit_vectors(x: jax.Array) -> jax.Array:
    """[..., D] over its length; zeros stay zeros, with finite gradients."""
    squared = jnp.square(x).sum(-1, keepdims=True)
    return x / jnp.sqrt(jnp.where(squared > 0, squared, 1.0))


def said_of_like(bank: Bank, keys: jax.Array, sharpness: float) -> tuple[jax.Array, jax.Array]:
    """(evidence [N] of units with directions [N, D] by the bank's, whether there is any: bool []).

    sum_k w_k v_k / sum_k w_k with w_k = known_k exp(sharpness (u . u_k - 1)).
    """
    # [N, K]; the largest is taken off, so that a far unit has neighbours too
    power = sharpness * (keys @ bank.keys.T)
    largest = jnp.where(bank.known > 0, power, -jnp.inf).max(-1, keepdims=True)
    weight = bank.known * jnp.exp(jnp.minimum(power - jnp.where(largest > -1e9, largest, 0.0), 0.0))
    total = weight.sum(-1)
    return weight @ bank.values / jnp.maximum(total, TINY), (bank.known > 0).any()


def written(
    bank: Bank, keys: jax.Array, logits: jax.Array, batch: Any, axis_name: str | None
) -> Bank:
    """The bank after a step: one unit of each example of the global batch, at the example's place
    in the stream modulo K.

    keys [B, N, D] directions of units, zeros where they do not count; logits [B, N].
    """
    at = (STRIDE * batch.position) % keys.shape[1]  # [B]
    take = lambda x: jnp.take_along_axis(x, at.reshape(-1, *[1] * (x.ndim - 1)), 1)[:, 0]
    key, value = take(keys), take(logits)
    known = (batch.valid & take(batch.mask) & (key != 0).any(-1)).astype(jnp.float32)
    new = batch.position, key, value, known
    if axis_name is not None:
        new = jax.tree.map(lambda x: jax.lax.all_gather(x, axis_name, tiled=True), new)
    position, *parts = jax.lax.stop_gradient(new)
    place = position % len(bank.values)
    return Bank(*(old.at[place].set(part) for old, part in zip(bank, parts)))
