"""Evidence that spreads within a video: which modalities have graphs, and that branches may
learn without it."""

import jax
import numpy as np
import pytest
from test_detector import DIMS, MASK, N, settings, video

from gfvad.base.types import ConfigError
from gfvad.tasks.fusion import registry
from gfvad.tasks.fusion.heads import ROW_EPSILON, BranchHead
from gfvad.tasks.fusion.subsets import keep

TEMPORAL = {"model.relation.temporal_tau": 2.0}


def graph_of(config, features):
    model = registry.build_model(config, DIMS)
    keys = dict(zip(("params", "dropout"), jax.random.split(jax.random.key(0), 2)))
    run = jax.jit(lambda x: model.init_with_output(keys, x, MASK, train=False)[0].graph)
    return np.asarray(run(features))


def test_only_the_modalities_named_have_graphs():
    """The fused graph does not move with the features of the others; () is every one."""
    first, *others = DIMS
    chosen = settings(**TEMPORAL, **{"model.relation.modalities": (first,)})
    assert registry.graph_names(chosen.model, tuple(DIMS)) == [first, "temporal"]
    every = settings(**TEMPORAL)
    assert registry.graph_names(every.model, tuple(DIMS)) == [*DIMS, "temporal"]
    base, moved = video(), video()
    for name in others:
        moved[name] = video(1)[name]
    np.testing.assert_array_equal(graph_of(chosen, base), graph_of(chosen, moved))
    assert np.abs(graph_of(every, base) - graph_of(every, moved)).max() > 1e-3


def test_time_alone_is_the_temporal_graph():
    """The limit case: no feature moves it."""
    config = settings(**TEMPORAL, **{"model.relation.modalities": ("none",)})
    assert registry.graph_names(config.model, tuple(DIMS)) == ["temporal"]
    np.testing.assert_array_equal(graph_of(config, video()), graph_of(config, video(1)))
    assert keep(config, (0,))["data.modalities"] == (next(iter(DIMS)),)
    assert "model.relation.modalities" not in keep(config, (0,))


def test_an_unknown_one_and_no_graph_at_all_are_refused():
    wrong = settings(**{"model.relation.modalities": ("rbg",)})
    with pytest.raises(ConfigError, match=r"relation.modalities = 'rbg'; did you mean 'rgb'"):
        registry.check_model(wrong, tuple(DIMS))
    none = settings(**{"model.relation.modalities": ("none",)})
    with pytest.raises(ConfigError, match="there is no graph to fuse"):
        registry.check_model(none, tuple(DIMS))


@pytest.mark.parametrize("spread_trained", [False, True])
def test_evidence_spreads_where_it_is_scored(spread_trained):
    """Against numpy in float64: (1 - mix) z + mix W z with z partly the mean of the video; in
    training the plain sum where asked for."""
    rng, mix, whole = np.random.default_rng(0), 0.8, 0.3
    graphs, z = rng.uniform(size=(2, N, N)), rng.normal(size=(2, N))
    own = {"mix": mix, "whole": whole, "spread_trained": spread_trained}
    head = BranchHead(layers=0, relations=False, gates=(0.5, 1.0), **own)
    branches = {"a": z[0], "b": z[1]}
    with jax.enable_x64(True):
        variables = {"params": {"bias": np.float64(0.25)}}
        run = lambda train: head.apply(variables, graphs, branches, MASK, None, train=train)[0]
        scored, trained = np.asarray(run(False)), np.asarray(run(True))
    plain = 0.5 * z[0] * MASK + z[1] * MASK + 0.25
    mixed = (1 - whole) * plain + whole * plain[MASK].mean()
    strength = graphs * MASK[:, None] * MASK
    weights = (strength / (strength.sum(-1, keepdims=True) + ROW_EPSILON)).mean(0)
    spread = weights @ (mixed * MASK) + (1 - weights.sum(-1)) * mixed
    expected = np.where(MASK, (1 - mix) * mixed + mix * spread, 0)
    np.testing.assert_allclose(scored, expected, rtol=1e-12, atol=1e-12)
    wanted = expected if spread_trained else np.where(MASK, plain, 0)
    np.testing.assert_allclose(trained, wanted, rtol=1e-12, atol=1e-12)
