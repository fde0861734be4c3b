"""What holds for every comparator of normal units."""

import jax
import jax.numpy as jnp
import normal_units
import numpy as np
import pytest

from configs.novelty_variants import COMPARATORS
from gfvad.base.types import ConfigError
from gfvad.tasks.novelty import registry
from gfvad.tasks.novelty.comparators import flow
from gfvad.tasks.novelty.comparing import Compared

NAMES = sorted(COMPARATORS)


@pytest.fixture(autouse=True)
def _shallow(monkeypatch):
    """Two layers of a flow compile sooner than six."""
    monkeypatch.setattr(flow, "LAYERS", 2)


@pytest.mark.parametrize("name", NAMES)
def test_scores_and_gradients_are_finite_and_of_each_unit_alone(name):
    module, variables = normal_units.made(name)
    seen = normal_units.seen_of(1, 6)
    say = jax.jit(lambda v, s: module.apply(v, s, False))
    found, turned = (say(variables, s) for s in (seen, jax.tree.map(lambda x: x[::-1], seen)))
    for term, scores in found.scores.items():
        assert scores.shape == (6,) and np.isfinite(scores).all()
        np.testing.assert_allclose(turned.scores[term][::-1], scores, rtol=2e-4, atol=1e-5)

    def loss(params):
        drawn = normal_units.seen_of(1, 6, keys=True)
        judged = module.apply({**variables, "params": params}, drawn, True)
        return sum((x.sum() for x in judged.losses.values()), jnp.zeros(()))

    for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(variables["params"])):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_masked_changes_nothing(name):
    module, variables = normal_units.made(name)
    config = normal_units.config_of(name)
    terms = tuple((t,) for t in registry.term_names(module, normal_units.WIDTHS, 4))
    widths = tuple(normal_units.WIDTHS.items())
    whole = Compared(module, widths, 1, config.model.window, terms, (), 4)
    seen, rng = normal_units.seen_of(2), np.random.default_rng(0)
    other = {
        n: np.where(seen.mask[..., None], x, rng.normal(size=x.shape)).astype(np.float32)
        for n, x in seen.features.items()
    }
    state = jax.jit(lambda: whole.init(jax.random.key(0), *whole.example()))()
    state = jax.tree.map(np.array, state)
    for collection, values in variables.items():
        state.setdefault(collection, {})["inner"] = values
    judge = jax.jit(lambda features: whole.apply(state, features, seen.mask, seen.camera))
    for a, b in zip(*(jax.tree.leaves(judge(x)) for x in (seen.features, other)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_unknown_model_is_told_with_the_nearest_name():
    config = normal_units.config_of(NAMES[0])
    config.model.name = "menae"
    with pytest.raises(ConfigError, match="did you mean 'memae'"):
        registry.comparator_of(config)
