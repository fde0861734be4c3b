"""Sparse feature filter: a mixture of narrow experts without a residual path, so what the bottlenecks cannot carry is gone.

Source: MemoryOut / SFN-VAD (sparse feature filtering module); the numbers of its public configuration are the defaults of
`model.filter`. Parameters at D = 256, E = 63: 0.33 M (b = 8), 0.59 M (b = 16), 6.4 M (b = 192).
Axes: N units, D features, E routed experts, b bottleneck width.
"""
from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.types import ConfigError

NORM_EPSILON = 1e-6


class ExpertParams(NamedTuple):
    """Experts stacked on the leading axis: LayerNorm(scale, shift) -> Dense(D, b) -> SiLU -> Dense(b, D)."""

    scale: jax.Array  # [E, D]
    shift: jax.Array  # [E, D]
    w_in: jax.Array  # [E, D, b]
    b_in: jax.Array  # [E, b]
    w_out: jax.Array  # [E, b, D]
    b_out: jax.Array  # [E, D]


class FilterStats(NamedTuple):
    """What a filter tells about its routing of one video; an expert is dead where its usage is 0."""

    balance: jax.Array  # [] balance loss; 1 when probabilities and slots are uniform; 0 without a real unit
    usage: jax.Array  # [E] share of the routed slots, sums to 1 (to 0 without a real unit)
    router_entropy: jax.Array  # [] mean over units of the entropy of the router's probabilities, in nats, 0 .. log E


def standardise_units(x: jax.Array) -> jax.Array:
    """LayerNorm's statistics without scale and shift, [N, D] -> [N, D]. They are the same for every expert."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + NORM_EPSILON)


def expert_mixture(params: ExpertParams, x: jax.Array, weights: jax.Array) -> jax.Array:
    """sum_e weights[:, e] * expert_e(x): [N, D] and [N, E] -> [N, D]. The plain form: one expert after another.

    Pure, and the only place where experts are evaluated, so a faster form replaces this one function.
    The loop keeps one expert's [N, D] alive, and recomputes it in the backward pass, instead of [E, N, D].
    """
    # [N, D]
    standardised = standardise_units(x)

    @jax.checkpoint
    def weighted_expert(expert: ExpertParams, weight: jax.Array) -> jax.Array:
        # [N, D] -> [N, b] -> [N, D]
        hidden = nn.silu((standardised * expert.scale + expert.shift) @ expert.w_in + expert.b_in)
        return weight[:, None] * (hidden @ expert.w_out + expert.b_out)

    def add(total, expert_and_weight):
        return total + weighted_expert(*expert_and_weight), None

    total, _ = jax.lax.scan(add, jnp.zeros_like(standardised), (params, weights.T))
    return total


def route(logits: jax.Array, topk: int, scale: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Router of the mixture: softmax, the `topk` largest, renormalised to sum 1, times `scale`.

    Args: logits [N, E], float32 or wider. Returns (probabilities [N, E], weights [N, E] (0 where not kept),
    kept bool [N, E]).
    """
    probabilities = jax.nn.softmax(logits, axis=-1)
    # [N, K]
    top, index = jax.lax.top_k(probabilities, topk)
    top = scale * top / top.sum(-1, keepdims=True)
    # [N, K, E]: which expert a slot went to
    slots = jax.nn.one_hot(index, logits.shape[-1], dtype=logits.dtype)
    return probabilities, jnp.einsum("nk,nke->ne", top, slots), slots.sum(1) > 0


def balance_loss(probabilities: jax.Array, kept: jax.Array, mask: jax.Array) -> jax.Array:
    """Balance loss of one sequence, sum_e f_e P_e, over real units only; [] (SFN-VAD).

    f_e = (slots routed to e / units) * E / K and P_e = mean probability of e, so that uniform routing gives 1.
    Its gradient goes through P_e alone: f_e counts.
    Args: probabilities [N, E], kept bool [N, E] with K True a row, mask bool [N].
    """
    experts = probabilities.shape[-1]
    mean_probability = masked_mean(probabilities, mask)
    share = slot_share(kept, mask)
    return experts * jnp.sum(share * mean_probability)


def slot_share(kept: jax.Array, mask: jax.Array) -> jax.Array:
    """Share of the routed slots of real units that each expert got: bool [N, E], [N] -> [E], sums to 1."""
    slots = jnp.sum(kept & mask[:, None], axis=0).astype(jnp.float32)
    return slots / jnp.maximum(slots.sum(), 1.0)


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean over real units, [N, ...] and [N] -> [...]; 0 without any."""
    real = mask.reshape(mask.shape + (1,) * (values.ndim - 1))
    return jnp.where(real, values, 0.0).sum(0) / jnp.maximum(mask.sum(), 1)


class SparseFeatureFilter(nn.Module):
    """One shared expert, always on, and E routed ones of which each unit keeps `topk`: y = shared(x) + sum_k w_k expert_k(x).

    Masked units get output 0, whatever they hold, and enter no statistic. There is no residual path.
    """

    experts: int = 63  # E
    topk: int = 7
    bottleneck: int = 8  # b
    scale: float = 2.0  # factor on the renormalised router weights

    def expert_params(self, width: int) -> ExpertParams:
        """Parameters of the 1 + E experts on [*, width] features; the shared one is the first."""
        kernel = nn.initializers.lecun_normal(batch_axis=(0,))
        zeros, ones = nn.initializers.zeros_init(), nn.initializers.ones_init()
        experts, b = 1 + self.experts, self.bottleneck
        return ExpertParams(
            scale=self.param("scale", ones, (experts, width)),
            shift=self.param("shift", zeros, (experts, width)),
            w_in=self.param("w_in", kernel, (experts, width, b)),
            b_in=self.param("b_in", zeros, (experts, b)),
            w_out=self.param("w_out", kernel, (experts, b, width)),
            b_out=self.param("b_out", zeros, (experts, width)),
        )

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, FilterStats]:
        """x [N, D], mask bool [N] -> (y [N, D], FilterStats). Raises ConfigError where topk > experts."""
        if not 1 <= self.topk <= self.experts:
            raise ConfigError(f"model.filter.topk is {self.topk}, expected 1 .. model.filter.experts = {self.experts}")
        x = jnp.where(mask[:, None], x, 0.0)
        # [N, E]; the router stays in float32 where features are narrower
        exact = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        router = self.param("router", nn.initializers.lecun_normal(), (x.shape[-1], self.experts))
        probabilities, weights, kept = route(exact @ router, self.topk, self.scale)
        # [N, 1 + E]: the shared expert always counts once
        weights = jnp.concatenate([jnp.ones_like(weights[:, :1]), weights], -1).astype(x.dtype)
        # [N, D]
        y = expert_mixture(self.expert_params(x.shape[-1]), x, weights)
        # [N]: x log x has the limit 0 at 0, which xlogy keeps
        entropy = -jax.scipy.special.xlogy(probabilities, probabilities).sum(-1)
        stats = FilterStats(balance_loss(probabilities, kept, mask), slot_share(kept, mask), masked_mean(entropy, mask))
        return jnp.where(mask[:, None], y, 0.0), stats
