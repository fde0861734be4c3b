"""Relations between the units of one frame against plain loops in float64, and their symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfvad.fusion.company import alike_graph, company_of, fused_pair, means_beside, near_graph

NEAR, ALIKE = 1.5, 0.8


def frame(seed=0, units=5, width=3):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 200, (units, 2)), rng.uniform(20, 60, (units, 2))
    return np.hstack([corner, corner + size]), rng.normal(size=(units, width))


def by_hand(box, x):
    """(near, alike, company, relative, means of x over those near and alike), pair by pair."""
    n = len(box)
    near, alike = np.ones((n, n)), np.ones((n, n))
    for i in range(n):
        for j in range(n):
            a, b = ((c[:2] + c[2:]) / 2 for c in (box[i], box[j]))
            height = (box[i, 3] - box[i, 1] + box[j, 3] - box[j, 1]) / 2
            near[i, j] = np.exp(-(((a - b) / height) ** 2).sum() / (2 * NEAR**2))
            alike[i, j] = np.exp(-((x[i] - x[j]) ** 2).sum() / (2 * ALIKE**2))
    company, relative, means = np.zeros((n, 2)), np.zeros_like(x), np.zeros_like(x)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        both = sum(near[i, j] * alike[i, j] for j in others)
        unlike = sum(near[i, j] * (1 - alike[i, j]) for j in others)
        company[i] = np.log1p([both, unlike])
        weight = sum(near[i, j] for j in others)
        if others:
            relative[i] = sum(near[i, j] * x[j] for j in others) / weight - x[i]
        product = near[i] * alike[i]
        means[i] = sum(product[j] * x[j] for j in range(n)) / product.sum()
    return near, alike, company, relative, means


def padded(box, x, size):
    more = size - len(x)
    mask = np.arange(size) < len(x)
    fill = lambda a: np.concatenate([a, np.full((more, a.shape[1]), np.nan)])
    return fill(box), fill(x), mask


@pytest.mark.parametrize("units", [1, 2, 5])
def test_against_loops(units):
    box, x = frame(units=units)
    near, alike, company, relative, means = by_hand(box, x)
    with jax.enable_x64(True):
        there = tuple(map(jnp.asarray, padded(box, x, 8)))
        n = units
        made = near_graph(there[0], there[2], NEAR), alike_graph(there[1], there[2], ALIKE)
        for mine, oracle in zip(made, (near, alike), strict=True):
            np.testing.assert_allclose(mine[:n, :n], oracle, rtol=1e-10)
            assert not np.asarray(mine)[n:].any() and not np.asarray(mine)[:, n:].any()
        fused = np.asarray(fused_pair(*made, there[2]))
        np.testing.assert_allclose(fused[:, :n, :n], [near * alike, near * (1 - alike)], atol=1e-12)
        mine = company_of(*there, NEAR, ALIKE)
        spread = means_beside(there[0], there[1], *there[1:], NEAR, ALIKE)
    for found, oracle in zip((*mine, spread), (company, relative, means), strict=True):
        np.testing.assert_allclose(found[:n], oracle, rtol=1e-9, atol=1e-12)
        assert not np.asarray(found)[n:].any()


def test_neither_place_nor_scale_nor_order_counts():
    box, x = frame(3)
    mask, order = np.ones(5, bool), np.array([3, 0, 4, 1, 2])
    before = company_of(*map(jnp.asarray, (box, x, mask)), NEAR, ALIKE)
    moved = company_of(*map(jnp.asarray, (box * 2 + 30, x, mask)), NEAR, ALIKE)
    turned = company_of(*map(jnp.asarray, (box[order], x[order], mask)), NEAR, ALIKE)
    for found, other, again in zip(before, moved, turned, strict=True):
        np.testing.assert_allclose(found, other, rtol=2e-4, atol=1e-5)
        np.testing.assert_allclose(np.asarray(found)[order], again, rtol=2e-4, atol=1e-5)


def test_who_is_far_is_no_company_and_gets_no_message():
    box = np.array([[0.0, 0, 10, 20], [1e4, 0, 1e4 + 10, 20]])
    x = np.array([[1.0], [5.0]])
    company, relative = company_of(*map(jnp.asarray, (box, x, np.ones(2, bool))), NEAR, ALIKE)
    assert not np.asarray(company).any() and not np.asarray(relative).any()
    for features in (x, x[:, :0]):
        given = map(jnp.asarray, (box, x, features, np.ones(2, bool)))
        np.testing.assert_array_equal(means_beside(*given, NEAR, ALIKE), x)


def test_without_features_whoever_is_near_counts():
    box, x = frame(4)
    near = by_hand(box, x)[0]
    given = map(jnp.asarray, (box, x, x[:, :0], np.ones(5, bool)))
    expected = near @ x / near.sum(1, keepdims=True)
    np.testing.assert_allclose(means_beside(*given, NEAR, ALIKE), expected, rtol=1e-4, atol=1e-5)
