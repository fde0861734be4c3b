"""A normalising flow of vectors: affine couplings (RealNVP; Dinh, Sohl-Dickstein and Bengio, ICLR
2017), written from its description.

Each of the layers keeps every second number (by turns the even and the odd ones) and moves the
others: y = x exp(s) + t, s = LIMIT tanh(s'), where a network 64 - 64 of the kept ones gives s' and
t. Before each, numbers are scaled and shifted by learnt ones. log |det| is the sum of all s.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

LAYERS, HIDDEN, LIMIT = 6, 64, 2.0


class Coupling(nn.Module):
    """One layer. Field: odd: whether it moves the odd numbers."""

    width: int
    odd: bool

    def setup(self) -> None:
        self.hidden = [nn.Dense(HIDDEN, name=f"hidden_{i}") for i in range(2)]
        self.last = nn.Dense(2 * self.width, kernel_init=nn.initializers.zeros, name="last")
        self.log_scale = self.param("log_scale", nn.initializers.zeros, (self.width,))
        self.shift = self.param("shift", nn.initializers.zeros, (self.width,))

    @property
    def moved(self) -> jax.Array:
        """float [X], 1 where a number is moved."""
        return jnp.asarray(np.arange(self.width) % 2 == int(self.odd), jnp.float32)

    def moves(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(s, t) [N, X] by the kept numbers alone; 0 of those."""
        h = x * (1 - self.moved)
        for layer in self.hidden:
            h = nn.relu(layer(h))
        s, t = jnp.split(self.last(h), 2, -1)
        return LIMIT * jnp.tanh(s / LIMIT) * self.moved, t * self.moved

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[N, X] -> (y [N, X], log |det| [N])."""
        x = x * jnp.exp(self.log_scale) + self.shift
        s, t = self.moves(x)
        return x * jnp.exp(s) + t, s.sum(-1) + self.log_scale.sum()

    def inverse(self, y: jax.Array) -> jax.Array:
        """The x that gives y."""
        s, t = self.moves(y)
        return ((y - t) * jnp.exp(-s) - self.shift) * jnp.exp(-self.log_scale)


class Flow(nn.Module):
    """Vectors of X numbers to vectors that are normal, and back."""

    width: int

    def setup(self) -> None:
        self.layers = [Coupling(self.width, i % 2 == 1, name=f"layer_{i}") for i in range(LAYERS)]

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[N, X] -> (z [N, X], log |det| [N])."""
        total = jnp.zeros(x.shape[0], x.dtype)
        for layer in self.layers:
            x, one = layer(x)
            total = total + one
        return x, total

    def inverse(self, z: jax.Array) -> jax.Array:
        """The x that gives z."""
        for layer in reversed(self.layers):
            z = layer.inverse(z)
        return z

    def surprise(self, x: jax.Array) -> jax.Array:
        """[N] minus the log likelihood of x a number, in nats."""
        z, determinant = self(x)
        whole = 0.5 * (jnp.square(z) + jnp.log(2 * jnp.pi)).sum(-1) - determinant
        return whole / self.width
