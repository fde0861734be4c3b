"""Relations to a bank against plain numpy in float64, and their properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfvad.graphs.bipartite import log_joint_relation, novelty, squared_distances


def oracle(units, bank, softness, nearest):
    """-log of the mean of the largest 1 / (1 + d^2 / s^2), in float64."""
    found = []
    for n in range(len(next(iter(units.values())))):
        square = sum(((units[m][n] - bank[m]) ** 2).sum(-1) for m in units)
        graph = np.sort(1 / (1 + square / softness**2))[::-1]
        found.append(-np.log(graph[:nearest].mean()))
    return np.array(found)


def both(width, count=9, size=23, seed=0):
    rng = np.random.default_rng(seed)
    draw = lambda n: {"a": rng.standard_normal((n, width)), "b": rng.standard_normal((n, 1))}
    return draw(count), draw(size)


def ours(units, bank, softness, nearest):
    squares = [squared_distances(jnp.float32(units[m]), jnp.float32(bank[m])) for m in units]
    return novelty(log_joint_relation(squares, softness), nearest)


@pytest.mark.parametrize("width", [1, 2, 4, 5, 40])
@pytest.mark.parametrize("nearest", [1, 4])
def test_novelty_is_that_of_the_formula(width, nearest):
    units, bank = both(width)
    expected = oracle(units, bank, 0.3, nearest)
    np.testing.assert_allclose(ours(units, bank, 0.3, nearest), expected, rtol=2e-4, atol=1e-5)


def test_order_of_the_bank_does_not_matter_and_units_do_not_see_each_other():
    units, bank = both(3)
    found = np.asarray(ours(units, bank, 0.1, 4))
    shuffled = {m: x[::-1] for m, x in bank.items()}
    np.testing.assert_allclose(ours(units, shuffled, 0.1, 4), found, rtol=1e-6)
    alone = np.concatenate(
        [ours({m: x[i : i + 1] for m, x in units.items()}, bank, 0.1, 4) for i in range(9)]
    )
    np.testing.assert_allclose(alone, found, rtol=1e-6)


def test_a_unit_of_the_bank_is_not_new_and_one_far_away_is_by_the_tail():
    units, bank = both(2)
    assert np.allclose(ours({m: x[:3] for m, x in bank.items()}, bank, 0.1, 1), 0, atol=1e-6)
    far = {m: np.full_like(x, 1e3) for m, x in units.items()}
    square = sum(((far[m][0] - bank[m]) ** 2).sum(-1) for m in bank).min()
    np.testing.assert_allclose(ours(far, bank, 0.1, 1)[0], np.log(square / 0.01), rtol=1e-3)


def test_it_is_the_limit_of_the_operators_sum_of_products_of_powers():
    """sum over powers t, weighted by exp(-t) dt, of prod_m R_m^t is 1 / (1 + sum of squares)."""
    units, bank = both(2)
    t, dt = np.arange(5e-4, 40, 1e-3), 1e-3
    squares = [((units[m][0] - bank[m]) ** 2).sum(-1) for m in units]
    relations = [np.exp(-s / 0.5**2) for s in squares]
    products = np.prod([r[:, None] ** t for r in relations], 0)
    graph = (np.exp(-t) * dt * products).sum(1)
    mine = log_joint_relation([jnp.float32(s)[None] for s in squares], 0.5)[0]
    np.testing.assert_allclose(np.exp(mine), graph, rtol=1e-3, atol=1e-6)


def test_gradients_are_finite_where_units_coincide():
    units, bank = both(2)
    bank["a"][0], bank["b"][0] = units["a"][0], units["b"][0]
    total = lambda x: ours({"a": x, "b": units["b"]}, bank, 0.1, 4).sum()
    gradient = jax.grad(total)(jnp.float32(units["a"]))
    assert np.isfinite(gradient).all() and np.abs(gradient[1:]).max() > 0
