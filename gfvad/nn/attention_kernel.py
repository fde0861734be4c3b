"""Softmax attention as one kernel of a TPU: logits stay in the chip's own memory and never pass
through the large one, forward or backward (the aim of FlashAttention, Dao et al., 2022; here all
keys fit at once, so that no running maximum is needed).

Heads stay side by side, [L, H d], as dense layers give them. Axes: L queries, S keys, H heads, d
width of a head; both are padded to blocks of ROWS.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

ROWS = 128  # queries of a block: what a TPU multiplies at once
# bytes of keys, values, queries and gradients that are held at once, of 128 MiB on v5e, v5p, v6e
ROOM = 96 * 2**20
NOTHING = -1e30  # logit of a key that is padding


def fits(queries: jax.Array, keys: jax.Array, heads: int) -> bool:
    """Whether the kernel can take arrays of these shapes: float32, of a chip's own memory."""
    length, width = queries.shape
    count = keys.shape[0]
    if queries.dtype != jnp.float32 or width % heads or width % ROWS:
        return False
    held = 2 * 4 * width * (3 * padded(length) + 4 * padded(count)) + 6 * 4 * ROWS * padded(count)
    return held < ROOM // 2


def padded(length: int) -> int:
    """The next multiple of ROWS."""
    return length + -length % ROWS


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def kernel_attention(q: jax.Array, k: jax.Array, v: jax.Array, heads: int) -> jax.Array:
    """Softmax attention of heads side by side: q [L, H d], k and v [S, H d] -> [L, H d]."""
    return attention_forward(q, k, v, heads)[0]


def attention_forward(
    q: jax.Array, k: jax.Array, v: jax.Array, heads: int
) -> tuple[jax.Array, tuple]:
    """(result, what the gradient needs: the arguments)."""
    count = len(k)
    given = [to_blocks(x) for x in (q, k, v)]
    body = partial(attend, heads=heads, count=count)
    found = call(body, given, [given[0]], 4 * given[0].size * len(given[1]))
    return found[0][: len(q)], (q, k, v)


def attention_backward(heads: int, kept: tuple, g: jax.Array) -> tuple[jax.Array, ...]:
    """Gradients of q, k and v for g [L, H d]."""
    count = len(kept[1])
    given = [to_blocks(x) for x in (*kept, g)]
    body = partial(attend_backward, heads=heads, count=count)
    found = call(body, given, given[:3], 10 * given[0].size * len(given[1]))
    return tuple(new[: len(x)] for new, x in zip(found, kept))


kernel_attention.defvjp(attention_forward, attention_backward)


def to_blocks(x: jax.Array) -> jax.Array:
    """[L, D] with zeros behind it, up to a multiple of ROWS."""
    return jnp.pad(x, ((0, padded(len(x)) - len(x)), (0, 0)))


def call(
    body: Callable, given: list[jax.Array], like: list[jax.Array], flops: int
) -> list[jax.Array]:
    """Runs `body` once on whole arrays; results are shaped `like` these."""
    moved = sum(x.size * x.dtype.itemsize for x in (*given, *like))
    return pl.pallas_call(
        body,
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in like],
        cost_estimate=pl.CostEstimate(
            flops=flops, bytes_accessed=moved, transcendentals=flops // 128
        ),
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=ROOM),
    )(*given)


def product(a: jax.Array, b: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """Sum over one axis of each of two matrices, in float32."""
    numbers = (((axes[0],), (axes[1],)), ((), ()))
    return jax.lax.dot_general(a, b, numbers, preferred_element_type=jnp.float32)


def shares(q: jax.Array, k: jax.Array, count: int) -> jax.Array:
    """Softmax of a block's logits, [rows, S]; 0 for keys from `count` on, which are padding."""
    logits = product(q, k, (1, 1)) * q.shape[-1] ** -0.5
    real = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1) < count
    logits = jnp.where(real, logits, NOTHING)
    raised = jnp.exp(logits - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def attend(q_ref: Any, k_ref: Any, v_ref: Any, out_ref: Any, *, heads: int, count: int) -> None:
    """The kernel: block after block of queries, head by head."""
    width = q_ref.shape[-1] // heads

    def block(i: jax.Array, nothing: None) -> None:
        rows = pl.ds(pl.multiple_of(i * ROWS, ROWS), ROWS)
        whole = q_ref[rows, :]
        found = []
        for h in range(heads):
            own = slice(h * width, (h + 1) * width)
            part = shares(whole[:, own], k_ref[:, own], count)
            found.append(product(part, v_ref[:, own], (1, 0)))
        out_ref[rows, :] = jnp.concatenate(found, -1)
        return nothing

    jax.lax.fori_loop(0, q_ref.shape[0] // ROWS, block, None)


def attend_backward(*refs: Any, heads: int, count: int) -> None:
    """The gradient's kernel: shares are computed again. refs: q, k, v and g, then what the
    gradients of the first three are written to."""
    q_ref, k_ref, v_ref, g_ref, dq_ref, dk_ref, dv_ref = refs
    width = q_ref.shape[-1] // heads
    dk_ref[...], dv_ref[...] = jnp.zeros_like(dk_ref), jnp.zeros_like(dv_ref)

    def block(i: jax.Array, nothing: None) -> None:
        rows = pl.ds(pl.multiple_of(i * ROWS, ROWS), ROWS)
        whole, gradients = q_ref[rows, :], g_ref[rows, :]
        d_q, d_k, d_v = [], [], []
        for h in range(heads):
            own = slice(h * width, (h + 1) * width)
            q, k, g = whole[:, own], k_ref[:, own], gradients[:, own]
            part = shares(q, k, count)
            d_v.append(product(part, g, (0, 0)))
            d_part = product(g, v_ref[:, own], (1, 1))
            d_logits = part * (d_part - (part * d_part).sum(-1, keepdims=True)) * width**-0.5
            d_q.append(product(d_logits, k, (1, 0)))
            d_k.append(product(d_logits, q, (0, 0)))
        dq_ref[rows, :] = jnp.concatenate(d_q, -1)
        dk_ref[...] += jnp.concatenate(d_k, -1)
        dv_ref[...] += jnp.concatenate(d_v, -1)
        return nothing

    jax.lax.fori_loop(0, q_ref.shape[0] // ROWS, block, None)
