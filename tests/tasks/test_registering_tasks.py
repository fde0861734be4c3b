"""Losses and models from outside: what is registered is learnt by, and found by its name."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict

from gfvad.base.types import ClipBatch, ConfigError, Output
from gfvad.tasks.fusion import losses, registry
from gfvad.tasks.fusion.step import train_step
from gfvad.tasks.prediction import losses as clip_losses
from gfvad.tasks.prediction import model as clip_model
from gfvad.tasks.prediction import registry as clip_registry
from gfvad.train.optim import make_optimiser
from gfvad.train.state import init_state


class Comparator(nn.Module):
    """A whole other model: features and mask in, scores and a loss of its own out."""

    @nn.compact
    def __call__(self, features, mask, *, train):
        x = jnp.concatenate(list(features.values()), -1)
        logits = nn.Dense(1)(x)[:, 0]
        aux = {"loss/small": jnp.where(mask, jnp.square(logits), 0.0).sum()}
        return Output(logits, jnp.zeros((0, len(mask), len(mask))), aux)


def build(config, modalities):
    """What `config.model.name` names."""
    return Comparator()


@pytest.fixture
def leave_no_trace():
    registries = (losses.LOSSES, clip_losses.LOSSES, registry.MODELS, clip_registry.MODELS)
    before = [dict(names) for names in registries]
    yield
    for names, old in zip(registries, before):
        names.clear()
        names.update(old)


@pytest.mark.parametrize("name", ["mine", f"{__name__}:build"])
def test_a_comparator_trains(name, leave_no_trace):
    """By a registered name, or by where it lies; its own loss is logged and learnt by."""
    registry.register_model("mine", build)
    config = tiny.config(model__name=name)
    batch = tiny.batch()
    model = registry.build_model(config, {m: x.shape[-1] for m, x in batch.features.items()})
    optimiser = make_optimiser(config.optim, 5)
    state = init_state(model, optimiser.transform, {m: x[0] for m, x in batch.features.items()}, 0)
    step = jax.jit(
        lambda state, batch: train_step(
            state, batch, model=model, optimiser=optimiser, loss_cfg=config.loss, axis_name=None
        )
    )
    _, metrics = step(state, batch)
    assert {"loss/bce", "loss/small"} <= set(metrics) and metrics["loss/small"] > 0
    weights = {"bce": 1.0, "smoothness": 0.1, "sparsity": 0.1, "small": 1.0}
    total = sum(weight * metrics[f"loss/{term}"] for term, weight in weights.items())
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)


def test_a_loss_from_outside(leave_no_trace):
    """Its weight is `config.loss.NAME`; without that key it has the one it came with."""

    @losses.register_loss("level", default=0.25)
    def level(given):
        return jnp.where(given.mask, given.output.logits, 0.0).sum(), given.mask.sum()

    batch, config = tiny.batch(), tiny.config()
    logits = jnp.linspace(-1, 1, batch.mask.size).reshape(batch.mask.shape)
    output = Output(logits, jnp.zeros((len(logits), 0, 1, 1)), {})
    with_it, terms = losses.total_loss(output, batch, config.loss)
    del losses.LOSSES["level"]
    without, _ = losses.total_loss(output, batch, config.loss)
    np.testing.assert_allclose(with_it, without + 0.25 * terms["level"], rtol=1e-6)
    losses.register_loss("level")(level)
    config.loss.unlock()
    config.loss.level = 2.0
    np.testing.assert_allclose(
        losses.total_loss(output, batch, config.loss)[0], without + 2 * terms["level"], rtol=1e-6
    )


def test_names_that_are_taken_or_not_known(leave_no_trace):
    with pytest.raises(ConfigError, match="loss 'smoothness' is registered already"):
        losses.register_loss("smoothness")(lambda given: None)
    with pytest.raises(ConfigError, match="model.name: 'graph_fusion' is registered already"):
        registry.register_model("graph_fusion", build)
    for name, said in (
        ("graph_fusoin", "nearest.*graph_fusion|graph_fusion"),
        ("no_such_package:build", "No module named 'no_such_package'"),
        (f"{__name__}:nothing", "has no attribute 'nothing'"),
    ):
        with pytest.raises(ConfigError, match=said):
            registry.build_model(tiny.config(model__name=name), {"rgb": 3})
    with pytest.raises(ConfigError, match="config.model.name = 'predictiv'"):
        clip_registry.MODELS.find("predictiv")


def test_a_loss_of_the_predictive_model(leave_no_trace):
    """A value a clip, averaged over the clips that count."""

    @clip_losses.register_loss("late", default=2.0)
    def late(given):
        return jnp.arange(4.0)

    prediction = clip_model.Prediction(
        *[jnp.zeros((4, 2, 2, 1)), *[None] * 4], aux={"balance": jnp.zeros(4)}
    )
    valid = np.array([True, True, True, False])
    batch = ClipBatch({"frames": np.full((4, 3, 2, 2, 1), 127.5)}, valid, valid, valid, valid)
    cfg = ConfigDict({"frame": 1.0, "contrast": 1.0, "balance": 1.0})
    total, terms = clip_losses.total_loss(prediction, None, batch, cfg)
    np.testing.assert_allclose([terms["late"], total], [1.0, 2.0], atol=1e-6)
