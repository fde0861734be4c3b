"""Relationship graphs against plain numpy float64 loops, their rules for padding and zero units,
and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from ml_collections import ConfigDict

from configs.common import get_config
from gfvad.base.types import ConfigError
from gfvad.graphs.relations import cosine, cosine01, rbf, relationship_graph, temporal
from gfvad.graphs.units import median_distance

RELATIONS = {
    "cosine": cosine,
    "cosine01": cosine01,
    "rbf": rbf,
    "rbf_fixed": lambda x, mask: rbf(x, mask, 1.7),
}
JITTED = {name: jax.jit(f) for name, f in RELATIONS.items()}


def _pull(relation):
    def both(x, mask, weight):
        graph, pull = jax.vjp(lambda x: relation(x, mask), x)
        return graph, pull(weight)[0]

    return jax.jit(both)


MEDIAN = jax.jit(median_distance)
PULLED = {name: _pull(f) for name, f in RELATIONS.items()}
MASK = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
ZERO = 3  # a real unit whose features are all zero


@pytest.fixture
def features():
    x = np.random.default_rng(0).normal(size=(8, 5))
    x[ZERO] = 0.0
    return x


def oracle(name, x, mask, sigma=None):
    """Pair by pair in float64."""
    n = len(x)
    live = [mask[i] and np.any(x[i] != 0) for i in range(n)]
    if name == "rbf":
        distances = [
            np.linalg.norm(x[i] - x[j]) for i in range(n) for j in range(i) if live[i] and live[j]
        ]
        sigma = np.median(distances)
    graph = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if not (live[i] and live[j]):
                continue
            cos = x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j])
            squared = np.sum((x[i] - x[j]) ** 2)
            graph[i, j] = (
                cos
                if name == "cosine"
                else (1 + cos) / 2
                if name == "cosine01"
                else np.exp(-squared / 2 / sigma**2)
            )
    return graph


@pytest.mark.parametrize("name", RELATIONS)
def test_oracle(name, features):
    expected = oracle(name, features, MASK, 1.7)
    found = JITTED[name](features.astype(np.float32), MASK)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(JITTED[name](features, MASK), expected, atol=1e-13)


@pytest.mark.parametrize("tau", [0.5, 3.0])
def test_temporal_oracle(tau):
    expected = [[np.exp(-abs(i - j) / tau) * MASK[i] * MASK[j] for j in range(8)] for i in range(8)]
    np.testing.assert_allclose(temporal(MASK, tau), expected, atol=1e-7)


@pytest.mark.parametrize("name", RELATIONS)
def test_structure(name, features):
    graph = np.asarray(JITTED[name](features.astype(np.float32), MASK))
    live = MASK.copy()
    live[ZERO] = False
    np.testing.assert_array_equal(np.diagonal(graph), live.astype(np.float32))
    assert not graph[~live].any() and not graph[:, ~live].any()
    np.testing.assert_allclose(graph, graph.T, atol=1e-6)
    assert graph.max() <= 1.0 and graph.min() >= (-1.0 if name == "cosine" else 0.0)


@pytest.mark.parametrize("name", RELATIONS)
def test_padding_changes_nothing(name, features):
    """Neither values nor gradients depend on what padded units hold, nor on how many there are."""
    weight = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)
    clean = np.where(MASK[:, None], features, 0.0).astype(np.float32)
    graph, gradient = value_and_gradient(name, clean, MASK, weight)
    for junk in (1e30, np.inf, np.nan):
        other, other_gradient = value_and_gradient(
            name, np.where(MASK[:, None], clean, junk).astype(np.float32), MASK, weight
        )
        np.testing.assert_array_equal(other, graph)
        np.testing.assert_array_equal(other_gradient, gradient)
    assert not gradient[~MASK].any()
    real = np.flatnonzero(MASK)
    packed, packed_gradient = value_and_gradient(
        name, clean[real], np.ones(len(real), bool), weight[np.ix_(real, real)]
    )
    np.testing.assert_allclose(packed, graph[np.ix_(real, real)], atol=1e-6)
    np.testing.assert_allclose(packed_gradient, gradient[real], atol=1e-5)


def value_and_gradient(name, x, mask, weight):
    return [np.asarray(a) for a in PULLED[name](x, mask, weight)]


@pytest.mark.parametrize("name", RELATIONS)
@pytest.mark.parametrize("silent", [[ZERO], [0, ZERO, 4], list(range(8))])
def test_zero_units_have_finite_gradients(name, silent, features):
    x = features.astype(np.float32)
    x[silent] = 0.0
    graph, gradient = value_and_gradient(name, x, MASK, np.ones((8, 8), np.float32))
    assert not graph[silent].any() and np.isfinite(gradient).all() and not gradient[silent].any()


@pytest.mark.parametrize("name", RELATIONS)
def test_coinciding_units_have_finite_gradients(name):
    x = np.repeat(
        np.array([[1.0, 2.0, 3.0, 0.0, 1.0], [2.0, -1.0, 0.5, 1.0, 0.0]], np.float32),
        [7, 1],
        axis=0,
    )
    weight = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    graph, gradient = value_and_gradient(name, x, np.ones(8, bool), weight)
    np.testing.assert_allclose(graph[:7, :7], 1.0, atol=1e-6)
    assert np.isfinite(graph).all() and np.isfinite(gradient).all() and graph[0, 7] < 0.99


@pytest.mark.parametrize("name", RELATIONS)
@pytest.mark.parametrize("real", [[2], []])
def test_one_unit_and_none(name, real):
    mask = np.isin(np.arange(8), real)
    graph, gradient = value_and_gradient(
        name, np.ones((8, 5), np.float32), mask, np.ones((8, 8), np.float32)
    )
    np.testing.assert_array_equal(graph, np.diag(mask).astype(np.float32))
    np.testing.assert_array_equal(gradient, 0.0)


@given(seed=st.integers(0, 2**31), name=st.sampled_from(sorted(RELATIONS)))
@settings(max_examples=25, deadline=None)
def test_permuting_units_permutes_the_graph(seed, name):
    rng = np.random.default_rng(seed)
    x, mask, order = (
        rng.normal(size=(8, 5)).astype(np.float32),
        rng.random(8) < 0.8,
        rng.permutation(8),
    )
    graph = np.asarray(JITTED[name](x, mask))
    np.testing.assert_allclose(
        JITTED[name](x[order], mask[order]), graph[np.ix_(order, order)], atol=2e-6
    )


@pytest.mark.parametrize("scale", [1e-18, 1e-9, 1e9, 1e18])
def test_cosine_does_not_see_scale(scale, features):
    x = features.astype(np.float32)
    np.testing.assert_allclose(
        JITTED["cosine"](x * np.float32(scale), MASK), JITTED["cosine"](x, MASK), atol=1e-6
    )


@pytest.mark.parametrize("name", RELATIONS)
def test_gradients_against_finite_differences(name, features):
    with jax.enable_x64(True):
        x = jnp.asarray(np.delete(features, ZERO, 0))
        weight = np.random.default_rng(2).normal(size=(7, 7))
        loss = jax.jit(lambda x: (RELATIONS[name](x, np.delete(MASK, ZERO)) * weight).sum())
        check_grads(loss, (x,), order=1, modes=["rev"], eps=1e-5, atol=1e-8, rtol=1e-8)


def test_gradient_of_a_learnable_width(features):
    with jax.enable_x64(True):
        loss = jax.jit(lambda sigma: (rbf(features, MASK, sigma) ** 2).sum())
        check_grads(
            loss, (jnp.asarray(0.9),), order=1, modes=["rev"], eps=1e-5, atol=1e-8, rtol=1e-8
        )


@given(seed=st.integers(0, 2**31), values=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_median_by_bisection(seed, values):
    """Even and odd counts, many ties, none at all."""
    rng = np.random.default_rng(seed)
    squared = np.triu(rng.integers(1, values + 1, size=(6, 6)) / 3.0, 1).astype(np.float32)
    pairs = np.triu(rng.random((6, 6)) < rng.random(), 1)
    found = MEDIAN(squared + squared.T, pairs | pairs.T)
    expected = np.median(np.sqrt(squared[pairs])) if pairs.any() else 1.0
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_relations_are_positive_semidefinite(features):
    with jax.enable_x64(True):
        for relation in JITTED.values():
            assert np.linalg.eigvalsh(relation(features, MASK)).min() > -1e-12


def test_vmap_is_a_loop(features):
    x = np.stack([features, features[::-1], 2 * features + 1]).astype(np.float32)
    masks = np.stack([MASK, ~MASK, np.ones(8, bool)])
    for relation in JITTED.values():
        looped = [relation(a, m) for a, m in zip(x, masks)]
        np.testing.assert_allclose(jax.vmap(relation)(x, masks), looped, atol=1e-6)


def relation_config(**changes) -> ConfigDict:
    cfg = get_config().model.relation
    cfg.update(changes)
    return cfg


def test_dispatch(features):
    x = features.astype(np.float32)
    cases = [
        (relation_config(), "cosine"),
        (relation_config(similarity="cosine01"), "cosine01"),
        (relation_config(similarity="rbf"), "rbf"),
        (relation_config(similarity="rbf", sigma=1.7), "rbf_fixed"),
    ]
    for cfg, name in cases:
        np.testing.assert_allclose(
            relationship_graph(x, MASK, cfg), JITTED[name](x, MASK), atol=1e-6
        )
    learnable = relationship_graph(
        x, MASK, relation_config(similarity="rbf", sigma=-1.0), jnp.float32(1.7)
    )
    np.testing.assert_allclose(learnable, JITTED["rbf_fixed"](x, MASK), atol=1e-6)
    full = np.asarray(relationship_graph(x, MASK, relation_config()))
    cut = np.asarray(relationship_graph(x, MASK, relation_config(threshold=0.2)))
    np.testing.assert_array_equal(cut, np.where(full >= 0.2, full, 0.0))
    sparse = np.asarray(relationship_graph(x, MASK, relation_config(knn=1)))
    assert 0 < np.count_nonzero(sparse) < np.count_nonzero(full) and set(
        sparse[sparse != 0]
    ) <= set(full[full != 0])


@pytest.mark.parametrize(
    "changes, key",
    [
        ({"similarity": "euclid"}, "relation.similarity"),
        ({"threshold": 1.5}, "relation.threshold"),
        ({"knn": -1}, "relation.knn"),
        ({"similarity": "rbf", "sigma": -1.0}, "relation.sigma"),
    ],
)
def test_impossible_settings_are_named(changes, key, features):
    with pytest.raises(ConfigError, match=key):
        relationship_graph(features.astype(np.float32), MASK, relation_config(**changes))


def test_impossible_widths_are_named(features):
    with pytest.raises(ConfigError, match="relation.sigma"):
        rbf(features, MASK, 0.0)
    with pytest.raises(ConfigError, match="relation.temporal_tau"):
        temporal(MASK, -1.0)


def mixed_rows(n=60, d=32, seed=0):
    """Rows of scales from 1e-3 to 1e4 in one video, each with near neighbours."""
    rng = np.random.default_rng(seed)
    scales = 10.0 ** rng.uniform(-3, 4, n // 2)
    x = rng.normal(size=(n // 2, d)) * scales[:, None]
    return np.concatenate([x, x + 1e-3 * scales[:, None] * rng.normal(size=x.shape)]).astype(
        np.float32
    )


@pytest.mark.parametrize("sigma", [None, 1e-3, 1.0, 1e4])
@pytest.mark.parametrize("d", [5, 16, 50])
def test_rbf_of_rows_of_mixed_scales(sigma, d):
    """Within 1e-5 of float64: |a|^2 + |b|^2 - 2ab in float32 was off by up to 0.63."""
    x = mixed_rows(d=d)
    mask = np.ones(len(x), bool)
    mask[[3, 40]] = False
    found = jax.jit(lambda x: rbf(x, mask, sigma))(x)
    np.testing.assert_allclose(
        found,
        oracle("rbf" if sigma is None else "rbf_fixed", x.astype(np.float64), mask, sigma),
        atol=1e-5,
    )


def test_rbf_gradient_of_mixed_scales():
    """Finite, and that of float64 to 1e-4 of the largest entry of its row."""
    x = mixed_rows(n=24)
    mask, weight = np.ones(len(x), bool), np.random.default_rng(3).normal(size=(len(x), len(x)))

    def pull(x):
        return jax.grad(lambda x: (rbf(x, mask, 0.05) * weight).sum())(x)

    found = np.asarray(pull(jnp.asarray(x)))
    with jax.enable_x64(True):
        expected = np.asarray(pull(jnp.asarray(x, jnp.float64)))
    assert np.isfinite(found).all() and np.abs(expected).max() > 1.0
    scale = np.abs(expected).max(-1, keepdims=True)
    np.testing.assert_allclose(
        found / np.maximum(scale, 1e-3), expected / np.maximum(scale, 1e-3), atol=1e-4
    )


def test_rbf_never_holds_every_difference():
    """N = 1000 rows of D = 1024: no array of [N, N, D] (4 GB), forward or backward."""
    x, mask = jax.ShapeDtypeStruct((1000, 1024), jnp.float32), np.ones(1000, bool)
    used = jax.jit(jax.grad(lambda x: rbf(x, mask).sum())).lower(x).compile().memory_analysis()
    assert used.temp_size_in_bytes < 400 << 20


def test_rbf_of_any_number_of_units():
    """As a model that is exported for a symbolic N has it."""
    from jax import export

    (n,) = export.symbolic_shape("n")
    made = export.export(jax.jit(rbf))(
        jax.ShapeDtypeStruct((n, 40), jnp.float32), jax.ShapeDtypeStruct((n,), jnp.bool_)
    )
    x, mask = mixed_rows(n=12, d=40), np.ones(12, bool)
    np.testing.assert_allclose(made.call(x, mask), rbf(x, mask), atol=1e-6)
