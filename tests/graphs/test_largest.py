"""The mean of the largest entries of a row: a sorted oracle, ties, gradients, nesting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from gfvad.graphs.largest import mean_of_largest


def oracle(x, counts, k):
    """Sorts each row."""
    out = np.zeros(counts.shape)
    for at in np.ndindex(*counts.shape):
        best = np.sort(x[at])[::-1][: min(counts[at], k)]
        out[at] = best.mean() if len(best) else 0.0
    return out


def rows(seed=0, shape=(3, 4, 9), ties=False):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, shape) / 4.0 if ties else rng.normal(size=shape)
    counts = rng.integers(0, shape[-1] + 1, shape[:-1])
    x[np.arange(shape[-1]) >= counts[..., None]] = -np.inf
    return x, np.minimum(counts, 5)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("mapped", [0, 1, 2])
def test_against_sorting(ties, mapped):
    x, counts = rows(ties=ties)
    f = lambda x, c: mean_of_largest(x, c, 5)
    for _ in range(mapped):
        f = jax.vmap(f)
    np.testing.assert_allclose(
        jax.jit(f)(x.astype(np.float32), counts), oracle(x, counts, 5), rtol=1e-6, atol=1e-7
    )
    with jax.enable_x64(True):
        np.testing.assert_allclose(f(x, counts), oracle(x, counts, 5), rtol=1e-14, atol=1e-15)


def test_gradient_by_finite_differences():
    x, _ = rows(seed=1)
    x = np.where(np.isfinite(x), x, 0.3 * np.arange(9))
    with jax.enable_x64(True):
        f = jax.vmap(lambda x, c: mean_of_largest(x, c, 4))
        counts = np.random.default_rng(0).integers(0, 5, x.shape[:-1])
        check_grads(lambda x: f(x, counts), (x,), order=1, modes=["rev"], eps=1e-6, atol=1e-7)


def test_ties_share_what_is_left_and_no_row_is_no_gradient():
    x = jnp.array([[3.0, 1.0, 1.0, 1.0, 0.0], [-jnp.inf] * 5, [2.0, -jnp.inf, 2.0, 5.0, -jnp.inf]])
    counts = jnp.array([2, 0, 3])
    value, pull = jax.vjp(lambda x: mean_of_largest(x, counts, 4), x)
    np.testing.assert_allclose(value, [2.0, 0.0, 3.0])
    third = 1 / 3
    expected = [[0.5, *[third / 2] * 3, 0], [0] * 5, [third, 0, third, third, 0]]
    np.testing.assert_allclose(pull(jnp.ones(3))[0], expected, rtol=1e-6)


def test_permutation_of_entries_permutes_the_gradient():
    x, counts = rows(seed=2, ties=True)
    order = np.random.default_rng(3).permutation(x.shape[-1])
    gradient = jax.grad(lambda x: mean_of_largest(x, jnp.array(counts), 5).sum())
    np.testing.assert_allclose(gradient(x)[..., order], gradient(x[..., order]), rtol=1e-6)
