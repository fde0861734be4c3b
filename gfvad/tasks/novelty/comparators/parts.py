"""What comparators of normal units have in common. Axes: N units, W units of a window, D features.

Hidden widths are ours: the papers' networks are convolutions over pictures, the units here are
vectors.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

HIDDEN = (256, 128)


class Encoder(nn.Module):
    """[N, X] -> 256 - 128, ReLU -> [N, width]."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, hidden in enumerate(HIDDEN):
            x = nn.relu(nn.Dense(hidden, name=f"hidden_{i}")(x))
        return nn.Dense(self.width, name="last")(x)


class Decoder(nn.Module):
    """[N, X] -> 128 - 256, ReLU -> [N, width]."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, hidden in enumerate(reversed(HIDDEN)):
            x = nn.relu(nn.Dense(hidden, name=f"hidden_{i}")(x))
        return nn.Dense(self.width, name="last")(x)


def flat(x: jax.Array) -> jax.Array:
    """[N, W, D] -> [N, W D]."""
    return x.reshape(x.shape[0], -1)


def squared_error(found: jax.Array, x: jax.Array, mask: jax.Array) -> jax.Array:
    """[N] mean over what there is of a window: [N, W, D] twice, bool [N, W]. The unit itself is
    always there."""
    squares = jnp.where(mask, jnp.square(found - x).mean(-1), 0.0)
    return squares.sum(-1) / jnp.maximum(mask.sum(-1), 1)
