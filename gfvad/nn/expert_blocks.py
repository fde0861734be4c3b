"""Slots sorted by expert into blocks of one expert each, and the sum over them with its own
gradient: what the form `blocks` of `experts.py` is made of.

Axes: N units, D features, E routed experts, b bottleneck width, K experts kept for a unit, S = N K
slots, G blocks of m slots.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

LARGEST_BLOCK, SMALLEST_BLOCK = 256, 16  # slots m of a block


class RoutedExperts(NamedTuple):
    """The routed experts, on standardised units."""

    w_in: jax.Array  # [E, D, b]
    b_in: jax.Array  # [E, b]
    w_out: jax.Array  # [E, b, D]


class Blocks(NamedTuple):
    """Slots in blocks of one expert each."""

    weight: jax.Array  # [G, m]; 0 where a place is empty
    unit: jax.Array  # int [G, m]; N where a place is empty
    expert: jax.Array  # int [G]
    used: jax.Array  # int [], the blocks that hold a slot: the first ones


def plan_blocks(index: jax.Array, experts: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Places the S slots of index [N, K] into G blocks: (slot [G, m], S where a place is empty;
    expert of each block [G]; used []).

    The first `used` blocks hold at least one slot, the others none.
    """
    flat = index.reshape(-1)
    slots = flat.size
    m, count = block_shape(slots, experts)
    # [E]
    sizes = jnp.zeros(experts, jnp.int32).at[flat].add(1)
    last_block = jnp.cumsum(-(-sizes // m))
    first_place, first_slot = m * (last_block - -(-sizes // m)), jnp.cumsum(sizes) - sizes
    # [S]
    order, expert = sort_slots(flat, experts)
    place = first_place[expert] + jnp.arange(slots, dtype=jnp.int32) - first_slot[expert]
    slot = jnp.full(count * m, slots, jnp.int32).at[place].set(order, unique_indices=True)
    # blocks after the last one in use are empty, and any expert will do
    owner = jnp.minimum(jnp.searchsorted(last_block, jnp.arange(count), side="right"), experts - 1)
    return slot.reshape(count, m), owner, last_block[-1]


def sort_slots(expert: jax.Array, experts: int) -> tuple[jax.Array, jax.Array]:
    """Slots in the order of their experts, and each one's expert: int [S] -> two int32 [S]. Stable.

    Expert and slot are packed into one number where they fit: on a CPU, sorting numbers takes a
    fifth of a stable argsort's time.
    """
    slots = expert.size
    bits = (slots - 1).bit_length() if isinstance(slots, int) else 31
    if (experts - 1).bit_length() + bits > 31:
        order = jnp.argsort(expert, stable=True).astype(jnp.int32)
        return order, expert[order].astype(jnp.int32)
    packed = jnp.sort((expert.astype(jnp.int32) << bits) | jnp.arange(slots, dtype=jnp.int32))
    return packed & ((1 << bits) - 1), packed >> bits


def block_shape(slots: int, experts: int) -> tuple[int, int]:
    """(m, G): m is the largest power of two up to the mean number of slots of an expert, within
    SMALLEST_BLOCK .. LARGEST_BLOCK.

    G = ceil(S / m) + E blocks are enough for any routing: each expert leaves at most one block
    partly empty.
    """
    if not isinstance(slots, int):  # a symbol, where a model is exported for any number of units
        return SMALLEST_BLOCK, -(-slots // SMALLEST_BLOCK) + experts
    m = min(LARGEST_BLOCK, max(SMALLEST_BLOCK, 2 ** max((slots // experts).bit_length() - 1, 0)))
    return m, -(-slots // m) + experts


@jax.custom_vjp
def add_blocks(y: jax.Array, s: jax.Array, routed: RoutedExperts, blocks: Blocks) -> jax.Array:
    """y plus the sum over slots of weight * silu(s w_in + b_in) w_out, added to the slot's unit;
    y, s and result [N, D]."""
    return forward_blocks(y, s, routed, blocks)[0]


@jax.custom_batching.sequential_vmap
def forward_blocks(
    y: jax.Array, s: jax.Array, routed: RoutedExperts, blocks: Blocks
) -> tuple[jax.Array, jax.Array]:
    """(the sum of `add_blocks`, what goes into each SiLU [G, m, b]), one video after another
    under vmap: `used` differs."""
    w_in, b_in, w_out = routed
    weight, unit, expert, used = blocks

    def add(i: jax.Array, carry: tuple) -> tuple[jax.Array, jax.Array]:
        total, before = carry
        # [m, D] -> [m, b] -> [m, D]
        x = s.at[unit[i]].get(mode="fill", fill_value=0) @ w_in[expert[i]] + b_in[expert[i]]
        result = (weight[i][:, None] * nn.silu(x)) @ w_out[expert[i]]
        return total.at[unit[i]].add(result, mode="drop"), before.at[i].set(x)

    return jax.lax.fori_loop(0, used, add, (y, jnp.zeros(unit.shape + b_in.shape[1:], s.dtype)))


@jax.custom_batching.sequential_vmap
def backward_blocks(
    s: jax.Array, routed: RoutedExperts, blocks: Blocks, before: jax.Array, g: jax.Array
) -> tuple[jax.Array, ...]:
    """Gradients of s, w_in (as [E, b, D]), b_in, w_out and weight for g [N, D], block by block:
    each adds to its units' rows and to its expert's parameters."""
    w_in, b_in, w_out = routed
    weight, unit, expert, used = blocks

    def add(i: jax.Array, gradients: tuple) -> tuple:
        d_s, d_w_in, d_b_in, d_w_out, d_weight = gradients
        e = expert[i]
        # [m, D]
        x, d_y = (a.at[unit[i]].get(mode="fill", fill_value=0) for a in (s, g))
        # [m, b]
        gate = jax.nn.sigmoid(before[i])
        hidden, d_weighted = before[i] * gate, d_y @ w_out[e].T
        d_before = weight[i][:, None] * d_weighted * (gate + hidden * (1 - gate))
        return (
            d_s.at[unit[i]].add(d_before @ w_in[e].T, mode="drop"),
            # [b, D]: with few columns, x.T @ d_before would take 8 times as long on a CPU
            d_w_in.at[e].add(d_before.T @ x),
            d_b_in.at[e].add(d_before.sum(0)),
            d_w_out.at[e].add((weight[i][:, None] * hidden).T @ d_y),
            d_weight.at[i].set((d_weighted * hidden).sum(-1)),
        )

    return jax.lax.fori_loop(
        0,
        used,
        add,
        tuple(jnp.zeros_like(a) for a in (s, w_in.swapaxes(1, 2), b_in, w_out, weight)),
    )


def add_blocks_forward(
    y: jax.Array, s: jax.Array, routed: RoutedExperts, blocks: Blocks
) -> tuple[jax.Array, tuple]:
    """The same sum; keeps its arguments but y, and what goes into each SiLU."""
    total, before = forward_blocks(y, s, routed, blocks)
    return total, (s, routed, blocks, before)


def add_blocks_backward(kept: tuple, g: jax.Array) -> tuple:
    """Gradients of the arguments for g [N, D]."""
    s, routed, blocks, before = kept
    d_s, d_w_in, d_b_in, d_w_out, d_weight = backward_blocks(s, routed, blocks, before, g)
    d_routed = RoutedExperts(d_w_in.swapaxes(1, 2), d_b_in, d_w_out)
    return g, d_s, d_routed, Blocks(d_weight, None, None, None)  # type: ignore[arg-type]


add_blocks.defvjp(add_blocks_forward, add_blocks_backward)
