"""ITAE and its flows against plain numpy in float64."""

import jax
import jax.numpy as jnp
import normal_units
import numpy as np
import pytest

from gfvad.tasks.novelty.comparators import flow, itae_nf


@pytest.fixture(autouse=True)
def _shallow(monkeypatch):
    """Three layers of a flow compile sooner than six."""
    monkeypatch.setattr(flow, "LAYERS", 3)


def flow_of(x, params):
    """(z, log |det|) of a flow, layer by layer in float64."""
    total = np.zeros(len(x))
    width = x.shape[1]
    for i in range(flow.LAYERS):
        layer = params[f"layer_{i}"]
        scale = np.asarray(layer["log_scale"], np.float64)
        x = x * np.exp(scale) + np.asarray(layer["shift"], np.float64)
        moved = np.arange(width) % 2 == i % 2
        h = np.where(moved, 0, x)
        for name in ("hidden_0", "hidden_1"):
            h = np.maximum(normal_units.dense(h, layer[name]), 0)
        s, t = np.split(normal_units.dense(h, layer["last"]), 2, -1)
        s, t = np.where(moved, 2 * np.tanh(s / 2), 0), np.where(moved, t, 0)
        x, total = x * np.exp(s) + t, total + s.sum(-1) + scale.sum()
    return x, total


def surprise_of(x, params):
    z, determinant = flow_of(x, params)
    return (0.5 * (z**2 + np.log(2 * np.pi)).sum(-1) - determinant) / x.shape[1]


def test_scores_and_losses_are_those_of_a_transcription():
    module, variables = normal_units.made("itae_nf")
    seen, params = normal_units.seen_of(3), variables["params"]
    found = normal_units.said(module, variables, seen)
    features = {n: np.asarray(x, np.float64) for n, x in seen.features.items()}
    # the window has 4 units, the unit itself is the third: of every fourth it alone
    slow = np.concatenate([features["aspect"], features["size"]], -1)[:, 2]
    fast = features["velocity"].reshape(len(slow), -1)
    codes = normal_units.network(slow, params["slow"]), normal_units.network(fast, params["fast"])
    back = normal_units.network(np.concatenate(codes, -1), params["decoder"])
    shape = (*seen.mask.shape, -1)
    x = normal_units.flat_of(seen).reshape(shape)
    error = normal_units.error_of(back.reshape(shape), x, seen.mask)
    expected = {
        "error": error,
        "slow": surprise_of(codes[0], params["slow_flow"]),
        "fast": surprise_of(codes[1], params["fast_flow"]),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found.scores[name], values, rtol=1e-4)
        np.testing.assert_allclose(found.losses[f"itae_{name}"], values, rtol=1e-4)


@pytest.fixture
def small():
    """(a flow of 5 numbers in float64, its variables away from their start, vectors)."""
    with jax.enable_x64(True):
        module, rng = flow.Flow(5), np.random.default_rng(0)
        x = jnp.asarray(rng.normal(size=(3, 5)))
        start = jax.jit(lambda: module.init(jax.random.key(0), x))()
        yield (
            module,
            jax.tree.map(lambda y: jnp.asarray(y + 0.2 * rng.normal(size=y.shape)), start),
            x,
        )


def test_the_determinant_is_that_of_the_jacobian(small):
    module, variables, x = small
    with jax.enable_x64(True):
        one = lambda v: module.apply(variables, v[None])[0][0]
        jacobian = jax.jit(jax.vmap(jax.jacfwd(one)))(x)
        _, expected = np.linalg.slogdet(np.asarray(jacobian))
        _, found = module.apply(variables, x)
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_inverse_gives_back_what_went_in(small):
    module, variables, x = small
    with jax.enable_x64(True):
        z, _ = module.apply(variables, x)
        back = module.apply(variables, z, method="inverse")
        np.testing.assert_allclose(back, x, rtol=1e-10)
        assert np.abs(z - x).max() > 0.1


def test_which_sets_are_motion_and_what_one_kind_alone_means():
    assert itae_nf.paths_of(("velocity", "aspect", "size")) == (("aspect", "size"), ("velocity",))
    assert itae_nf.paths_of(("speed",)) == (("speed",), ("speed",))
    assert itae_nf.paths_of(("grey", "texture")) == (("grey", "texture"), ("grey", "texture"))
    x = np.arange(8.0).reshape(1, 4, 2) ** 2
    steps = itae_nf.differences(x, np.array([[False, True, True, True]]))
    np.testing.assert_allclose(steps[0], [[0, 0], [0, 0], x[0, 2] - x[0, 1], x[0, 3] - x[0, 2]])


def test_no_gradient_of_a_flow_reaches_the_autoencoder():
    module, variables = normal_units.made("itae_nf")
    seen = normal_units.seen_of(1)
    surprise = lambda p: module.apply({"params": p}, seen, True).losses["itae_fast"].sum()
    gradients = jax.jit(jax.grad(surprise))(variables["params"])
    for name in ("slow", "fast", "decoder"):
        assert all(not np.any(x) for x in jax.tree.leaves(gradients[name]))
    assert any(np.any(x) for x in jax.tree.leaves(gradients["fast_flow"]))
