"""Heads against float64 loops, and what they must not depend on: padding, order of units, number
of units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfvad.base.types import ConfigError
from gfvad.tasks.fusion.heads import DegreeHead, GnnHead, RowHead, degree_statistics

N, G, C = 7, 2, 5
MASK = np.array([True, True, False, True, True, True, False])
ALPHA, TOPK = 0.3, 2
HEADS = {
    "row": RowHead(N),
    "degree": DegreeHead(hidden=6, alpha=ALPHA, topk=TOPK),
    "gnn": GnnHead(hidden=6, layers=2, alpha=ALPHA, topk=TOPK, dropout=0.4),
}
SIZE_FREE = ("degree", "gnn")


def apply(kind, params, graphs, content, mask, train=False, key=None):
    arguments = (graphs, content, mask) if kind == "gnn" else (graphs, mask)
    options = {"train": train} if kind == "gnn" else {}
    return HEADS[kind].apply(
        params, *arguments, **options, rngs=None if key is None else {"dropout": key}
    )


run = jax.jit(apply, static_argnums=(0, 5))
gradients = jax.jit(
    lambda kind, params, graphs, content, mask, weight: jax.grad(
        lambda p, g, c: (apply(kind, p, g, c, mask) * weight).sum(), argnums=(0, 1, 2)
    )(params, graphs, content),
    static_argnums=0,
)


def problem(seed=0, n=N):
    rng = np.random.default_rng(seed)
    graphs = rng.uniform(-0.5, 1.0, size=(G, n, n))
    return (graphs + np.swapaxes(graphs, 1, 2)) / 2, rng.normal(size=(n, C))


def random_params(kind, seed=0):
    """Random in every leaf, so that biases and norms are seen."""
    rng = np.random.default_rng(seed)
    graphs, content = np.zeros((G, N, N), np.float32), np.zeros((N, C), np.float32)
    arguments, options = (
        ((graphs, content, MASK), {"train": False}) if kind == "gnn" else ((graphs, MASK), {})
    )
    shapes = jax.eval_shape(lambda: HEADS[kind].init(jax.random.key(0), *arguments, **options))
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape) * 0.5, shapes)


def dense(p, x):
    return x @ p["kernel"] + p["bias"]


def oracle_statistics(graphs, mask):
    """The eight statistics a channel of every real unit, by loops."""
    real = np.flatnonzero(mask)
    out = np.zeros((len(mask), 8 * len(graphs)))
    for g, graph in enumerate(graphs):
        rows = np.zeros((len(mask), 4))
        for i in real:
            row, others = graph[i, real], np.sort(graph[i, [j for j in real if j != i]])[::-1]
            spread = np.sqrt(row.var() + 1e-6)
            rows[i] = (
                row[row >= ALPHA].sum() / len(real),
                row.mean(),
                others[:TOPK].mean() if len(others) else 0.0,
                spread,
            )
        out[real, 8 * g : 8 * g + 4] = rows[real]
        out[real, 8 * g + 4 : 8 * g + 8] = rows[real] - rows[real].mean(0)
    return out


def oracle(kind, params, graphs, content, mask):
    p, real = params["params"], np.flatnonzero(mask)
    if kind == "row":
        inside = np.where(mask[:, None] & mask, graphs, 0.0)
        hidden = np.maximum(dense(p["hidden"], np.concatenate(list(inside), axis=1)), 0)
    elif kind == "degree":
        hidden = np.maximum(dense(p["hidden"], oracle_statistics(graphs, mask)), 0)
    else:
        state = dense(p["embed"], np.concatenate([content, oracle_statistics(graphs, mask)], 1))
        for layer in range(2):
            messages = np.zeros((len(mask), G * state.shape[1]))
            for i in real:
                for g in range(G):
                    weights = np.abs(graphs[g, i, real])
                    messages[i, g * 6 : (g + 1) * 6] = (
                        weights / (weights.sum() + 1e-3) @ state[real]
                    )
            x = dense(p[f"update_{layer}"], np.concatenate([state, messages], 1))
            state = state + 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
            norm = (state - state.mean(1, keepdims=True)) / np.sqrt(
                state.var(1, keepdims=True) + 1e-6
            )
            state = norm * p[f"norm_{layer}"]["scale"] + p[f"norm_{layer}"]["bias"]
        hidden = state
    return np.where(mask, dense(p["logit"], hidden)[:, 0], 0.0)


@pytest.mark.parametrize("kind", HEADS)
def test_agrees_with_loop_oracle(kind):
    params = random_params(kind)
    for seed, mask in ((0, MASK), (1, np.ones(N, bool)), (2, np.arange(N) < 1)):
        graphs, content = problem(seed)
        with jax.enable_x64(True):
            logits = run(kind, params, graphs, content, mask)
        np.testing.assert_allclose(
            logits, oracle(kind, params, graphs, content, mask), rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize("kind", HEADS)
def test_padded_content_changes_nothing_even_if_not_finite(kind):
    params = jax.tree.map(np.float32, random_params(kind))
    graphs, content = (a.astype(np.float32) for a in problem())
    weight = np.random.default_rng(1).normal(size=N).astype(np.float32)
    pairs = MASK[:, None] & MASK
    base = (
        run(kind, params, graphs, content, MASK),
        gradients(kind, params, graphs, content, MASK, weight),
    )
    assert (np.asarray(base[0])[~MASK] == 0).all()
    for junk in (np.float32(np.nan), np.float32(np.inf), np.float32(9)):
        other = np.where(pairs, graphs, junk), np.where(MASK[:, None], content, junk)
        jax.tree.map(
            np.testing.assert_array_equal,
            base,
            (run(kind, params, *other, MASK), gradients(kind, params, *other, MASK, weight)),
        )


@pytest.mark.parametrize("kind", SIZE_FREE)
def test_permuting_units_permutes_logits(kind):
    params, (graphs, content) = random_params(kind), problem()
    order = np.random.default_rng(3).permutation(N)
    with jax.enable_x64(True):
        logits = run(kind, params, graphs, content, MASK)
        other = run(kind, params, graphs[:, order][:, :, order], content[order], MASK[order])
    np.testing.assert_allclose(other, logits[order], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", SIZE_FREE)
def test_the_same_parameters_serve_any_length(kind):
    """Cutting the padding off changes no logit, up to the order of sums."""
    params, (graphs, content) = random_params(kind), problem(4)
    real = np.flatnonzero(MASK)
    with jax.enable_x64(True):
        full = run(kind, params, graphs, content, MASK)
        cut = run(
            kind, params, graphs[:, real][:, :, real], content[real], np.ones(len(real), bool)
        )
    np.testing.assert_allclose(cut, full[real], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", HEADS)
def test_gradients_agree_with_finite_differences(kind):
    params, (graphs, content) = random_params(kind), problem(5)
    rng = np.random.default_rng(2)
    weight = rng.normal(size=N)
    with jax.enable_x64(True):
        arguments = (params, graphs, content)
        exact = gradients(kind, *arguments, MASK, weight)
        for _ in range(3):
            direction = jax.tree.map(lambda a: rng.normal(size=a.shape), arguments)
            plus, minus = (
                (
                    run(kind, *jax.tree.map(lambda a, d: a + s * d, arguments, direction), MASK)
                    * weight
                ).sum()
                for s in (1e-6, -1e-6)
            )
            along = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), exact, direction)))
            np.testing.assert_allclose(along, (plus - minus) / 2e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_every_channel_counts_and_zero_graphs_are_harmless(kind):
    params = jax.tree.map(np.float32, random_params(kind))
    graphs, content = (a.astype(np.float32) for a in problem(6))
    weight = np.random.default_rng(1).normal(size=N).astype(np.float32)
    slopes = np.asarray(gradients(kind, params, graphs, content, MASK, weight)[1])
    assert (np.abs(slopes).sum((1, 2)) > 0).all()
    for mask in (MASK, np.zeros(N, bool)):
        empty = gradients(kind, params, 0 * graphs, 0 * content, mask, weight)
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(empty))


def test_statistics_do_not_grow_with_the_number_of_units():
    """A constant graph gives the same statistics at every length."""
    for n in (4, 9):
        statistics = jax.jit(degree_statistics, static_argnums=(2, 3))(
            jnp.full((1, n, n), 0.5), jnp.ones(n, bool), ALPHA, TOPK
        )
        np.testing.assert_allclose(
            statistics, np.tile([0.5, 0.5, 0.5, 1e-3, 0, 0, 0, 0], (n, 1)), atol=1e-6
        )


def test_dropout_only_when_training():
    params = jax.tree.map(np.float32, random_params("gnn"))
    graphs, content = (a.astype(np.float32) for a in problem(7))
    still = [run("gnn", params, graphs, content, MASK, False, jax.random.key(k)) for k in (0, 1)]
    np.testing.assert_array_equal(*still)
    drawn = [run("gnn", params, graphs, content, MASK, True, jax.random.key(k)) for k in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_row_head_refuses_another_length():
    with pytest.raises(ConfigError, match="built for 7 units .*found 8"):
        HEADS["row"].init(jax.random.key(0), jnp.zeros((1, 8, 8)), jnp.ones(8, bool))
