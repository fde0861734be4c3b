"""Thresholds, nearest-neighbour masks and neighbour lists against plain numpy, and the memory of
the long form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvad.base.types import ConfigError
from gfvad.graphs.relations import cosine, cosine01, rbf
from gfvad.graphs.sparsify import knn_edges, knn_mask, threshold, top_edges

RELATIONS = {"cosine": cosine, "cosine01": cosine01, "rbf": lambda x, mask: rbf(x, mask, 1.3)}
COSINE, KNN_MASK = jax.jit(cosine), jax.jit(knn_mask, static_argnums=1)


def random_units(seed, n=12, d=4, padded=True):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(np.float32), (
        rng.random(n) < 0.8 if padded else np.ones(n, bool)
    )


def knn_oracle(r, k, mask):
    """Union over directions of each unit's k most related others."""
    keep = np.diag(mask)
    for i in np.flatnonzero(mask):
        others = [j for j in np.flatnonzero(mask) if j != i]
        for j in sorted(others, key=lambda j: -r[i, j])[:k]:
            keep[i, j] = keep[j, i] = True
    return keep


def test_threshold_keeps_its_value():
    r = np.array([[1.0, 0.5, 0.4], [0.5, 1.0, -0.2], [0.4, -0.2, 1.0]], np.float32)
    np.testing.assert_array_equal(threshold(r, 0.5), [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(threshold(r, -1.0), r)


@given(seed=st.integers(0, 2**31), k=st.sampled_from([1, 3, 11, 50]))
@settings(max_examples=20, deadline=None)
def test_knn_mask(seed, k):
    x, mask = random_units(seed)
    r = np.asarray(COSINE(x, mask))
    # an edge may be a tie of its two directions up to rounding
    r = (r + r.T) / 2
    keep = np.asarray(KNN_MASK(r, k, mask))
    np.testing.assert_array_equal(keep, knn_oracle(r, k, mask))
    np.testing.assert_array_equal(keep, keep.T)
    order = np.random.default_rng(seed).permutation(12)
    np.testing.assert_array_equal(
        KNN_MASK(r[np.ix_(order, order)], k, mask[order]), keep[np.ix_(order, order)]
    )


def test_knn_mask_keeps_ties():
    r = np.ones((4, 4), np.float32)
    assert np.asarray(knn_mask(r, 1, np.ones(4, bool))).all()


@pytest.mark.parametrize("mask", [[1, 0, 0], [0, 0, 0]])
def test_knn_of_one_unit_and_none(mask):
    mask = np.array(mask, bool)
    np.testing.assert_array_equal(
        knn_mask(np.diag(mask).astype(np.float32), 1, mask), np.diag(mask)
    )
    edges = knn_edges(np.ones((3, 2), np.float32), 2, mask)
    assert not np.asarray(edges.valid).any() and not np.asarray(edges.weight).any()


@pytest.mark.parametrize(
    "similarity, k, chunk",
    [("cosine", 3, 8), ("cosine01", 5, 37), ("rbf", 4, 9), ("cosine", 40, 10)],
)
def test_neighbour_lists_agree_with_the_dense_graph(similarity, k, chunk):
    """Same neighbours in the same order, same weights, same gradients; chunks that do not divide
    N, more neighbours than units."""
    x, mask = random_units(5, n=37)
    sigma = 1.3 if similarity == "rbf" else None

    def dense(x):
        return top_edges(RELATIONS[similarity](x, mask), k, mask)

    def listed(x):
        return knn_edges(x, k, mask, similarity=similarity, sigma=sigma, chunk=chunk)

    weight = np.random.default_rng(0).normal(size=(37, k)).astype(np.float32)
    (expected, slope), (found, listed_slope) = (
        jax.jit(pulled(f))(x, weight) for f in (dense, listed)
    )
    assert found.neighbour.shape == (37, k)
    np.testing.assert_array_equal(found.valid, expected.valid)
    assert np.asarray(found.valid).sum() == mask.sum() * min(k, mask.sum() - 1)
    np.testing.assert_array_equal(found.neighbour, expected.neighbour)
    np.testing.assert_allclose(found.weight, expected.weight, atol=1e-6)
    np.testing.assert_allclose(listed_slope, slope, atol=2e-5)
    assert not np.asarray(listed_slope)[~mask].any()


def pulled(f):
    """f: x -> Edges, with the gradient of its weights against given ones."""

    def both(x, weight):
        edges, pull = jax.vjp(f, x)
        return (
            edges,
            pull(
                edges._replace(
                    neighbour=float0(edges.neighbour), weight=weight, valid=float0(edges.valid)
                )
            )[0],
        )

    return both


def float0(x):
    return np.zeros(x.shape, jax.dtypes.float0)


def test_neighbour_lists_ignore_padding_and_survive_zero_units():
    x, mask = random_units(6, n=20)
    x[np.flatnonzero(mask)[0]] = 0.0
    junk = np.where(mask[:, None], x, np.nan).astype(np.float32)
    for similarity, sigma in (("cosine", None), ("rbf", 0.7)):
        both = jax.jit(
            pulled(lambda x: knn_edges(x, 4, mask, similarity=similarity, sigma=sigma, chunk=7))
        )
        (edges, _), (other, gradient) = (
            both(values, np.ones((20, 4), np.float32)) for values in (x, junk)
        )
        jax.tree.map(np.testing.assert_array_equal, edges, other)
        gradient = np.asarray(gradient)
        assert (
            np.isfinite(gradient).all()
            and not gradient[~mask].any()
            and not gradient[np.flatnonzero(mask)[0]].any()
        )


def test_loops():
    r = np.eye(3, dtype=np.float32)
    edges = top_edges(r, 1, np.array([True, True, False]), loops=True)
    np.testing.assert_array_equal(edges.neighbour[:, 0], [0, 1, 0])
    np.testing.assert_array_equal(edges.valid[:, 0], [True, True, False])


def test_long_videos_never_hold_a_dense_graph():
    """N = 20,000: a dense graph takes 1.6 GB; forward and backward together need a small part of
    that."""
    x, mask = (
        jax.ShapeDtypeStruct((20_000, 32), jnp.float32),
        jax.ShapeDtypeStruct((20_000,), jnp.bool_),
    )
    loss = lambda x, mask: (knn_edges(x, 10, mask).weight ** 2).sum()
    memory = jax.jit(jax.value_and_grad(loss)).lower(x, mask).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 200e6


def test_impossible_settings_are_named():
    x, mask = random_units(0)
    for call in (
        lambda: knn_mask(np.eye(12), 0, mask),
        lambda: knn_edges(x, 0, mask),
        lambda: top_edges(np.eye(12), -1, mask),
    ):
        with pytest.raises(ConfigError, match="relation.knn"):
            call()
    with pytest.raises(ConfigError, match="similarity"):
        knn_edges(x, 2, mask, similarity="euclid")
    with pytest.raises(ConfigError, match="sigma"):
        knn_edges(x, 2, mask, similarity="rbf")
