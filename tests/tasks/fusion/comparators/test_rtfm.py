"""RTFM against a plain numpy transcription in float64: forward, each loss, padding, size."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from configs import ucf
from gfvad.base.types import Batch
from gfvad.tasks.fusion import losses, registry
from gfvad.tasks.fusion.comparators import rtfm
from gfvad.tasks.fusion.step import forward
from gfvad.train.state import TrainState

DIMS, UNITS = {"i3d_logits": 40, "text": 24}, 18


@pytest.fixture(scope="module")
def config():
    return ucf.get_config("rtfm")


@pytest.fixture(scope="module")
def made(config):
    """(model, variables with small weights away from their starts)."""
    stats = {m: {"mean": np.full(d, 0.1), "std": np.ones(d)} for m, d in DIMS.items()}
    config.model.confidence = ()
    model = registry.build_model(config, DIMS, stats)
    start = jax.jit(partial(model.init, train=False))
    features = {m: jnp.ones((UNITS, d)) for m, d in DIMS.items()}
    variables = start({"params": jax.random.key(0)}, features, jnp.ones(UNITS, bool))
    rng = np.random.default_rng(1)
    moved = lambda x: np.asarray(x + 0.05 * rng.normal(size=x.shape), np.float32)
    return model, {**variables, "params": jax.tree.map(moved, variables["params"])}


def features_of(seed, units=UNITS):
    rng = np.random.default_rng(seed)
    return {m: rng.normal(size=(units, d)).astype(np.float32) for m, d in DIMS.items()}


def transcription(params, features, mode):
    """(logits [N], features of the temporal network [N, D]) of a video without padding."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    dense = lambda x, w: x @ w["kernel"] + w.get("bias", 0.0)
    shift = 0.0 if mode == "none" else np.float32(0.1)
    x = np.concatenate([features[m].astype(np.float64) - shift for m in DIMS], 1)
    n, net = len(x), p["mtn"]

    def conv(x, w, dilation):
        padded = np.pad(x, ((dilation, dilation), (0, 0)))
        taps = [padded[i * dilation : i * dilation + n] @ w["kernel"][i] for i in range(3)]
        return sum(taps) + w.get("bias", 0.0)

    def norm(x, w):
        centred = x - x.mean(1, keepdims=True)
        return (
            centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-6) * w["scale"] + w["bias"]
        )

    scales = [
        norm(np.maximum(conv(x, net[f"dilated_{d}"], d), 0), net[f"norm_{d}"]) for d in (1, 2, 4)
    ]
    whole = np.maximum(dense(x, net["reduce"]), 0)
    affinity = dense(whole, net["theta"]) @ dense(whole, net["phi"]).T / n
    whole = whole + norm(dense(affinity @ dense(whole, net["g"]), net["w"]), net["norm_w"])
    joined = np.maximum(conv(np.concatenate([*scales, whole], 1), net["join"], 1), 0)
    x = x + norm(joined, net["norm"])
    y = np.maximum(dense(x, p["hidden_0"]), 0)
    y = np.maximum(dense(y, p["hidden_1"]), 0)
    return dense(y, p["logit"])[:, 0], x


def test_forward_and_padding(made, config):
    model, variables = made
    apply = jax.jit(partial(model.apply, train=False))
    mode = config.data.standardize
    for units in (UNITS, 11):
        features = features_of(units, units)
        logits, _ = transcription(variables["params"], features, mode)
        rng = np.random.default_rng(3)
        beside = lambda x, n=units: np.r_[x, 9 * rng.normal(size=(UNITS - n, x.shape[1]))]
        more = {m: np.float32(beside(x)) for m, x in features.items()}
        given = apply(variables, more, jnp.arange(UNITS) < units)
        assert np.allclose(given.logits[:units], logits, rtol=1e-4, atol=1e-4)
        assert (given.logits[units:] == 0).all() and given.aux == {}


def test_losses(made, config):
    """2 normal, 3 abnormal videos and one that counts nowhere, without dropout."""
    model, variables = made
    lengths, label = [18, 9, 18, 17, 2, 12], [0, 1, 1, 0, 1, -1]
    features = [features_of(10 + i) for i in range(6)]
    stacked = {m: np.stack([f[m] for f in features]) for m in DIMS}
    mask = np.arange(UNITS) < np.array(lengths)[:, None]
    none = np.zeros(6, np.int32)
    batch = Batch(stacked, mask, np.float32(label), np.ones(6, bool), none, none, np.arange(6))
    batch = jax.tree.map(jnp.asarray, batch)
    key = jax.random.key_data(jax.random.key(5))
    state = TrainState(0, variables["params"], {"constants": variables["constants"]}, (), key)
    patch = pytest.MonkeyPatch()
    patch.setattr(rtfm, "DROPOUT", 0.0)
    output = jax.jit(partial(forward, model))(state, batch)
    patch.undo()
    shares, sizes, scores = [], [], []
    for f, n in zip(features, lengths):
        logits, x = transcription(
            variables["params"], {m: v[:n] for m, v in f.items()}, config.data.standardize
        )
        best = np.argsort(-np.linalg.norm(x, axis=1))[:3]
        scores.append(expit(logits))
        shares.append(scores[-1][best].mean())
        sizes.append(np.linalg.norm(x[best].mean(0)))
    total, terms = losses.total_loss(output, batch, config.loss)
    entropy = lambda s, y: -(y * np.log(s) + (1 - y) * np.log(1 - s))
    abnormal = (1, 2, 4)
    expected = {
        "rtfm_score": np.mean([entropy(shares[i], label[i]) for i in range(5)]),
        "rtfm_magnitude": np.mean(
            [(abs(100 - sizes[j]) + sizes[i]) ** 2 for i, j in zip((0, 3), (1, 2))]
        ),
        "smoothness": np.mean([(np.diff(scores[i]) ** 2).sum() for i in abnormal]),
        "sparsity": np.mean([scores[i].sum() for i in abnormal]),
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name] == pytest.approx(value, rel=1e-3), name
    weights = {"rtfm_score": 1, "rtfm_magnitude": 1e-4, "smoothness": 8e-4, "sparsity": 8e-3}
    assert total == pytest.approx(sum(weights[n] * v for n, v in expected.items()), rel=1e-3)
    parts = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), (output, batch))
    of = lambda output, batch: losses.total_loss(output, batch, config.loss, "device")[0]
    assert np.allclose(jax.vmap(of, axis_name="device")(*parts), total, rtol=1e-6)
