"""Graphs as `jraph.GraphsTuple` and back, and message passing over either form. The only importer
of jraph.

jraph's padding rules, kept here so that no one else meets them: every array has a static size; a
video becomes two graphs, the real one and a padding graph after it; padded units are nodes of the
padding graph; edge slots without an edge join its last node, a dummy that stands for no unit, to
itself with weight 0; `n_graph` would count the padding graph; an empty `segment_max` is -inf (none
is used). `jraph.zero_out_padding` and `get_fully_connected_graph` call functions JAX has removed,
so masks are applied by hand.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import jraph

from gfvad.graphs.sparsify import Edges


def to_graphs_tuple(edges: Edges, mask: jax.Array, *, symmetric: bool = False) -> jraph.GraphsTuple:
    """k edges into each unit -> jraph graph with N k edge slots and N + 1 nodes. edges [N, k], mask
    [N].

    nodes int32 [N + 1]: the unit a node stands for (N for the dummy), real units first and in their
    order; edges float [N k]: the relation; senders, receivers int32 [N k]; n_node, n_edge int32
    [2]: (real, padding).
    symmetric: adds the reverse of every edge whose reverse is not listed yet, in another N k slots,
    so that the graph is undirected.
    """
    mask = jnp.asarray(mask, bool)
    n, k = edges.neighbour.shape
    receiver = jnp.broadcast_to(jnp.arange(n)[:, None], (n, k))
    sender, weight = edges.neighbour, edges.weight
    valid = edges.valid & mask[receiver] & mask[sender]
    if symmetric:
        # [N, k, k]: is the receiver among its neighbour's own neighbours?
        listed = ((edges.neighbour[sender] == receiver[..., None]) & valid[sender]).any(-1)
        sender, receiver = jnp.stack([sender, receiver]), jnp.stack([receiver, sender])
        weight, valid = jnp.stack([weight, weight]), jnp.stack([valid, valid & ~listed])
    sender, receiver, weight, valid = (a.reshape(-1) for a in (sender, receiver, weight, valid))

    # [N] place of each unit among the nodes: real ones first; [N + 1] and back
    unit = jnp.append(jnp.argsort(~mask, stable=True), n).astype(jnp.int32)
    place = jnp.zeros(n + 1, jnp.int32).at[unit].set(jnp.arange(n + 1, dtype=jnp.int32))
    # jraph wants the real edges first
    first = jnp.argsort(~valid, stable=True)
    join = lambda end: jnp.where(valid, place[end], n)[first].astype(jnp.int32)
    n_real, e_real = mask.sum(), valid.sum()
    return jraph.GraphsTuple(
        nodes=unit,
        edges=jnp.where(valid, weight, 0.0)[first],
        senders=join(sender),
        receivers=join(receiver),
        globals=None,
        n_node=jnp.stack([n_real, n + 1 - n_real]).astype(jnp.int32),
        n_edge=jnp.stack([e_real, len(valid) - e_real]).astype(jnp.int32),
    )


def to_dense(graph: jraph.GraphsTuple) -> jax.Array:
    """A graph of `to_graphs_tuple` -> [N, N] in unit order, entry (i, j) the relation of the
    edge from j to i, 0 where there is none."""
    nodes, edges, receivers, senders = _arrays(graph)
    n = nodes.shape[0] - 1
    real: Any = jraph.get_edge_padding_mask(graph)
    # padding edges fall on the dummy's row and column, which are cut
    whole = jnp.zeros((n + 1, n + 1), edges.dtype)
    whole = whole.at[nodes[receivers], nodes[senders]].add(jnp.where(real, edges, 0.0))
    return whole[:n, :n]


def propagate(
    graph: jraph.GraphsTuple | jax.Array, x: jax.Array, mask: jax.Array, *, normalise: bool = False
) -> jax.Array:
    """One round of message passing over a weighted graph: y_i = sum_j g_ij x_j / sum_j |g_ij| ->
    [N, F].

    graph: dense [N, N], or a jraph graph of `to_graphs_tuple` (the two agree on the same edges); x
    [N, F], mask [N]. normalise False leaves the sum undivided. A unit without edges and a padded
    unit receive 0.
    """
    mask = jnp.asarray(mask, bool)
    x = jnp.where(mask[:, None], x, 0.0)
    if isinstance(graph, jraph.GraphsTuple):
        total, degree = _sparse_sums(graph, x)
    else:
        graph = jnp.where(mask[:, None] & mask, graph, 0.0)
        total, degree = (
            jnp.matmul(graph, x, precision=jax.lax.Precision.HIGHEST),
            jnp.abs(graph).sum(-1),
        )
    if normalise:
        total = total / jnp.where(degree > 0, degree, 1.0)[:, None]
    return jnp.where(mask[:, None], total, 0.0)


def _sparse_sums(graph: jraph.GraphsTuple, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x [N, F] -> (sum of weighted messages [N, F], sum of absolute weights [N]), in unit order."""
    nodes, edges, receivers, senders = _arrays(graph)
    # [N + 1, F], the dummy node 0; [E, F] messages
    at_nodes = jnp.pad(x, ((0, 1), (0, 0)))[nodes]
    messages = edges[:, None] * at_nodes[senders]
    total = jraph.segment_sum(messages, receivers, nodes.shape[0])
    degree = jraph.segment_sum(jnp.abs(edges), receivers, nodes.shape[0])
    back = lambda a: jnp.zeros_like(a).at[nodes].set(a)[:-1]
    return back(total), back(degree)


def _arrays(graph: jraph.GraphsTuple) -> Any:
    """(nodes, edges, receivers, senders): arrays here, where jraph allows trees of them."""
    return graph.nodes, graph.edges, graph.receivers, graph.senders
