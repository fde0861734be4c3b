"""What holds of every comparator: padding and videos that count nowhere change nothing, gradients
are finite whatever is missing, and devices share one batch."""

from functools import cache, partial

import comparing
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.export import export, symbolic_shape

from configs import ucf, xd
from configs.variants import COMPARATORS
from gfvad.base.types import ConfigError
from gfvad.tasks.fusion import losses, registry
from gfvad.tasks.fusion.comparators import de_net, ur_dmu
from gfvad.tasks.fusion.step import forward

DIMS = {"rgb": 12, "audio": 6}
NAMES = sorted(COMPARATORS)
STAGES = {"macil_sd": (0, 1), "mist": (0, 1)}  # of 2 steps, where they differ


@cache
def problem(name):
    """(variables, gradient of the loss in training, without dropout)."""
    config = xd.get_config(name)
    model, variables = comparing.model_of(config, DIMS, moved=0.02)

    def loss(params, batch):
        output = forward(model, comparing.state_of({**variables, "params": params}), batch)
        of = partial(losses.total_loss, output, batch, config.loss, None)
        return sum(of(step, 2)[0] for step in STAGES.get(name, (0,)))

    return variables, jax.jit(jax.value_and_grad(loss))


@pytest.fixture(autouse=True)
def small_and_without_dropout(monkeypatch):
    monkeypatch.setattr(ur_dmu, "LAYERS", 1)
    monkeypatch.setattr(de_net, "KERNELS", (1, 3))
    monkeypatch.setattr("flax.linen.Dropout.__call__", lambda self, x, *_, **__: x)
    # a normal readout of UR-DMU is its mean
    monkeypatch.setattr(jax.random, "normal", lambda key, shape, dtype=float: jnp.zeros(shape))


def gradient(name, batch):
    variables, of = problem(name)
    return of(variables["params"], batch)


def same(one, two, tolerance=2e-4):
    (first, gradient), (second, other) = one, two
    np.testing.assert_allclose(first, second, rtol=1e-5)
    size = np.sqrt(sum(np.square(x).sum() for x in jax.tree.leaves(gradient)))
    for x, y in zip(jax.tree.leaves(gradient), jax.tree.leaves(other)):
        np.testing.assert_allclose(x, y, atol=tolerance * size)
    assert size > 0


@pytest.mark.parametrize("name", NAMES)
def test_padding_and_unknown_videos_change_nothing(name):
    batch, _ = comparing.batch_of(DIMS)
    hidden = batch.mask & (batch.label >= 0)[:, None]
    other = {m: jnp.where(hidden[..., None], x, 5 - 3 * x) for m, x in batch.features.items()}
    same(gradient(name, batch), gradient(name, batch._replace(features=other)))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_whatever_is_missing(name):
    batch, _ = comparing.batch_of(DIMS)
    silent = {m: jnp.zeros_like(x) for m, x in batch.features.items()}
    cases = {
        "silent": batch._replace(features=silent),
        "without units": batch._replace(mask=jnp.zeros_like(batch.mask)),
        "normal": batch._replace(label=jnp.zeros_like(batch.label)),
        "abnormal": batch._replace(label=jnp.ones_like(batch.label)),
        "nothing": batch._replace(valid=jnp.zeros_like(batch.valid)),
    }
    for case, given in cases.items():
        loss, found = gradient(name, given)
        finite = [np.isfinite(x).all() for x in jax.tree.leaves(found)]
        assert np.isfinite(loss) and all(finite), case
    assert loss == 0 and all((np.asarray(x) == 0).all() for x in jax.tree.leaves(found))


@pytest.mark.parametrize("name", NAMES)
def test_devices_share_one_batch(name):
    """The mean of the gradients of two devices, each with half of the videos, is that of all."""
    config, (variables, _) = xd.get_config(name), problem(name)
    model, _ = comparing.model_of(config, DIMS)
    batch, _ = comparing.batch_of(DIMS)
    halves = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), batch)

    def of_device(params, batch):
        output = forward(model, comparing.state_of({**variables, "params": params}), batch)
        of = partial(losses.total_loss, output, batch, config.loss, "device")
        return sum(of(step, 2)[0] for step in STAGES.get(name, (0,)))

    def both(params, batch):
        loss, found = jax.value_and_grad(of_device)(params, batch)
        return loss, jax.lax.pmean(found, "device")

    mapped = jax.jit(jax.vmap(both, in_axes=(None, 0), axis_name="device"))
    loss, found = jax.tree.map(lambda x: x[0], mapped(variables["params"], halves))
    same(gradient(name, batch), (loss, found))


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_exported_for_any_number_of_units(name):
    model, variables = comparing.model_of(xd.get_config(name), DIMS)
    b, n = symbolic_shape("b, n")
    shape = lambda *axes, kind=jnp.float32: jax.ShapeDtypeStruct((b, n, *axes), kind)
    of = lambda features, mask: model.apply(variables, features, mask, train=False).logits
    program = export(jax.jit(jax.vmap(of)))
    (found,) = program({m: shape(d) for m, d in DIMS.items()}, shape(kind=jnp.bool_)).out_avals
    assert str(found.shape) == "(b, n)"


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_work_is_refused(name):
    c = ucf.get_config(name)
    c.loss.bce = 1.0
    with pytest.raises(ConfigError, match="config.loss.bce = 1.0"):
        registry.check_model(c, c.data.modalities)
    c.loss.bce, c.model.filter.modalities = 0.0, tuple(c.data.modalities)[:1]
    with pytest.raises(ConfigError, match="has no filter"):
        registry.check_model(c, c.data.modalities)
