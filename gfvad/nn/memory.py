"""What one puts in place of the sparse feature filter, behind its interface: nothing, one
bottleneck, or a memory of normal features.

module(x [N, D], mask bool [N]) -> (y [N, D], FilterStats). Masked units get output 0, whatever they
hold, and enter no statistic; there is no residual path. `FilterStats.balance` is each kind's own
auxiliary loss, said in its docstring.
Axes: N units, D features, M memory items.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.base.types import ConfigError
from gfvad.nn.experts import NORM_EPSILON, loop
from gfvad.nn.filter import FilterStats, dead_share, entropy, expert_params, masked_mean

LENGTH_EPSILON = 1e-12  # added to squared lengths: units of zeros keep finite gradients
MARGIN = 1.0  # alpha of the separateness loss (MNAD)
AUXILIARY = 0.1  # lambda_c = lambda_s of compactness and separateness


class NoFilter(nn.Module):
    """The features as they are: y = x. Auxiliary loss 0; usage [1] is 1."""

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, FilterStats]:
        return jnp.where(mask[:, None], x, 0.0), one_choice(mask)


class Bottleneck(nn.Module):
    """One expert of `SparseFeatureFilter` for all units, without routing: LayerNorm -> Dense(D, b)
    -> SiLU -> Dense(b, D).

    Auxiliary loss 0; usage [1] is 1.
    """

    bottleneck: int = 8  # b
    epsilon: float = NORM_EPSILON  # of the expert's LayerNorm

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, FilterStats]:
        x = jnp.where(mask[:, None], x, 0.0)
        params = expert_params(self, 1, x.shape[-1], self.bottleneck)
        # a loop of one expert: weight 1 for every unit, and no routed slot
        nothing = jnp.zeros((len(x), 0), jnp.int32)
        y = loop(params, x, jnp.ones_like(x[:, :1]), nothing, self.epsilon)
        return jnp.where(mask[:, None], y, 0.0), one_choice(mask)


def one_choice(mask: jax.Array) -> FilterStats:
    """Statistics where there is nothing to choose."""
    zero = jnp.zeros((), jnp.float32)
    return FilterStats(zero, mask.any().astype(jnp.float32)[None], zero, zero)


class MemAE(nn.Module):
    """Memory-augmented features: y = sum_m a_m item_m, a few learnt items of normal units (MemAE,
    Gong et al. 2019, section 3).

    a = softmax of the cosines of x with the items; then hard shrinkage, a_m where a_m > threshold
    and 0 elsewhere, renormalised to sum 1. The paper writes relu(a - t) a / (|a - t| + epsilon),
    the same but for epsilon, so that its gradient is finite; here the gradient is that of the kept
    entries. A unit whose weights all fall below the threshold reads nothing, y = 0.
    Auxiliary loss: entropy of a, mean over units (their weight: 0.0002). usage is the mean of a,
    [M]; a dead item is read by no unit.
    """

    items: int = 2000  # M
    # threshold in units of 1 / M (the paper: 1 to 3); cosines are in [-1, 1], so a_m is at most e^2
    # / M
    shrink: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, FilterStats]:
        check_items(self.items)
        x = jnp.where(mask[:, None], x, 0.0)
        # [M, D]
        items = self.param(
            "items", nn.initializers.normal(x.shape[-1] ** -0.5), (self.items, x.shape[-1])
        )
        # [N, M]; addressing stays in float32 where features are narrower
        exact = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        weights = shrunk(
            jax.nn.softmax(unit_length(exact) @ unit_length(items).T, -1), self.shrink / self.items
        )
        y = weights.astype(x.dtype) @ items
        uncertainty = masked_mean(entropy(weights), mask)
        stats = FilterStats(
            uncertainty, masked_mean(weights, mask), uncertainty, dead_share(weights > 0, mask)
        )
        return jnp.where(mask[:, None], y, 0.0), stats


def shrunk(weights: jax.Array, threshold: float) -> jax.Array:
    """Addressing weights [N, M] above the threshold, renormalised to sum 1; a row of zeros where
    none is (MemAE)."""
    kept = jnp.where(weights > threshold, weights, 0.0)
    total = kept.sum(-1, keepdims=True)
    return kept / jnp.where(total > 0, total, 1.0)


class MNAD(nn.Module):
    """Memory of separated prototypes: y = Dense([q | read]) with q = x / |x| and read = softmax(q
    p^T) p (MNAD, Park et al. 2020, section 3).

    The decoder of the paper takes [q | read], 2 D wide; here a Dense makes it D wide again, on
    entries times sqrt(D), so that they have mean square 1 (ours).
    Auxiliary loss: AUXILIARY * (compactness + separateness), means over units; p is constant in it,
    as in the paper. usage is the mean addressing weight, [M]; a dead item is no unit's nearest.

    Items are no parameters: they lie in the collection "memory", in `items` [M, D], rows of length
    1, and are never learnt by gradient. They are written only where that collection is mutable,
    `apply(..., mutable=["memory"])`: in training, and then after they were read. Under jax.vmap
    over a batch each video would write a memory of its own; there, call `updated_items` on the
    queries of the whole batch instead, [B * L, D], or apply the module to the flattened units.
    """

    items: int = 10  # M

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, FilterStats]:
        check_items(self.items)
        width = x.shape[-1]
        x = jnp.where(mask[:, None], x, 0.0)
        exact = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        memory = self.variable(
            "memory",
            "items",
            lambda: unit_length(jax.random.normal(self.make_rng("params"), (self.items, width))),
        )
        # [M, D], [N, D], [N, M]
        items, queries = jax.lax.stop_gradient(memory.value), unit_length(exact)
        weights = jax.nn.softmax(queries @ items.T, -1)
        both = jnp.concatenate([queries, weights @ items], -1) * width**0.5
        y = nn.Dense(width, name="project")(both.astype(x.dtype))
        if self.is_mutable_collection("memory") and not self.is_initializing():
            memory.value = updated_items(items, queries, mask)
        nearest = jnp.argmax(queries @ items.T, -1)[:, None] == jnp.arange(self.items)
        auxiliary = AUXILIARY * prototype_loss(items, queries, mask)
        stats = FilterStats(
            auxiliary,
            masked_mean(weights, mask),
            masked_mean(entropy(weights), mask),
            dead_share(nearest, mask),
        )
        return jnp.where(mask[:, None], y, 0.0), stats


def prototype_loss(items: jax.Array, queries: jax.Array, mask: jax.Array) -> jax.Array:
    """Compactness |q - p_1| + separateness max(0, |q - p_1| - |q - p_2| + MARGIN), mean over real
    units; [] (MNAD).

    p_1 and p_2 are the nearest and second nearest of items [M, D] to a query [N, D], all of length
    1. One item alone has no second: its separateness is 0.
    """
    count = min(2, len(items))
    # [N, 2], [N, 2, D] -> [N, 2]
    _, index = jax.lax.top_k(queries @ items.T, count)
    distance = jnp.sqrt(jnp.square(queries[:, None] - items[index]).sum(-1) + LENGTH_EPSILON)
    loss = distance[:, 0]
    if count == 2:
        loss = loss + jax.nn.relu(distance[:, 0] - distance[:, 1] + MARGIN)
    return masked_mean(loss, mask)


def updated_items(items: jax.Array, queries: jax.Array, mask: jax.Array) -> jax.Array:
    """The memory after it saw the queries of real units: p <- normalise(p + sum_k v'_k q_k), [M,
    D]; no gradient (MNAD).

    The sum runs over the queries whose nearest item is p. v' is the softmax of p's similarities
    over all queries, divided by its largest among those, so that the softmax's denominator cancels:
    v'_k = exp(s_k - max s). An item that is nobody's nearest stays.
    Args: items [M, D] and queries [N, D] of length 1, mask bool [N].
    """
    items, queries = jax.lax.stop_gradient((items, queries))
    # [N, M]
    similarity = queries @ items.T
    own = (jnp.argmax(similarity, -1)[:, None] == jnp.arange(len(items))) & mask[:, None]
    largest = jnp.where(own, similarity, -jnp.inf).max(0)
    share = jnp.where(own, jnp.exp(jnp.where(own, similarity - largest, 0.0)), 0.0)
    return jnp.where(own.any(0)[:, None], unit_length(items + share.T @ queries), items)


def unit_length(x: jax.Array) -> jax.Array:
    """Rows over their lengths, [N, D]; a row of zeros stays zeros, with a finite gradient."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + LENGTH_EPSILON)


def check_items(items: int) -> None:
    """Refuses an empty memory."""
    if items < 1:
        raise ConfigError(f"model.filter.memory_items is {items}, expected 1 or more")
