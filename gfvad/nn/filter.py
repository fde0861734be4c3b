"""Sparse feature filter: a mixture of narrow experts without a residual path, so what the
bottlenecks cannot carry is gone.

Source: MemoryOut / SFN-VAD (sparse feature filtering module); the numbers of its public
configuration are the defaults of `model.filter`. Parameters at D = 256, E = 63: 0.33 M (b = 8),
0.59 M (b = 16), 6.4 M (b = 192). How the experts are evaluated stands in `experts.py`; other
filters behind the same interface in `memory.py`.
Axes: N units, D features, E routed experts, K experts kept for a unit, b bottleneck width.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.base.platforms import compiled_for
from gfvad.base.types import ConfigError
from gfvad.nn.experts import FORMS, NORM_EPSILON, ExpertParams, choose


class FilterStats(NamedTuple):
    """What a filter tells about one video. The E choices are the routed experts, or the items of
    a memory."""

    # [] the filter's auxiliary loss, times `loss.balance` in training; 0 without a real unit.
    # Balance loss
    balance: jax.Array
    # of experts (1 when probabilities and slots are uniform); what a memory has instead is said
    # there [E] share of the routed slots (of a memory: of the addressing weight), sums to 1 (to 0
    # without a real unit)
    usage: jax.Array
    # [] mean over units of the entropy of the router's (addressing) probabilities, in nats, 0 ..
    # log E
    router_entropy: jax.Array
    # [] share of the choices that no real unit took; 0 without a real unit. Over a set, average
    # `usage` first
    dead: jax.Array


class Routing(NamedTuple):
    """Where the router sends each unit, densely and as slots."""

    probabilities: jax.Array  # [N, E]
    weights: jax.Array  # [N, E], 0 where not kept
    kept: jax.Array  # bool [N, E], K True a row
    index: jax.Array  # int [N, K], the kept experts, the most probable first


def route(logits: jax.Array, topk: int, scale: float) -> Routing:
    """Router of the mixture: softmax, the `topk` largest, renormalised to sum 1, times `scale`.

    Args: logits [N, E], float32 or wider.
    """
    probabilities = jax.nn.softmax(logits, axis=-1)
    # [N, K]
    _, index = jax.lax.top_k(probabilities, topk)
    # [N, K, E] -> [N, E]: comparisons instead of a scatter, whose gradient would be a gather
    kept = (index[:, :, None] == jnp.arange(logits.shape[-1])).any(1)
    top = jnp.where(kept, probabilities, 0.0)
    return Routing(probabilities, scale * top / top.sum(-1, keepdims=True), kept, index)


def balance_loss(probabilities: jax.Array, kept: jax.Array, mask: jax.Array) -> jax.Array:
    """Balance loss of one sequence, sum_e f_e P_e, over real units only; [] (SFN-VAD).

    f_e = (slots routed to e / units) * E / K and P_e = mean probability of e, so that uniform
    routing gives 1.
    Its gradient goes through P_e alone: f_e counts.
    Args: probabilities [N, E], kept bool [N, E] with K True a row, mask bool [N].
    """
    experts = probabilities.shape[-1]
    mean_probability = masked_mean(probabilities, mask)
    share = slot_share(kept, mask)
    return experts * jnp.sum(share * mean_probability)


def slot_share(kept: jax.Array, mask: jax.Array) -> jax.Array:
    """Share of the routed slots of real units that each expert got: bool [N, E], [N] -> [E],
    sums to 1."""
    slots = jnp.sum(kept & mask[:, None], axis=0).astype(jnp.float32)
    return slots / jnp.maximum(slots.sum(), 1.0)


def dead_share(kept: jax.Array, mask: jax.Array) -> jax.Array:
    """Share of experts that no real unit kept: bool [N, E], [N] -> []; 0 without a real unit."""
    taken = (kept & mask[:, None]).any(0)
    return jnp.where(mask.any(), 1.0 - taken.mean(dtype=jnp.float32), 0.0)


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean over real units, [N, ...] and [N] -> [...]; 0 without any."""
    real = mask.reshape(mask.shape + (1,) * (values.ndim - 1))
    return jnp.where(real, values, 0.0).sum(0) / jnp.maximum(mask.sum(), 1)


def entropy(probabilities: jax.Array) -> jax.Array:
    """Entropy of each row in nats, [N, E] -> [N]. x log x has the limit 0 at 0, and here the
    gradient 0 instead of an infinite one."""
    positive = probabilities > 0
    return -jnp.where(
        positive, probabilities * jnp.log(jnp.where(positive, probabilities, 1.0)), 0.0
    ).sum(-1)


def expert_params(module: nn.Module, experts: int, width: int, bottleneck: int) -> ExpertParams:
    """Parameters of `experts` experts on [*, width] features, made in `module` under the names
    of ExpertParams' fields."""
    kernel = nn.initializers.lecun_normal(batch_axis=(0,))
    zeros, ones = nn.initializers.zeros_init(), nn.initializers.ones_init()
    return ExpertParams(
        scale=module.param("scale", ones, (experts, width)),
        shift=module.param("shift", zeros, (experts, width)),
        w_in=module.param("w_in", kernel, (experts, width, bottleneck)),
        b_in=module.param("b_in", zeros, (experts, bottleneck)),
        w_out=module.param("w_out", kernel, (experts, bottleneck, width)),
        b_out=module.param("b_out", zeros, (experts, width)),
    )


class SparseFeatureFilter(nn.Module):
    """One shared expert, always on, and E routed ones of which each unit keeps `topk`: y =
    shared(x) + sum_k w_k expert_k(x).

    Masked units get output 0, whatever they hold, and enter no statistic. There is no residual
    path. `form` says how experts are evaluated (`experts.py`); parameters and numbers are the same
    in every form.
    """

    experts: int = 63  # E
    topk: int = 7
    bottleneck: int = 8  # b
    scale: float = 2.0  # factor on the renormalised router weights
    form: str = "auto"  # auto, or one of experts.FORMS
    epsilon: float = NORM_EPSILON  # of the experts' LayerNorms

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, FilterStats]:
        """x [N, D], mask bool [N] -> (y [N, D], FilterStats). Raises ConfigError where topk >
        experts or the form is unknown."""
        if not 1 <= self.topk <= self.experts:
            raise ConfigError(
                f"model.filter.topk is {self.topk}, expected 1 .. model.filter.experts ="
                f" {self.experts}"
            )
        units, width = x.shape
        sizes = {
            "experts": self.experts,
            "bottleneck": self.bottleneck,
            "topk": self.topk,
            "units": units,
        }
        form = choose(self.form, **sizes, backend=compiled_for())
        x = jnp.where(mask[:, None], x, 0.0)
        # [N, E]; the router stays in float32 where features are narrower
        exact = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        router = self.param("router", nn.initializers.lecun_normal(), (width, self.experts))
        routing = route(exact @ router, self.topk, self.scale)
        # else it would be among the variables that training keeps and stores
        if not self.is_initializing():
            # for pictures of who uses which expert; costs nothing unless asked for
            self.sow("routing", "kept", routing.kept)
        # [N, 1 + E]: the shared expert always counts once
        weights = jnp.concatenate(
            [jnp.ones_like(routing.weights[:, :1]), routing.weights], -1
        ).astype(x.dtype)
        # [N, D]
        params = expert_params(self, 1 + self.experts, width, self.bottleneck)
        y = FORMS[form](params, x, weights, routing.index, self.epsilon)
        return jnp.where(mask[:, None], y, 0.0), routing_stats(routing, mask)


def routing_stats(routing: Routing, mask: jax.Array) -> FilterStats:
    """Statistics of a router over the real units of one video."""
    return FilterStats(
        balance=balance_loss(routing.probabilities, routing.kept, mask),
        usage=slot_share(routing.kept, mask),
        router_entropy=masked_mean(entropy(routing.probabilities), mask),
        dead=dead_share(routing.kept, mask),
    )
