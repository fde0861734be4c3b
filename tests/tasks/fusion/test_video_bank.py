"""The bank of training units against numpy in float64: what it says, how it is written on any
number of devices, and that it is harmless while it is empty."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from gfvad.base.types import ConfigError
from gfvad.tasks.fusion import registry, video_bank
from gfvad.tasks.fusion.step import eval_step, train_step
from gfvad.train.optim import make_optimiser
from gfvad.train.state import init_state

K, D, N, B = 12, 4, 6, 8


def a_bank(rng, known=9):
    keys = rng.normal(size=(K, D))
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    counted = np.zeros(K)
    counted[rng.permutation(K)[:known]] = 1
    return video_bank.Bank(keys, rng.normal(size=K), counted)


@pytest.mark.parametrize("sharpness", [0.0, 3.0, 500.0])
def test_evidence_is_the_mean_of_like_units(sharpness):
    """0 is the plain mean; a sharp one is that of the nearest unit (limit cases)."""
    rng = np.random.default_rng(0)
    bank, keys = a_bank(rng), rng.normal(size=(N, D))
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    with jax.enable_x64(True):
        found, there = video_bank.said_of_like(bank, jnp.asarray(keys), sharpness)
    assert bool(there)
    for i in range(N):
        weight = [bank.known[k] * np.exp(sharpness * (keys[i] @ bank.keys[k])) for k in range(K)]
        expected = np.dot(weight, bank.values) / np.sum(weight)
        np.testing.assert_allclose(found[i], expected, rtol=1e-9)
    if sharpness == 500:
        kept = bank.known > 0
        nearest = np.argmax(np.where(kept, keys @ bank.keys.T, -2), 1)
        np.testing.assert_allclose(found, bank.values[nearest], atol=1e-3)


def test_an_empty_bank_says_nothing():
    said, there = video_bank.said_of_like(video_bank.empty(K, D), jnp.ones((N, D)) / 2, 30.0)
    assert not there and np.isfinite(said).all() and (np.asarray(said) == 0).all()


def test_what_is_written_is_a_unit_of_each_example():
    rng = np.random.default_rng(1)
    keys, logits = rng.normal(size=(B, N, D)), rng.normal(size=(B, N))
    keys[2] = 0  # nothing described
    mask, valid = np.ones((B, N), bool), np.ones(B, bool)
    mask[3], valid[4] = False, False
    batch = SimpleNamespace(position=np.arange(20, 20 + B), mask=mask, valid=valid)
    batch = jax.tree.map(jnp.asarray, vars(batch))
    bank = a_bank(rng)
    with jax.enable_x64(True):
        given = video_bank.Bank(*map(jnp.asarray, bank))
        new = video_bank.written(given, keys, logits, SimpleNamespace(**batch), None)
    expected = video_bank.Bank(*(x.copy() for x in bank))
    for row, position in enumerate(range(20, 20 + B)):
        unit, place = (7 * position) % N, position % K
        expected.keys[place], expected.values[place] = keys[row, unit], logits[row, unit]
        expected.known[place] = row not in (2, 3, 4)
    for name, x, y in zip(bank._fields, new, expected):
        np.testing.assert_allclose(x, y, rtol=1e-12, err_msg=name)


def test_devices_write_one_bank():
    """Parts of a batch on two devices give what the whole gives."""
    rng = np.random.default_rng(2)
    keys, logits = (rng.normal(size=(B, N, *s)).astype(np.float32) for s in ((D,), ()))
    batch = {"position": np.arange(B), "mask": np.ones((B, N), bool), "valid": np.ones(B, bool)}
    whole = video_bank.written(
        video_bank.empty(K, D),
        keys,
        logits,
        SimpleNamespace(**jax.tree.map(jnp.asarray, batch)),
        None,
    )
    halves = jax.tree.map(lambda x: x.reshape(2, B // 2, *x.shape[1:]), (keys, logits, batch))
    part = lambda k, z, b: video_bank.written(
        video_bank.empty(K, D), k, z, SimpleNamespace(**b), "devices"
    )
    both = jax.vmap(part, axis_name="devices")(*halves)
    for x, y in zip(whole, both):
        np.testing.assert_array_equal(y[0], x)
        np.testing.assert_array_equal(y[1], x)


def test_a_step_writes_and_scores_read():
    """Scores move by the bank, and only once it is written."""
    config = tiny.config()
    config.model.head.update({"kind": "branches", "layers": 0, "relations": False})
    config.model.bank.update({"modality": "rgb", "units": 32})
    batch, model = tiny.batch(), registry.build_model(config, tiny.DIMS)
    optimiser = make_optimiser(config.optim, 2)
    given = {"model": model, "optimiser": optimiser, "loss_cfg": config.loss, "axis_name": None}
    example = {m: x[0] for m, x in batch.features.items()}
    state = init_state(model, optimiser.transform, example, 0)
    new, _ = jax.jit(lambda s: train_step(s, batch, **given))(state)
    kept = new.constants["bank"]
    assert 0 < int(kept["known"].sum()) <= len(batch.label)
    shown = batch._replace(features={m: x[:, None] for m, x in batch.features.items()})
    score = jax.jit(lambda s: eval_step(s, shown, model=model))
    emptied = {**kept, "known": jnp.zeros_like(kept["known"])}
    without = new._replace(constants={**new.constants, "bank": emptied})
    assert np.abs(score(new) - score(without)).max() > 1e-4


def test_a_bank_without_a_sum_of_evidence_is_refused():
    config = tiny.config()
    config.model.bank.modality = "rgb"
    with pytest.raises(ConfigError, match="bank.modality = 'rgb' needs config.model.head.kind"):
        registry.check_model(config, tuple(tiny.DIMS))
    config.model.head.kind = "branches"
    config.model.bank.modality = "rbg"
    with pytest.raises(ConfigError, match=r"bank.modality = 'rbg'; did you mean 'rgb'"):
        registry.check_model(config, tuple(tiny.DIMS))
