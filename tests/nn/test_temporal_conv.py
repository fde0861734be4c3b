"""Convolution over units: the same parameters and values as flax's, and a plain numpy one."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfvad.nn.temporal_conv import TemporalConv

CASES = [(3, 1, 1, True), (3, (4, 4), 4, False), (5, (4, 0), 1, True), (1, 0, 1, True)]


@pytest.mark.parametrize("kernel, padding, dilation, bias", CASES)
def test_it_is_a_convolution(kernel, padding, dilation, bias):
    x = jax.random.normal(jax.random.key(0), (9, 6))
    ours = TemporalConv(4, kernel, padding, dilation, bias)
    ends = padding if isinstance(padding, tuple) else (padding, padding)
    flax = nn.Conv(4, (kernel,), padding=(ends,), kernel_dilation=dilation, use_bias=bias)
    params, expected = (m.init(jax.random.key(1), x) for m in (ours, flax))
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    y = ours.apply(params, x)
    np.testing.assert_allclose(y, flax.apply(params, x), rtol=2e-5, atol=1e-5)
    w = np.asarray(params["params"]["kernel"], np.float64)
    padded = np.pad(np.asarray(x, np.float64), (ends, (0, 0)))
    plain = np.zeros(y.shape)
    for n, k in np.ndindex(len(plain), kernel):
        plain[n] += padded[n + k * dilation] @ w[k]
    np.testing.assert_allclose(y, plain + params["params"].get("bias", 0.0), rtol=2e-5, atol=1e-5)


def test_kernels_side_by_side():
    x, conv = jnp.ones((5, 3)), TemporalConv(2, 3, 1)
    params = jax.vmap(lambda key: conv.init(key, x))(jax.random.split(jax.random.key(0), 4))
    together = jax.vmap(lambda p: conv.apply(p, x))(params)
    for i in range(4):
        one = conv.apply(jax.tree.map(lambda leaf, i=i: leaf[i], params), x)
        np.testing.assert_allclose(together[i], one, rtol=1e-6, atol=1e-6)
