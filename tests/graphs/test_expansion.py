"""Expansions against plain numpy float64, their limits, their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from gfvad.base.types import ConfigError
from gfvad.graphs.expansion import diffusion, hadamard, normalised, walk
from gfvad.graphs.relations import cosine, cosine01

N, ORDER = 7, 4
MASK = np.array([1, 1, 0, 1, 1, 1, 0], bool)
EXPANSIONS = {
    "ones": lambda r, mask, order: hadamard(r, mask, order, "ones"),
    "identity": lambda r, mask, order: hadamard(r, mask, order, "identity"),
    "walk": walk,
    "diffusion": lambda r, mask, order: diffusion(r, mask, order, 0.15),
}
JITTED = {name: jax.jit(f, static_argnums=2) for name, f in EXPANSIONS.items()}
SUMS = {
    name: jax.jit(jax.value_and_grad(lambda r, mask, f=f: f(r, mask, ORDER).sum()))
    for name, f in EXPANSIONS.items()
}


@pytest.fixture
def graph():
    with jax.enable_x64(True):
        return np.asarray(cosine(np.random.default_rng(0).normal(size=(N, 4)), np.ones(N, bool)))


def oracle(name, r, mask, order):
    pairs = np.outer(mask, mask).astype(float)
    eye = np.diag(mask).astype(float)
    r = np.where(pairs > 0, r, 0.0)
    if name in ("ones", "identity"):
        return np.stack([pairs if name == "ones" else eye] + [r**p for p in range(1, order + 1)])
    degree = np.abs(r).sum(1)
    step = np.array(
        [
            [
                r[i, j] / np.sqrt(degree[i] * degree[j]) if degree[i] * degree[j] > 0 else 0.0
                for j in range(N)
            ]
            for i in range(N)
        ]
    )
    terms = [eye]
    for p in range(1, order + 1):
        power = np.linalg.matrix_power(step, p) if p else eye
        if name == "walk":
            terms.append(power)
        else:
            # the recurrence summed up: a sum_{q < p} (1 - a)^q R^q + (1 - a)^p R^p
            series = 0.15 * eye + 0.15 * sum(
                0.85**q * np.linalg.matrix_power(step, q) for q in range(1, p)
            )
            terms.append(series + 0.85**p * power)
    return np.stack(terms)


@pytest.mark.parametrize("name", EXPANSIONS)
@pytest.mark.parametrize("order", [0, 1, ORDER])
def test_oracle(name, order, graph):
    expected = oracle(name, graph, MASK, order)
    assert expected.shape == (order + 1, N, N)
    np.testing.assert_allclose(
        JITTED[name](graph.astype(np.float32), MASK, order), expected, atol=3e-6
    )
    with jax.enable_x64(True):
        np.testing.assert_allclose(JITTED[name](graph, MASK, order), expected, atol=1e-14)


@pytest.mark.parametrize("name", EXPANSIONS)
def test_padding_and_permutation(name, graph):
    r = graph.astype(np.float32)
    terms = np.asarray(JITTED[name](r, MASK, ORDER))
    assert not terms[:, ~MASK].any() and not terms[:, :, ~MASK].any()
    np.testing.assert_array_equal(
        JITTED[name](np.where(np.outer(MASK, MASK), r, np.nan).astype(np.float32), MASK, ORDER),
        terms,
    )
    order = np.random.default_rng(1).permutation(N)
    permuted = JITTED[name](r[np.ix_(order, order)], MASK[order], ORDER)
    np.testing.assert_allclose(permuted, terms[:, order][:, :, order], atol=2e-6)
    np.testing.assert_allclose(terms, terms.transpose(0, 2, 1), atol=2e-6)


@pytest.mark.parametrize("name", EXPANSIONS)
@pytest.mark.parametrize("mask", [[1, 0, 0, 0, 0, 0, 0], [0] * 7])
def test_one_unit_and_none(name, mask):
    mask = np.array(mask, bool)
    terms, gradient = SUMS[name](jnp.eye(N), mask)
    assert (
        float(terms) == pytest.approx((ORDER + 1) * mask.sum(), rel=1e-6)
        and np.isfinite(np.asarray(gradient)).all()
    )


@pytest.mark.parametrize("name", EXPANSIONS)
def test_gradients_against_finite_differences(name, graph):
    with jax.enable_x64(True):
        weight = np.random.default_rng(2).normal(size=(ORDER + 1, N, N))
        loss = jax.jit(lambda r: (EXPANSIONS[name](r, MASK, ORDER) * weight).sum())
        check_grads(
            loss, (jnp.asarray(graph),), order=1, modes=["rev"], eps=1e-5, atol=1e-8, rtol=1e-8
        )


def test_units_without_relations_have_finite_gradients():
    r = jnp.zeros((N, N)).at[0, 1].set(0.5).at[1, 0].set(0.5)
    for name in ("walk", "diffusion"):
        total, gradient = SUMS[name](r, MASK)
        assert np.isfinite(float(total)) and np.isfinite(np.asarray(gradient)).all()


def test_limits_of_the_diffusion(graph):
    r = graph.astype(np.float32)
    np.testing.assert_allclose(diffusion(r, MASK, ORDER, 0.0), walk(r, MASK, ORDER), atol=1e-6)
    np.testing.assert_allclose(
        diffusion(r, MASK, ORDER, 1.0), np.stack([np.diag(MASK)] * (ORDER + 1)), atol=1e-6
    )


def test_powers_stay_bounded(graph):
    """Eigenvalues of the normalised graph lie in [-1, 1], also with negative relations; Schur
    products keep it semi-definite."""
    with jax.enable_x64(True):
        for relation in (
            graph,
            np.asarray(cosine01(np.random.default_rng(3).normal(size=(N, 4)), MASK)),
        ):
            assert np.abs(np.linalg.eigvalsh(normalised(relation, MASK))).max() <= 1 + 1e-12
            for name in EXPANSIONS:
                assert (
                    min(
                        np.linalg.eigvalsh(term).min()
                        for term in np.asarray(JITTED[name](relation, MASK, ORDER))
                    )
                    > -1e-12
                )


def test_impossible_settings_are_named(graph):
    with pytest.raises(ConfigError, match="expansion.zeroth"):
        hadamard(graph, MASK, 2, "zeros")
