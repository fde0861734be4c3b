"""Transformer parts of the predictive model, for ONE clip: tokens [L, D], to be vmapped over B.
Pre-norm, no dropout."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


class Attention(nn.Module):
    """Multi-head attention of queries [L, D] to keys [S, D] -> [L, D]; bias [H, L, S] is added
    to the scaled logits."""

    heads: int

    @nn.compact
    def __call__(
        self, queries: jax.Array, keys: jax.Array, bias: jax.Array | None = None
    ) -> jax.Array:
        width = queries.shape[-1]
        split = lambda x: x.reshape(x.shape[0], self.heads, width // self.heads)
        q = split(nn.Dense(width, name="query")(queries))
        k, v = jnp.split(nn.Dense(2 * width, name="key_value")(keys), 2, axis=-1)
        # [1, L, H, D / H]
        out = jax.nn.dot_product_attention(
            q[None], split(k)[None], split(v)[None], bias=None if bias is None else bias[None]
        )
        return nn.Dense(width, name="out")(out[0].reshape(queries.shape))


class FeedForward(nn.Module):
    """[L, D] -> [L, D] through `ratio` x D hidden units."""

    ratio: int = 2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        return nn.Dense(width, name="down")(nn.gelu(nn.Dense(self.ratio * width, name="up")(x)))


class Block(nn.Module):
    """Self-attention and feed-forward with residual paths: [L, D], bias [H, L, L] or None -> [L,
    D]."""

    heads: int
    ratio: int = 2

    @nn.compact
    def __call__(self, x: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        normal = nn.LayerNorm(name="norm_attention")(x)
        x = x + Attention(self.heads, name="attention")(normal, normal, bias)
        return x + FeedForward(self.ratio, name="feed_forward")(
            nn.LayerNorm(name="norm_feed_forward")(x)
        )


class GatedCrossBlock(nn.Module):
    """Cross-attention of visual tokens [L, D] to a context [S, D], each sub-layer behind a gate
    that starts at 0 (MemoryOut, MJAD).

    At the start the block is the identity, so the context enters only as far as it helps.
    """

    heads: int
    ratio: int = 2

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array) -> jax.Array:
        gates = self.param("gates", nn.initializers.zeros_init(), (2,))
        attended = Attention(self.heads, name="attention")(
            nn.LayerNorm(name="norm_query")(x), nn.LayerNorm(name="norm_context")(context)
        )
        x = x + jnp.tanh(gates[0]) * attended
        return x + jnp.tanh(gates[1]) * FeedForward(self.ratio, name="feed_forward")(
            nn.LayerNorm(name="norm_feed_forward")(x)
        )


def grid_positions(rows: int, columns: int, width: int) -> np.ndarray:
    """Fixed sin-cos positions of a grid of tokens, [rows * columns, width]: half of the width
    for the row, half for the column."""

    def axis(count: int, size: int) -> np.ndarray:
        rate = 1.0 / 10000 ** (np.arange(size // 2) / max(size // 2, 1))
        angle = np.arange(count)[:, None] * rate
        return np.pad(
            np.concatenate([np.sin(angle), np.cos(angle)], 1), ((0, 0), (0, size - 2 * (size // 2)))
        )

    half = width // 2
    down = np.repeat(axis(rows, half), columns, axis=0)
    across = np.tile(axis(columns, width - half), (rows, 1))
    return np.concatenate([down, across], 1).astype(np.float32)


def patchify(x: jax.Array, patch: int) -> jax.Array:
    """[H, W, C] -> tokens [H/p * W/p, p * p * C], row by row."""
    h, w, c = x.shape
    x = x.reshape(h // patch, patch, w // patch, patch, c)
    return x.transpose(0, 2, 1, 3, 4).reshape(-1, patch * patch * c)


def unpatchify(tokens: jax.Array, rows: int, columns: int, patch: int) -> jax.Array:
    """Inverse of `patchify`: [rows * columns, p * p * C] -> [H, W, C]."""
    x = tokens.reshape(rows, columns, patch, patch, -1)
    return x.transpose(0, 2, 1, 3, 4).reshape(rows * patch, columns * patch, -1)


def pool_cells(x: Any, cell: int) -> Any:
    """Mean over cells: [..., H, W] -> [..., H / cell, W / cell]."""
    h, w = x.shape[-2:]
    return x.reshape(*x.shape[:-2], h // cell, cell, w // cell, cell).mean((-3, -1))
