"""Convolution over the units of a video as one matrix product a tap.

The parameters, their names and where they start are those of `flax.linen.Conv`. Its convolution
becomes a grouped one where settings or seeds are trained side by side (jax.vmap over kernels),
for which XLA has no fast program on processors: a step of RTFM took a hundred times as long.
Matrix products are as fast side by side as alone.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp


class TemporalConv(nn.Module):
    """sum_k x[n + k dilation - left] W_k + b.

    Fields: features: F; kernel: K taps; padding: zeros at both ends, or (left, right); dilation:
    units between taps; use_bias.
    """

    features: int
    kernel: int
    padding: int | tuple[int, int]
    dilation: int = 1
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[N, C] -> [N + left + right - dilation (K - 1), F]."""
        shape = self.kernel, x.shape[-1], self.features
        weights = self.param("kernel", nn.initializers.lecun_normal(), shape)
        ends = self.padding if isinstance(self.padding, tuple) else (self.padding, self.padding)
        padded = jnp.pad(x, (ends, (0, 0)))
        count = padded.shape[0] - self.dilation * (self.kernel - 1)  # may be a symbol (export)
        starts = [k * self.dilation for k in range(self.kernel)]
        rows = [jax.lax.slice_in_dim(padded, start, start + count) for start in starts]
        taps = (tap @ weight for tap, weight in zip(rows, weights))
        y = sum(taps, jnp.zeros((count, self.features), x.dtype))
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,))
        return y
