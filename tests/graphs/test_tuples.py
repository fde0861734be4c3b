"""Neighbour lists as jraph graphs and back, under jraph's padding rules; message passing dense,
by jraph, and by hand."""

import jax
import jax.numpy as jnp
import jraph
import numpy as np
import pytest

from gfvad.graphs.relations import cosine
from gfvad.graphs.sparsify import knn_edges, knn_mask, top_edges
from gfvad.graphs.tuples import propagate, to_dense, to_graphs_tuple

N, K, F = 11, 3, 5
MASKS = {
    "full": np.ones(N, bool),
    "tail": np.arange(N) < 8,
    "scattered": np.array([0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0], bool),
    "few": np.arange(N) < 2,  # fewer units than neighbours asked for
    "one": np.arange(N) == 4,
    "none": np.zeros(N, bool),
}


def listed(x, mask, symmetric):
    return to_graphs_tuple(knn_edges(x, K, mask), mask, symmetric=symmetric)


def sparse(x, state, mask, symmetric, normalise):
    return propagate(listed(x, mask, symmetric), state, mask, normalise=normalise)


def dense(x, state, mask, symmetric, normalise):
    return propagate(to_dense(listed(x, mask, symmetric)), state, mask, normalise=normalise)


def _pull(f):
    def both(x, state, mask, weight, symmetric, normalise):
        out, pull = jax.vjp(lambda x, state: f(x, state, mask, symmetric, normalise), x, state)
        return out, pull(weight)

    return jax.jit(both, static_argnums=(4, 5))


EDGES = jax.jit(lambda x, mask: knn_edges(x, K, mask))
COSINE = jax.jit(cosine)
LISTED, DENSE = jax.jit(listed, static_argnums=2), jax.jit(to_dense)
PULLED = [_pull(f) for f in (sparse, dense)]


@pytest.fixture
def units():
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, 4)).astype(np.float32), rng.normal(size=(N, F)).astype(np.float32)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_padding_rules(mask, units):
    x, _ = units
    graph = LISTED(x, mask, False)
    real, edges = mask.sum(), mask.sum() * min(K, max(mask.sum() - 1, 0))
    assert graph.edges.shape == graph.senders.shape == graph.receivers.shape == (
        N * K,
    ) and graph.nodes.shape == (N + 1,)
    np.testing.assert_array_equal(graph.n_node, [real, N + 1 - real])
    np.testing.assert_array_equal(graph.n_edge, [edges, N * K - edges])
    # what jraph makes of it
    np.testing.assert_array_equal(jraph.get_graph_padding_mask(graph), [True, False])
    np.testing.assert_array_equal(jraph.get_node_padding_mask(graph), np.arange(N + 1) < real)
    np.testing.assert_array_equal(jraph.get_edge_padding_mask(graph), np.arange(N * K) < edges)
    np.testing.assert_array_equal(graph.nodes[:real], np.flatnonzero(mask))
    # padding edges all join the dummy, real ones real nodes
    np.testing.assert_array_equal(graph.senders[edges:], N)
    np.testing.assert_array_equal(graph.receivers[edges:], N)
    assert (np.asarray(graph.senders[:edges]) < real).all() and (
        np.asarray(graph.receivers[:edges]) < real
    ).all()
    assert not np.asarray(graph.edges[edges:]).any()


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_round_trip(mask, units):
    x, _ = units
    relation = np.asarray(COSINE(x, mask))
    edges = jax.tree.map(np.asarray, EDGES(x, mask))
    expected = np.zeros((N, N), np.float32)
    for i in range(N):
        for slot in range(K):
            if edges.valid[i, slot]:
                expected[i, edges.neighbour[i, slot]] = edges.weight[i, slot]
    np.testing.assert_allclose(DENSE(LISTED(x, mask, False)), expected, atol=1e-7)
    undirected = np.asarray(DENSE(LISTED(x, mask, True)))
    np.testing.assert_allclose(
        undirected,
        np.where(knn_mask(relation, K, mask) & ~np.eye(N, dtype=bool), relation, 0.0),
        atol=1e-6,
    )
    np.testing.assert_array_equal(undirected != 0, undirected.T != 0)


def test_complete_graph(units):
    """k = N with loops lists every edge: the dense graph itself."""
    x, _ = units
    relation = cosine(x, MASKS["tail"])
    np.testing.assert_array_equal(
        to_dense(to_graphs_tuple(top_edges(relation, N, MASKS["tail"], loops=True), MASKS["tail"])),
        relation,
    )


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("symmetric, normalise", [(False, False), (True, True)])
def test_dense_and_jraph_propagation_agree(mask, symmetric, normalise, units):
    x, state = units
    graph = np.asarray(DENSE(LISTED(x, mask, symmetric)), np.float64)
    expected = np.zeros((N, F))
    for i in np.flatnonzero(mask):
        expected[i] = sum(graph[i, j] * state[j] for j in np.flatnonzero(mask))
        if normalise and graph[i].any():
            expected[i] /= np.abs(graph[i]).sum()
    weight = np.random.default_rng(1).normal(size=(N, F)).astype(np.float32)
    (by_jraph, sparse_slopes), (by_matrix, dense_slopes) = (
        f(x, state, mask, weight, symmetric, normalise) for f in PULLED
    )
    np.testing.assert_allclose(by_jraph, expected, atol=2e-6)
    np.testing.assert_allclose(by_matrix, expected, atol=2e-6)
    for a, b in zip(sparse_slopes, dense_slopes):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_propagation_ignores_padding(units):
    x, state = units
    mask = MASKS["scattered"]
    relation = np.asarray(cosine(x, mask))
    junk = np.where(mask[:, None], state, np.nan).astype(np.float32)
    graph = to_graphs_tuple(top_edges(relation, K, mask), mask)
    for form, bad in (
        (graph, graph),
        (relation, np.where(np.outer(mask, mask), relation, np.nan).astype(np.float32)),
    ):
        np.testing.assert_array_equal(propagate(form, state, mask), propagate(bad, junk, mask))
        assert not np.asarray(propagate(form, state, mask))[~mask].any()
        assert np.isfinite(
            np.asarray(jax.grad(lambda s: propagate(bad, s, mask).sum())(junk))
        ).all()


def test_vmap(units):
    x, state = units
    masks = jnp.stack(list(MASKS.values()))
    step = jax.jit(lambda m: sparse(x, state, m, True, True))
    np.testing.assert_allclose(jax.vmap(step)(masks), [step(m) for m in masks], atol=1e-6)
