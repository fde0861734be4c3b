"""HL-Net against a plain numpy transcription in float64: forward, each loss, padding."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, softmax

from configs import xd
from gfvad.base.types import Batch
from gfvad.tasks.fusion import losses, registry
from gfvad.tasks.fusion.comparators import hl_net
from gfvad.tasks.fusion.step import forward
from gfvad.train.state import TrainState

DIMS, UNITS = {"rgb": 12, "audio": 6}, 18
LENGTHS, LABEL = [18, 9, 18, 17, 1, 12], [0, 1, 1, 0, 1, -1]


@pytest.fixture(scope="module")
def config():
    return xd.get_config("hl_net")


@pytest.fixture(scope="module")
def made(config):
    """(model, variables with small weights away from their starts)."""
    stats = {m: {"mean": np.full(d, 0.1), "std": np.ones(d)} for m, d in DIMS.items()}
    model = registry.build_model(config, DIMS, stats)
    start = jax.jit(partial(model.init, train=False))
    features = {m: jnp.ones((UNITS, d)) for m, d in DIMS.items()}
    variables = start({"params": jax.random.key(0)}, features, jnp.ones(UNITS, bool))
    rng = np.random.default_rng(1)
    moved = lambda x: np.asarray(x + 0.05 * rng.normal(size=x.shape), np.float32)
    return model, {**variables, "params": jax.tree.map(moved, variables["params"])}


def features_of(seed, units=UNITS):
    """Some units are much alike, so that the similarity graph holds edges."""
    rng = np.random.default_rng(seed)
    base = {m: rng.normal(size=(3, d)) for m, d in DIMS.items()}
    which = rng.integers(0, 3, units)
    return {
        m: np.float32(b[which] + 0.3 * rng.normal(size=(units, b.shape[1])))
        for m, b in base.items()
    }


def transcription(params, features):
    """(logits [N], online logits [N]) of a video without padding."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    dense = lambda x, w: x @ w["kernel"] + w.get("bias", 0.0)
    relu = lambda x: np.maximum(x, 0)
    seen = np.concatenate([features[m].astype(np.float64) for m in DIMS], 1)
    n = len(seen)
    x = relu(dense(seen - np.float32(0.1), p["embed_512"]))
    x = relu(dense(x, p["embed_128"]))
    past = np.pad(relu(dense(x, p["approximator"])), ((4, 0), (0, 0)))
    online = sum(past[i : i + n] @ p["online"]["kernel"][i] for i in range(5))[:, 0]
    online = online + p["online"]["bias"][0]
    unit = seen / np.linalg.norm(seen, axis=1, keepdims=True)
    cosine, score = unit @ unit.T, expit(online)
    close = 1 - np.abs(score[:, None] - score)
    graphs = {
        "similarity": softmax(np.where(cosine > 0.7, cosine, 0), axis=1),
        "distance": np.exp(-np.abs(np.arange(n)[:, None] - np.arange(n)) / np.e),
        "score": softmax(expit((close - 0.5) / 0.1), axis=1),
    }
    assert n == 1 or 0 < (cosine > 0.7).mean() < 1
    found = []
    for name, graph in graphs.items():
        w, padded = p[f"{name}_0"], np.pad(x, ((2, 2), (0, 0)))
        residual = sum(padded[i : i + n] @ w["residual"]["kernel"][i] for i in range(5))
        y = relu(graph @ dense(x, w["weight"]) + residual + w["residual"]["bias"])
        found.append(relu(graph @ dense(y, p[f"{name}_1"]["weight"]) + y))
    return dense(np.concatenate(found, 1), p["logit"])[:, 0], online


def test_forward_and_padding(made):
    model, variables = made
    apply = jax.jit(partial(model.apply, train=False))
    for units in (UNITS, 11):
        features = features_of(units, units)
        logits, online = transcription(variables["params"], features)
        rng = np.random.default_rng(3)
        beside = lambda x, n=units: np.r_[x, 9 * rng.normal(size=(UNITS - n, x.shape[1]))]
        more = {m: np.float32(beside(x)) for m, x in features.items()}
        given = apply(variables, more, jnp.arange(UNITS) < units)
        assert np.allclose(given.logits[:units], logits, rtol=1e-4, atol=1e-5)
        assert np.allclose(given.aux["hl_net/online"][:units], online, rtol=1e-4, atol=1e-5)
        assert (given.logits[units:] == 0).all() and np.std(logits) > 1e-3


def test_the_approximator_sees_no_future(made):
    model, variables = made
    apply = jax.jit(partial(model.apply, train=False))
    features, mask = features_of(0), jnp.ones(UNITS, bool)
    later = {m: np.r_[x[:10], -x[10:]] for m, x in features.items()}
    one, two = (apply(variables, f, mask).aux["hl_net/online"] for f in (features, later))
    assert np.allclose(one[:10], two[:10], atol=1e-6) and not np.allclose(one[10:], two[10:])


def test_losses(made, config):
    """2 normal, 3 abnormal videos and one that counts nowhere, without dropout."""
    model, variables = made
    features = [features_of(10 + i) for i in range(6)]
    stacked = {m: np.stack([f[m] for f in features]) for m in DIMS}
    mask, none = np.arange(UNITS) < np.array(LENGTHS)[:, None], np.zeros(6, np.int32)
    batch = Batch(stacked, mask, np.float32(LABEL), np.ones(6, bool), none, none, np.arange(6))
    batch = jax.tree.map(jnp.asarray, batch)
    key = jax.random.key_data(jax.random.key(5))
    state = TrainState(0, variables["params"], {"constants": variables["constants"]}, (), key)
    patch = pytest.MonkeyPatch()
    patch.setattr(hl_net, "DROPOUT", 0.0)
    output = jax.jit(partial(forward, model))(state, batch)
    patch.undo()
    whole, online, distilled = [], [], []
    entropy = lambda s, y: -(y * np.log(s) + (1 - y) * np.log(1 - s))
    for f, n, label in zip(features, LENGTHS[:5], LABEL[:5]):
        both = transcription(variables["params"], {m: x[:n] for m, x in f.items()})
        scores = [expit(z) for z in both]
        top = [np.sort(s)[::-1][: n // 16 + 1].mean() for s in scores]
        whole.append(entropy(top[0], label))
        online.append(entropy(top[1], label))
        distilled.append(-(scores[0] * np.log(scores[1])).mean())
    expected = {"score": whole, "online": online, "distillation": distilled}
    expected = {f"hl_net_{name}": np.mean(values) for name, values in expected.items()}
    total, terms = losses.total_loss(output, batch, config.loss)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name] == pytest.approx(value, rel=1e-4), name
    weights = {"hl_net_score": 1, "hl_net_online": 1, "hl_net_distillation": 5}
    assert total == pytest.approx(sum(weights[n] * v for n, v in expected.items()), rel=1e-4)
