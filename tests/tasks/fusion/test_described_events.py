"""Events in words against numpy in float64: what they say, that the sentences are those of the run,
and that a unit nobody described is left alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from gfvad.base.types import ConfigError
from gfvad.encoders.registry import open_sentences
from gfvad.tasks.fusion import described_events, registry

E, D, N = 5, 4, 6
KIND = np.array([1.0, 1, 0, 0, 0])


def unit(rng, *shape):
    x = rng.normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("sharpness", [0.0, 10.0, 400.0])
def test_evidence_is_the_difference_of_kinds(sharpness):
    """0: nothing is told apart; a sharp one is the sign of the nearest sentence's kind (limit
    cases)."""
    rng = np.random.default_rng(0)
    keys, events = unit(rng, N, D), unit(rng, E, D)
    with jax.enable_x64(True):
        k, e, kind = map(jnp.asarray, (keys, events, KIND))
        found = described_events.said_by_events(k, e, kind, sharpness)
    for i in range(N):
        weight = np.exp(sharpness * (events @ keys[i] - 1))
        a, o = weight[:2].mean(), weight[2:].mean()
        np.testing.assert_allclose(found[i], (a - o) / (a + o), rtol=1e-9, atol=1e-12)
    if sharpness == 0:
        np.testing.assert_allclose(found, 0.0, atol=1e-12)
    if sharpness == 400:
        nearest = KIND[np.argmax(keys @ events.T, 1)]
        np.testing.assert_allclose(found, np.where(nearest, 1.0, -1.0), atol=1e-3)


def test_order_of_sentences_changes_nothing_and_gradients_are_finite():
    rng = np.random.default_rng(1)
    keys, events = unit(rng, N, D).astype(np.float32), unit(rng, E, D).astype(np.float32)
    order = rng.permutation(E)
    said = lambda k, e, kind: described_events.said_by_events(k, e, kind, 10.0)
    kind = KIND.astype(np.float32)
    np.testing.assert_allclose(
        said(keys, events, kind), said(keys, events[order], kind[order]), atol=1e-6
    )
    swapped = said(keys, events, 1 - kind)  # the kinds the other way round: the other sign
    np.testing.assert_allclose(swapped, -said(keys, events, kind), atol=1e-6)
    slope = jax.grad(lambda k: said(k, events, kind).sum())(jnp.zeros((N, D)))
    assert np.isfinite(slope).all()


def a_config():
    config = tiny.config()
    config.model.head.update({"kind": "branches", "layers": 0, "relations": False, "mix": 0.0})
    config.model.events.update({"modality": "rgb", "abnormal": ("a fight",), "share": 2.0})
    config.model.events.ordinary = ("a walk", "a talk")
    return config


def test_scores_move_by_what_is_said_of_described_units():
    config, rng = a_config(), np.random.default_rng(2)
    width = tiny.DIMS["rgb"]
    events = unit(rng, 3, width).astype(np.float32)
    stats = {m: {"mean": np.ones(d), "std": np.full(d, 2.0)} for m, d in tiny.DIMS.items()}
    stats["rgb"]["events"] = events
    config.data.standardize = "standardize"
    features = {m: rng.normal(size=(N, d)).astype(np.float32) for m, d in tiny.DIMS.items()}
    features["rgb"][2] = 0  # nobody described it
    mask = np.ones(N, bool)
    logits = []
    for share in (2.0, 0.0):
        config.model.events.share = share
        model = registry.build_model(config, tiny.DIMS, stats)
        state = model.init(jax.random.key(0), features, mask, train=False)
        output: Any = model.apply(state, features, mask, train=False)
        logits.append(output.logits)
    keys = features["rgb"] / np.maximum(np.linalg.norm(features["rgb"], axis=1)[:, None], 1e-9)
    weight = np.exp(10 * (keys.astype(np.float64) @ events.T - 1))
    a, o = weight[:, 0], weight[:, 1:].mean(1)
    expected = np.where(np.arange(N) == 2, 0.0, 2 * (a - o) / (a + o))
    np.testing.assert_allclose(logits[0] - logits[1], expected, atol=2e-5)


def test_sentences_are_embedded_as_descriptions_are():
    config = a_config()
    config.data.text_encoder = "hash"
    found = described_events.embedded(config, 384)
    texts = ("a fight", "a walk", "a talk")
    np.testing.assert_allclose(found, open_sentences("hash").encode(texts), atol=1e-6)
    np.testing.assert_array_equal(described_events.kinds(config.model.events), [1, 0, 0])
    with pytest.raises(ConfigError, match="'rgb' has 7 numbers a unit, data.text_encoder 'hash'"):
        described_events.embedded(config, 7)


def test_our_sentences_are_told_apart():
    """None stands in both lists, none twice."""
    both = described_events.ABNORMAL + described_events.ORDINARY
    assert len(set(both)) == len(both)


def test_events_without_a_sum_of_evidence_are_refused():
    config = a_config()
    config.model.head.kind = "gnn"
    with pytest.raises(ConfigError, match="events.modality = 'rgb' needs config.model.head.kind"):
        registry.check_model(config, tuple(tiny.DIMS))
