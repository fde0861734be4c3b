"""Numbers of learnt values at the published sizes; nothing is made but shapes."""

import jax
import jax.numpy as jnp
import pytest

from configs import xd
from gfvad.tasks.fusion import foils, registry

PUBLISHED = [
    ("ur_dmu", {"rgb": 1024}, 6.5e6, 6_492_929),
    ("macil_sd", {"rgb": 1024, "audio": 128}, 0.35e6, 347_009),
    ("rtfm", {"rgb": 2048}, 24.7e6, 24_718_849),
]


def count(module, *inputs, **given):
    start = lambda key: module.init(key, *inputs, **given)
    shapes = jax.eval_shape(start, jax.random.key(0))["params"]
    return sum(x.size for x in jax.tree.leaves(shapes))


@pytest.mark.parametrize("name, dims, published, exact", PUBLISHED)
def test_a_comparator_is_as_large_as_published(name, dims, published, exact):
    model = registry.build_model(xd.get_config(name), dims)
    features = {m: jnp.zeros((8, d)) for m, d in dims.items()}
    found = count(model, features, jnp.ones(8, bool), train=False)
    assert found == exact and found == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize("width, published", [(2048, 23.6e6), (1024, 5.9e6), (768, 3.3e6)])
def test_the_temporal_network_is_as_large_as_published(width, published):
    inputs = jnp.zeros((8, width)), jnp.ones(8), jnp.ones(8, bool)
    assert count(foils.TemporalNetwork(), *inputs) == pytest.approx(published, rel=0.02)
