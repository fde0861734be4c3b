"""Orders of their own for the graphs, the paper's P and Q (model.fusion.orders): coefficients of
higher powers are 0 and have no gradient; all else is as with smaller arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fusing import MASK, N, apply, cosines, operator, pulled, random_params

from gfvad.base.errors import ConfigError
from gfvad.fusion.coefficients import constrained, dense_coefficients, initial, starting_values
from gfvad.fusion.operator import check_fusion

FORMS = [
    {"form": "full", "count": 2, "orders": (1, 3)},
    {"form": "full", "count": 2, "orders": (3, 2), "zeroth": "identity"},
    {"form": "full", "count": 3, "orders": (2, 1), "graphs": "random_pair"},
    {"form": "full", "count": 2, "orders": (2, 3), "kind": "walk"},
    {"form": "outer", "count": 2, "orders": (1, 2)},
    {"form": "cp", "count": 3, "orders": (1, 3, 2), "rank": 2, "channels": 2},
    {"form": "cp", "count": 3, "orders": (2, 1, 3), "graphs": "random_pair", "rank": 2},
    {"form": "cp", "count": 2, "orders": (1, 2), "cross_terms": False},
]
HELD = ("free", "nonneg", "simplex")


def made(case, parametrisation="free", dtype=jnp.float32):
    """(operator, operator with one order, graphs) of a case; orders up to 3."""
    case = {"parametrisation": parametrisation, "dtype": dtype} | case
    count, orders = case.pop("count"), case.pop("orders")
    return operator(orders=orders, **case), operator(**case), cosines(count)


def oracle(coefficients, graphs, mask, kind, zeroth):
    """sum_pq A[p, q] Ra^(p) Rb^(q) of a small A [P + 1, Q + 1], term by term, in float64."""
    pairs, eye = np.outer(mask, mask).astype(float), np.diag(mask).astype(float)
    fused = np.zeros((N, N))
    for (p, q), weight in np.ndenumerate(coefficients):
        product = np.ones((N, N))
        for power, graph in ((p, graphs[0] * pairs), (q, graphs[1] * pairs)):
            if kind == "walk":
                scale = 1 / np.sqrt(np.abs(graph).sum(1) + (1 - mask))
                step = scale[:, None] * graph * scale
                product = product * np.linalg.matrix_power(step, power) * pairs
                product = product if power else product * eye
            elif power == 0:
                product = product * (pairs if zeroth == "ones" else eye)
            else:
                product = product * graph**power
        fused += weight * product
    return fused * pairs


@pytest.mark.parametrize("orders", [(1, 3), (3, 2), (2, 2)])
@pytest.mark.parametrize(
    "kind, zeroth", [("hadamard", "ones"), ("hadamard", "identity"), ("walk", "")]
)
def test_full_equals_the_sum_over_a_smaller_matrix(orders, kind, zeroth):
    module = operator(form="full", orders=orders, kind=kind, zeroth=zeroth or "ones")
    graphs = cosines(2)
    params = random_params(module, graphs)
    small = np.asarray(params["A"], np.float64)[0, : orders[0] + 1, : orders[1] + 1]
    expected = oracle(small, graphs, MASK, kind, zeroth)
    np.testing.assert_allclose(apply(module, params, graphs)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", FORMS, ids=lambda c: f"{c['form']}-{c['orders']}")
def test_higher_powers_count_nowhere(case):
    """The same output as without orders where those coefficients are 0; whatever the parameters
    hold there, and gradient 0."""
    with_orders, plain, graphs = made(case)
    params = random_params(with_orders, graphs)
    held = {k: np.asarray(constrained(v, with_orders.fusion)) for k, v in params.items()}
    ((name, values),) = held.items()
    assert values.shape == params[name].shape and (values == 0).any() and (values != 0).any()
    expected = apply(plain, held, graphs)
    np.testing.assert_allclose(apply(with_orders, params, graphs), expected, rtol=1e-5, atol=1e-6)

    def fused(parameters):
        return with_orders.apply({"params": parameters}, graphs, MASK, train=False)

    weight = np.random.default_rng(1).normal(size=expected.shape).astype(np.float32)
    _, (gradient,) = pulled(fused)(weight, params)
    assert np.isfinite(gradient[name]).all()
    assert (np.asarray(gradient[name])[values == 0] == 0).all()
    assert (np.asarray(gradient[name])[values != 0] != 0).any()


@pytest.mark.parametrize("parametrisation", HELD)
@pytest.mark.parametrize("case", [FORMS[0], FORMS[2], FORMS[5], FORMS[7]], ids=lambda c: c["form"])
def test_constraints_hold_among_the_powers_that_are_left(case, parametrisation):
    module, _, graphs = made(case, parametrisation)
    params = random_params(module, graphs)
    ((name, raw),) = params.items()
    value, pull = jax.vjp(lambda x: constrained(x, module.fusion), raw)
    (gradient,) = pull(jnp.ones_like(value) * jnp.arange(value.size).reshape(value.shape))
    assert np.isfinite(np.asarray(gradient)).all() and np.isfinite(np.asarray(value)).all()
    if parametrisation == "free":
        return
    assert (np.asarray(value) >= 0).all()
    if parametrisation == "simplex" and module.fusion.graphs == "all":
        held = {name: jnp.asarray(raw)}
        dense = np.asarray(dense_coefficients(held, module.fusion))
        np.testing.assert_allclose(dense.sum(tuple(range(1, dense.ndim))), 1.0, rtol=1e-5)


@pytest.mark.parametrize("parametrisation", HELD)
@pytest.mark.parametrize("case", [FORMS[0], FORMS[5]], ids=lambda c: c["form"])
def test_starts_near_the_same_weight(case, parametrisation):
    """The whole weight is in the powers that are left."""
    module, plain, graphs = made(case, parametrisation)
    sums = []
    for fusion in (module.fusion, plain.fusion):
        start = starting_values(fusion, 3, len(graphs), False)
        raw = initial(jax.random.key(0), start, fusion)
        assert np.isfinite(np.asarray(raw)).all()
        held = {name_of(fusion): jnp.asarray(raw)}
        sums.append(np.asarray(dense_coefficients(held, fusion)).sum())
    np.testing.assert_allclose(sums[0], sums[1], rtol=0.2)


def name_of(fusion):
    return {"full": "A"}.get(fusion.form, "a")


def test_orders_of_the_whole_expansion_change_nothing():
    graphs = cosines(2)
    plain, alike = operator(form="full"), operator(form="full", orders=(3, 3))
    a = plain.init(jax.random.key(0), graphs, MASK, train=False)
    b = alike.init(jax.random.key(0), graphs, MASK, train=False)
    np.testing.assert_array_equal(a["params"]["A"], b["params"]["A"])
    np.testing.assert_array_equal(
        apply(plain, a["params"], graphs), apply(alike, b["params"], graphs)
    )


@pytest.mark.parametrize(
    "orders, fusion, expected",
    [
        ((1,), {"form": "full"}, "2 whole numbers"),
        ((1, 4), {"form": "full"}, "from 1 to config.model.expansion.order, 3"),
        ((1, 0), {"form": "full"}, "from 1 to"),
        ((1, 2.0), {"form": "cp"}, "whole numbers"),
        ((1, 2, 3), {"form": "cp"}, "2 whole numbers"),
    ],
)
def test_refuses_orders_that_do_not_fit(orders, fusion, expected):
    module = operator(orders=orders, **fusion)
    with pytest.raises(ConfigError, match="config.model.fusion.orders") as error:
        check_fusion(module.fusion, module.expansion, 2)
    assert expected in str(error.value)
