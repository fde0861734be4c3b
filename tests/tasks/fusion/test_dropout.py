"""Dropout of whole modalities and of edges: how often, what stays, that nothing is drawn where
it is off."""

import itertools

import jax
import numpy as np
import pytest

from configs.common import get_config
from gfvad.tasks.fusion import registry
from gfvad.tasks.fusion.content import kept_modalities
from gfvad.tasks.fusion.detector import drop_edges

N, DIMS = 8, {"rgb": 5, "audio": 4, "text": 3}
MASK = np.arange(N) < 6
MODELS = {
    "gnn": {},
    "branches": {
        "model.head.kind": "branches",
        "model.filter.modalities": ("rgb",),
        "model.relation.sources": ("raw", "residual"),
    },
    "foil": {"model.name": "feature_fusion", "model.foil.kind": "gated"},
}


def build(name, dims=DIMS, **changes):
    """(a jitted run (features, key) -> training Output, without a key that of evaluation;
    features) of a model without other dropout."""
    config = get_config()
    small = {
        "model.embed_dim": 4,
        "model.head.hidden": 4,
        "model.head.topk": 2,
        "model.expansion.order": 2,
        "model.fusion.rank": 2,
        "model.dropout": 0.0,
    }
    small |= {
        "model.filter.experts": 3,
        "model.filter.topk": 2,
        "model.filter.bottleneck": 2,
        "model.confidence": ("text",) if "text" in dims else (),
    }
    config.update_from_flattened_dict({**small, **MODELS[name], **changes})
    model, rng = registry.build_model(config, dims), np.random.default_rng(0)
    features = {m: rng.normal(size=(N, d)).astype(np.float32) for m, d in dims.items()}
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), features, MASK, train=False))
    params = jax.tree.map(
        lambda a: rng.normal(size=a.shape).astype(np.float32) * 0.5, shapes["params"]
    )
    constants = {
        f"{key}_{m}": np.full(d, value, np.float32)
        for m, d in dims.items()
        for key, value in (("mean", 0.1), ("std", 1.0))
    }

    @jax.jit
    def run(features, key=None):
        rngs = {"dropout": key} if key is not None else {}
        return model.apply(
            {"params": params, "constants": constants},
            features,
            MASK,
            train=key is not None,
            rngs=rngs,
        )

    run.without_keys = jax.jit(
        lambda features: model.apply(
            {"params": params, "constants": constants}, features, MASK, train=True
        )
    )
    return run, features


@pytest.mark.parametrize("rate, count", [(0.3, 3), (0.9, 2), (0.5, 1)])
def test_how_often_a_modality_is_dropped(rate, count):
    """rate - rate^M / M each, evenly, and never all."""
    kept = np.asarray(
        jax.vmap(lambda k: kept_modalities(k, np.ones(count, bool), rate))(
            jax.random.split(jax.random.key(0), 20000)
        )
    )
    assert kept.any(1).all()
    dropped = rate - rate**count / count
    np.testing.assert_allclose(1 - kept.mean(0), dropped, atol=4 * np.sqrt(0.25 / 20000))


def test_only_modalities_that_are_there_count():
    """The last one with a present unit stays, wherever it stands."""
    for there in itertools.product((False, True), repeat=3):
        kept = np.asarray(
            jax.vmap(lambda k, there=np.array(there): kept_modalities(k, there, 0.8))(
                jax.random.split(jax.random.key(1), 500)
            )
        )
        assert (kept & np.array(there)).any(1).all() or not any(there)
        for m in range(3):  # any other may go
            assert (
                (~kept[:, m]).any() or (there[m] and sum(there) == 1) or (not any(there) and m == 0)
            )


@pytest.mark.parametrize("name", MODELS)
def test_a_dropped_modality_is_as_one_that_is_missing(name):
    """Training outputs are those of evaluation on some modalities as zeros; over keys all but no
    modality at all come up."""
    run, features = build(name, **{"model.modality_dropout": 0.6})
    expected = {}
    for kept in itertools.product((0, 1), repeat=3):
        expected[kept] = run({m: x * k for k, (m, x) in zip(kept, features.items())})
    seen = set()
    for key in jax.random.split(jax.random.key(2), 60):
        output = run(features, key)
        kept = min(expected, key=lambda k: np.abs(expected[k].logits - output.logits).max())
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            output,
            expected[kept],
        )
        seen.add(kept)
    assert seen == set(expected) - {(0, 0, 0)}


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_drawn_where_it_is_off(name):
    """No key of the stream is needed, so what others draw from it does not change either."""
    run, features = build(name)
    jax.tree.map(np.testing.assert_array_equal, run.without_keys(features), run(features))
    # a single modality is never dropped
    one, features = build(name, {"rgb": 5}, **{"model.modality_dropout": 0.6})
    jax.tree.map(np.testing.assert_array_equal, one.without_keys(features), one(features))


def test_edges_are_dropped_in_pairs_and_the_rest_is_scaled():
    rng = np.random.default_rng(0)
    graphs = rng.normal(size=(2, 30, 30)).astype(np.float32)
    graphs = (graphs + graphs.swapaxes(1, 2)) / 2
    dropped = np.asarray(drop_edges(jax.random.key(0), graphs, 0.25))
    beside = ~np.eye(30, dtype=bool)
    np.testing.assert_array_equal(dropped.swapaxes(1, 2), dropped)
    np.testing.assert_array_equal(dropped[:, ~beside], graphs[:, ~beside])
    kept = (dropped != 0) & beside
    np.testing.assert_allclose(dropped[kept], graphs[kept] / 0.75, rtol=1e-6)
    assert abs(kept[:, beside].mean() - 0.75) < 0.05 and (kept[0] != kept[1]).any()
    keys = jax.random.split(jax.random.key(1), 4000)
    mean = np.asarray(jax.vmap(lambda k: drop_edges(k, graphs[:, :5, :5], 0.25))(keys)).mean(0)
    np.testing.assert_allclose(
        mean, graphs[:, :5, :5], atol=4 * np.abs(graphs).max() * np.sqrt(0.25 / 0.75 / 4000)
    )


@pytest.mark.parametrize("name", ["gnn", "branches"])
def test_the_head_sees_fewer_edges_and_the_output_has_them_all(name):
    run, features = build(name, **{"model.edge_dropout": 0.5})
    still, first, second = (
        run(features),
        run(features, jax.random.key(0)),
        run(features, jax.random.key(1)),
    )
    np.testing.assert_array_equal(first.graph, still.graph)
    assert (
        np.abs(first.logits - still.logits).max() > 0
        and np.abs(first.logits - second.logits).max() > 0
    )
    np.testing.assert_array_equal(first.logits, run(features, jax.random.key(0)).logits)
    for m in ("rgb", "audio", "text"):  # branches of one modality see no graph
        if f"branch/{m}" in still.aux:
            np.testing.assert_allclose(
                first.aux[f"branch/{m}"], still.aux[f"branch/{m}"], rtol=1e-6
            )
