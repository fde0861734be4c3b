"""Evaluates a mixture of narrow experts, y = sum_e weights[:, e] expert_e(x), in four forms that
give the same numbers.

Source: the experts of MemoryOut / SFN-VAD; the folded, grouped and blocked forms are ours. All
forms have one signature, form(params, x [N, D], weights [N, 1 + E], index [N, K], epsilon of the
LayerNorms) -> [N, D]. Expert 0 is the shared one, on for every unit; a unit's routed experts are 1
+ index, no index twice, and weights[:, 1:] is 0 elsewhere. N are the units of one video, under
jax.vmap over a batch, or all units of a batch at once, [B * L, D]; `docs/benchmarks.md` has both.
`folded` is 1.1 to 1.3 times faster flattened. `grouped` and `blocks` sort units by expert: they are
faster flattened, for groups are longer then, and under vmap `blocks` holds a gradient of the
parameters for each video.
Axes: N units, D features, E routed experts, b bottleneck width, K experts kept for a unit, S = N K
slots, G blocks of m slots.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gfvad.base.names import nearest
from gfvad.base.types import ConfigError
from gfvad.nn.expert_blocks import Blocks, RoutedExperts, add_blocks, block_shape, plan_blocks

# of the LayerNorms; the authors' (and torch's). Runs of versions before 0.3 have 1e-6
NORM_EPSILON = 1e-5
# what one slot costs `blocks` beyond its matmuls, in units of bottleneck width: measured, see
# `choose`
SORTING = 36
EXPERT_AXIS = "experts"


class ExpertParams(NamedTuple):
    """1 + E experts stacked on the leading axis E': LayerNorm(scale, shift) -> Dense(D, b) ->
    SiLU -> Dense(b, D)."""

    scale: jax.Array  # [E', D]
    shift: jax.Array  # [E', D]
    w_in: jax.Array  # [E', D, b]
    b_in: jax.Array  # [E', b]
    w_out: jax.Array  # [E', b, D]
    b_out: jax.Array  # [E', D]


def standardise(x: jax.Array, epsilon: float = NORM_EPSILON) -> jax.Array:
    """LayerNorm's statistics without scale and shift, [N, D] -> [N, D]. They are the same for
    every expert."""
    return standardise_forward(x, epsilon)[0]


def standardise_forward(x: jax.Array, epsilon: float) -> tuple[jax.Array, tuple]:
    """(standardised units s, what the gradient needs: s and 1 / deviation [N, 1])."""
    centred = x - x.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + epsilon)
    s = centred * scale
    return s, (s, scale)


def standardise_backward(epsilon: float, kept: tuple, g: jax.Array) -> tuple[jax.Array]:
    """The gradient of x for g [N, D], in closed form: what autodiff takes from the two means
    costs passes over [N, D]."""
    del epsilon  # it is in the kept scale
    s, scale = kept
    return (scale * (g - g.mean(-1, keepdims=True) - s * (g * s).mean(-1, keepdims=True)),)


standardise_units = jax.custom_vjp(standardise, nondiff_argnums=(1,))
standardise_units.defvjp(standardise_forward, standardise_backward)


def fold_norm(params: ExpertParams) -> tuple[jax.Array, jax.Array]:
    """Scale and shift of the LayerNorms folded into the first Dense: (w [E', D, b], bias [E',
    b]) on standardised units."""
    return params.scale[:, :, None] * params.w_in, params.b_in + jnp.einsum(
        "ed,edb->eb", params.shift, params.w_in
    )


def loop(
    params: ExpertParams,
    x: jax.Array,
    weights: jax.Array,
    index: jax.Array,
    epsilon: float = NORM_EPSILON,
) -> jax.Array:
    """The plain form: one expert after another on all units. Slow, with the least memory: the other
    forms are checked against it.

    The loop keeps one expert's [N, D] alive, and recomputes it in the backward pass, instead of
    [E', N, D].
    """
    del index  # the weights say it all
    # [N, D]
    standardised = standardise_units(x, epsilon)

    @jax.checkpoint
    def weighted_expert(expert: ExpertParams, weight: jax.Array) -> jax.Array:
        # [N, D] -> [N, b] -> [N, D]
        hidden = nn.silu((standardised * expert.scale + expert.shift) @ expert.w_in + expert.b_in)
        return weight[:, None] * (hidden @ expert.w_out + expert.b_out)

    def add(total, expert_and_weight):
        return total + weighted_expert(*expert_and_weight), None

    total, _ = jax.lax.scan(add, jnp.zeros_like(standardised), (params, weights.T))
    return total


def folded(
    params: ExpertParams,
    x: jax.Array,
    weights: jax.Array,
    index: jax.Array,
    epsilon: float = NORM_EPSILON,
) -> jax.Array:
    """All experts on all units by two matmuls: [N, D] @ [D, E' b], hidden units times their
    expert's weight, @ [E' b, D].

    It computes (1 + E) / (1 + K) times what is kept, but as dense matmuls, and holds [N, E' b] for
    the backward pass.
    The one form to take with experts sharded over devices: each holds its own columns, and one sum
    joins them.
    """
    del index
    experts, width, b = params.w_in.shape
    w_in, b_in = fold_norm(params)
    # [N, E' b]
    columns = w_in.transpose(1, 0, 2).reshape(width, -1)
    hidden = nn.silu(standardise_units(x, epsilon) @ columns + b_in.reshape(-1))
    hidden = (hidden.reshape(-1, experts, b) * weights[..., None]).reshape(hidden.shape)
    return hidden @ params.w_out.reshape(-1, width) + weights @ params.b_out


def grouped(
    params: ExpertParams,
    x: jax.Array,
    weights: jax.Array,
    index: jax.Array,
    epsilon: float = NORM_EPSILON,
) -> jax.Array:
    """Only what is kept: slots sorted by expert, two `jax.lax.ragged_dot`, and a scatter back to
    units.

    For GPUs, where ragged_dot is a kernel; never chosen by itself. On CPU, jax 0.10.2 computes it
    densely, E times the work on [E, S, D]; for TPUs it does not compile under vmap.
    """
    standardised = standardise_units(x, epsilon)
    w_in, b_in = fold_norm(params)
    experts, kept = w_in.shape[0] - 1, index.shape[1]
    flat = index.reshape(-1)
    # ragged_dot's vmap wants all operands batched: under vmap this copies the experts for each
    # video, otherwise it adds nothing
    nothing = (0 * flat[0]).astype(x.dtype)
    w_in, w_out = w_in + nothing, params.w_out[1:] + nothing
    # [S]: slots in the order of their experts, and the unit, expert and weight of each
    order = jnp.argsort(flat, stable=True)
    unit, expert = order // kept, flat[order]
    weight = jnp.take_along_axis(weights, 1 + index, axis=1).reshape(-1)[order]
    # [E]
    sizes = jnp.zeros(experts, jnp.int32).at[flat].add(1)
    # [S, D] -> [S, b] -> [S, D]
    hidden = nn.silu(jax.lax.ragged_dot(standardised[unit], w_in[1:], sizes) + b_in[1:][expert])
    routed = jax.lax.ragged_dot(weight[:, None] * hidden, w_out, sizes)
    return shared_part(params, w_in, b_in, standardised, weights).at[unit].add(routed)


def blocks(
    params: ExpertParams,
    x: jax.Array,
    weights: jax.Array,
    index: jax.Array,
    epsilon: float = NORM_EPSILON,
) -> jax.Array:
    """Only what is kept: slots sorted by expert into blocks of m, each of one expert, then one
    block after another.

    It stops after the last block in use. Its own gradient keeps [S, b], so that nothing of size [S,
    D] or [N, E' b] is ever held.
    """
    standardised = standardise_units(x, epsilon)
    w_in, b_in = fold_norm(params)
    # [G, m], [G], []
    slot, expert, used = plan_blocks(index, w_in.shape[0] - 1)
    # [S] -> [G, m]; a place without a slot has weight 0, and unit N, which is nobody
    weight = jnp.take_along_axis(weights, 1 + index, axis=1).reshape(-1)
    weight = weight.at[slot].get(mode="fill", fill_value=0)
    shared = shared_part(params, w_in, b_in, standardised, weights)
    routed = RoutedExperts(w_in[1:], b_in[1:], params.w_out[1:])
    return add_blocks(
        shared, standardised, routed, Blocks(weight, slot // index.shape[1], expert, used)
    )


def shared_part(
    params: ExpertParams,
    w_in: jax.Array,
    b_in: jax.Array,
    standardised: jax.Array,
    weights: jax.Array,
) -> jax.Array:
    """What needs no sorting, [N, D]: the shared expert, and the output biases of all, as one
    matmul."""
    hidden = weights[:, :1] * nn.silu(standardised @ w_in[0] + b_in[0])
    return jnp.concatenate([hidden, weights], -1) @ jnp.concatenate([params.w_out[0], params.b_out])


FORMS: dict[str, Callable[..., jax.Array]] = {
    "loop": loop,
    "folded": folded,
    "grouped": grouped,
    "blocks": blocks,
}


def choose(form: str, *, experts: int, bottleneck: int, topk: int, units: int, backend: str) -> str:
    """The form to take: `form` itself or, for 'auto', the one expected to be the fastest. Raises
    ConfigError for an unknown one.

    Dense matmuls cost (1 + E) b a unit, sorting b + SORTING for each place in a block, both times
    D. Measured on a CPU of 2 cores, forward + backward (`docs/benchmarks.md` has the published
    sizes): of 19 sizes (64 .. 4096 units, E 63 with K 7 and E 15 with K 4, b 8 .. 64, D 256 and one
    of 1024) the rule took the slower form in 1, E 63, 256 units, b 8, by a factor of 1.05. With E
    63 and b 8 it turns from `folded` (1.24 against 1.30 ms at 64 units) to `blocks` (10.7 against
    8.0 ms at 1024). `blocks` has become faster since. Elsewhere it is `folded`: `grouped` does not
    compile for TPUs under vmap (docs/scaling.md). No accelerator was at hand.
    Args: units N that one call sees (those of one video under vmap); backend: the platform compiled
    for (gfvad/base/platforms.py).
    """
    if form in FORMS:
        return form
    if form != "auto":
        raise ConfigError(
            f"config.model.filter.form = {form!r}{nearest(form, ('auto', *FORMS))} (one of auto,"
            f" {', '.join(FORMS)})"
        )
    m, count = block_shape(units * topk, experts)
    # per slot-sized row: places of all blocks, of which some are empty, against what dense matmuls
    # do for as many units
    if units * (1 + experts) * bottleneck <= count * m * (bottleneck + SORTING):
        return "folded"
    return "blocks" if backend == "cpu" else "folded"


def expert_sharding(mesh: Mesh, params: Any) -> Any:
    """Shardings that cut the expert axis of every array of `params` over the axis EXPERT_AXIS of a
    mesh, a tree like `params`.

    Raises ConfigError where the experts do not divide evenly.
    """
    devices = mesh.shape[EXPERT_AXIS]

    def cut(leaf: jax.Array) -> NamedSharding:
        if leaf.shape[0] % devices:
            raise ConfigError(
                f"{leaf.shape[0]} experts (1 + model.filter.experts) on {devices} devices: expected"
                f" a multiple of {devices}"
            )
        return NamedSharding(mesh, PartitionSpec(EXPERT_AXIS))

    return jax.tree.map(cut, params)
