"""Random pairs, the ablation without cross terms, and settings of the fusion operator that
cannot work."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fusing import MASK, N, apply, cosines, operator, random_params

from configs.common import get_config
from gfvad.base.types import ConfigError
from gfvad.fusion.coefficients import dense_coefficients
from gfvad.fusion.forms import start_minterms
from gfvad.fusion.operator import FusionOperator, check_fusion


@pytest.mark.parametrize("form", ["full", "cp"])
def test_random_pair(form):
    """Training fuses exactly one of the three pairs, each some time, and no gradient reaches the
    graph left out."""
    module = operator(2, form=form, graphs="random_pair", rank=2)
    graphs = cosines(3).astype(np.float32)
    params = random_params(module, graphs)
    two = operator(2, form=form, rank=2)
    alone = {}
    for pair in combinations(range(3), 2):
        own = {"a": params["a"][:, :, np.array(pair)]} if form == "cp" else params
        alone[pair] = apply(two, own, graphs[np.array(pair)])

    @jax.jit
    def train(key):
        fused, pull = jax.vjp(
            lambda g: module.apply({"params": params}, g, MASK, train=True, rngs={"pair": key}),
            graphs,
        )
        return fused, pull(jnp.ones_like(fused))[0]

    drawn = set()
    for seed in range(20):
        fused, gradient = (np.asarray(a) for a in train(jax.random.key(seed)))
        (pair,) = [
            pair for pair, expected in alone.items() if np.allclose(fused, expected, atol=1e-5)
        ]
        assert {m for m in range(3) if gradient[m].any()} == set(pair)
        drawn.add(pair)
    assert drawn == set(alone)
    np.testing.assert_allclose(
        apply(module, params, graphs), np.mean(list(alone.values()), 0), atol=1e-5
    )


def test_a_batch_may_share_its_pair():
    """One key for the batch: one pair for all videos, as in the paper; a key a video: each draws
    its own."""
    module = operator(2, form="full", graphs="random_pair")
    graphs = np.stack([cosines(4).astype(np.float32)] * 12)
    params = random_params(module, graphs[0])
    fuse = lambda key, g: module.apply({"params": params}, g, MASK, train=True, rngs={"pair": key})
    shared = np.asarray(jax.jit(jax.vmap(fuse, (None, 0)))(jax.random.key(0), graphs))
    own = np.asarray(jax.jit(jax.vmap(fuse))(jax.random.split(jax.random.key(0), 12), graphs))
    np.testing.assert_allclose(shared, np.broadcast_to(shared[0], shared.shape), atol=1e-6)
    assert len({tuple(np.round(g.ravel(), 4)) for g in own}) > 1


@pytest.mark.parametrize(
    "form, kind, zeroth, cross_terms",
    [
        ("full", "hadamard", "ones", False),
        ("outer", "hadamard", "identity", False),
        ("cp", "walk", "ones", False),
        ("cp", "hadamard", "ones", True),
    ],
)
def test_without_cross_terms_graphs_add(form, kind, zeroth, cross_terms):
    """f(a, b) + f(c, d) = f(a, d) + f(c, b), which no product of two graphs allows."""
    a, b, c, d = cosines(4).astype(np.float32)
    module = operator(3, kind, zeroth, form=form, cross_terms=cross_terms)
    params = random_params(module, np.stack([a, b]))
    fuse = jax.jit(
        lambda *graphs: module.apply({"params": params}, jnp.stack(graphs), MASK, train=False)
    )
    gap = float(jnp.abs(fuse(a, b) + fuse(c, d) - fuse(a, d) - fuse(c, b)).max())
    assert gap > 1e-2 if cross_terms else gap < 1e-5


@pytest.mark.parametrize(
    "changes, count, key",
    [
        ({"form": "full"}, 3, "fusion.form"),
        ({"form": "outer"}, 1, "fusion.form"),
        ({"form": "tucker"}, 2, "fusion.form"),
        ({"form": "full", "graphs": "random_pair"}, 1, "fusion.graphs"),
        ({"graphs": "some"}, 2, "fusion.graphs"),
        ({"parametrisation": "positive"}, 2, "fusion.parametrisation"),
        ({"rank": 0}, 2, "fusion.rank"),
        ({"channels": 0}, 2, "fusion.channels"),
        ({"order": -1}, 2, "expansion.order"),
        ({"kind": "heat"}, 2, "expansion.kind"),
        ({"zeroth": "zeros"}, 2, "expansion.zeroth"),
        ({"restart": 1.5}, 2, "expansion.restart"),
        ({}, 0, "no graph to fuse"),
    ],
)
def test_impossible_settings_are_named(changes, count, key):
    module = operator(**changes)
    with pytest.raises(ConfigError, match=key):
        check_fusion(module.fusion, module.expansion, count)
    with pytest.raises(ConfigError, match=key):
        jax.eval_shape(
            lambda: module.init(jax.random.key(0), jnp.zeros((count, N, N)), MASK, train=False)
        )


def test_dense_tensors_of_many_graphs_are_refused():
    with pytest.raises(ConfigError, match="3 at most"):
        dense_coefficients({"a": np.ones((1, 2, 4, 3))}, operator(form="cp").fusion)


def test_minterms_tell_how_two_moments_are_alike():
    """Without noise, the four channels of two 0/1 graphs are their conjunctions, and add up to
    one everywhere."""
    c = get_config().model
    c.fusion.update({"start": "minterms", "rank": 1, "channels": 4})
    c.expansion.order = 2
    graphs = np.random.default_rng(0).integers(0, 2, (2, 5, 5)).astype(np.float32)
    module = FusionOperator(c.fusion, c.expansion)
    exact = {"params": {"a": start_minterms(4, 1, 2, 2).astype(np.float32)}}
    fused = np.asarray(module.apply(exact, graphs, np.ones(5, bool), train=False))
    a, b = graphs
    np.testing.assert_allclose(
        fused, [a * b, (1 - a) * b, a * (1 - b), (1 - a) * (1 - b)], atol=1e-6
    )
    np.testing.assert_allclose(fused.sum(0), 1, atol=1e-6)
    started = module.init(jax.random.key(0), graphs, np.ones(5, bool), train=False)["params"]["a"]
    assert started.shape == (4, 1, 2, 3) and 0 < np.abs(started - exact["params"]["a"]).max() < 0.2


@pytest.mark.parametrize(
    "change", [{"form": "outer"}, {"parametrisation": "nonneg"}, {"start": "minterm"}]
)
def test_minterms_need_free_factors(change):
    c = get_config().model
    c.fusion.update({"start": "minterms", **change})
    with pytest.raises(ConfigError, match="fusion.start"):
        check_fusion(c.fusion, c.expansion, 2)
