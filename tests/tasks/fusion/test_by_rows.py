"""Graphs made by rows: logits and gradients are those of whole graphs; what needs whole ones is
refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_detector import DIMS, MASK, N, settings, statistics, video

from gfvad.base.types import ConfigError
from gfvad.tasks.fusion import registry

BRANCHES = {
    "model.head.kind": "branches",
    "model.head.layers": 0,
    "model.head.mix": 0.0,
    "model.relation.threshold": 0.1,
    "model.fusion.channels": 2,
    "model.relation.temporal_tau": 3.0,
}
DEGREE = {
    "model.head.kind": "degree",
    "model.relation.similarity": "rbf",
    "model.relation.sigma": -1.0,
    "model.fusion.form": "full",
    "model.relation.projection": 3,
}
CASES = {"branches": BRANCHES, "degree": DEGREE}


def model_of(rows, **overrides):
    config = settings(**overrides, **{"model.relation.rows": rows})
    return registry.build_model(config, DIMS, statistics())


def values(model, variables):
    """(logits, gradients to parameters and features) of one video."""

    def loss(params, features):
        given = {**variables, "params": params}
        logits = model.apply(given, features, jnp.asarray(MASK), train=False).logits
        return jnp.sin(logits).sum(), logits

    gradients, logits = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(variables["params"], video())
    return logits, gradients


@pytest.mark.parametrize("name", sorted(CASES))
def test_rows_are_the_whole_graph(name):
    whole = model_of(0, **CASES[name])
    shapes = jax.eval_shape(lambda: whole.init(jax.random.key(0), video(), MASK, train=False))
    draw = np.random.default_rng(1).normal
    random = lambda a: 0.5 * draw(size=a.shape).astype(np.float32)
    known = statistics().items()
    constants = {f"{key}_{m}": x for m, values in known for key, x in values.items()}
    variables = {"params": jax.tree.map(random, shapes["params"]), "constants": constants}
    expected = values(whole, variables)
    # the last of the blocks is not full
    found = values(model_of(4, **CASES[name]), variables)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-5), found, expected)
    assert np.abs(expected[0][:7]).min() > 0


def test_as_many_rows_as_units_are_the_whole_graph():
    model = model_of(N, **BRANCHES)
    output = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), video(), MASK, train=False)
    )[0]
    assert output.graph.shape == (2, N, N)


@pytest.mark.parametrize(
    "change, key",
    [
        ({"model.head.kind": "gnn"}, "head.kind"),
        ({"model.head.mix": 0.5}, "head.mix"),
        ({"model.head.layers": 1}, "head.layers"),
        ({"model.edge_dropout": 0.1}, "edge_dropout"),
        ({"loss.variance": 1.0}, "loss.variance"),
        ({"model.relation.knn": 3}, "relation.knn"),
        ({"model.relation.similarity": "rbf"}, "relation.sigma"),
        ({"model.expansion.kind": "walk"}, "expansion.kind"),
        ({"model.expansion.zeroth": "identity"}, "expansion.zeroth"),
    ],
)
def test_what_needs_whole_graphs_is_refused(change, key):
    with pytest.raises(ConfigError, match=key):
        model = model_of(4, **{**BRANCHES, **change})
        jax.eval_shape(lambda: model.init(jax.random.key(0), video(), MASK, train=False))
