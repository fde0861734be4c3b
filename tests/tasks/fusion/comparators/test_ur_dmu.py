"""UR-DMU against a plain numpy transcription in float64: forward, each loss, padding, size."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf, expit, softmax

from configs import xd
from gfvad.base.types import Batch
from gfvad.tasks.fusion import losses, registry
from gfvad.tasks.fusion.comparators import ranking, ur_dmu
from gfvad.tasks.fusion.step import forward
from gfvad.train.state import TrainState

DIMS = {"rgb": 24, "audio": 8}
UNITS = 18


@pytest.fixture(scope="module")
def config():
    return xd.get_config("ur_dmu")


@pytest.fixture(scope="module")
def made(config):
    """(model, variables) with small weights away from their starts."""
    stats = {m: {"mean": np.full(d, 0.1), "std": np.ones(d)} for m, d in DIMS.items()}
    model = registry.build_model(config, DIMS, stats)
    features = {m: jnp.ones((UNITS, d)) for m, d in DIMS.items()}
    start = jax.jit(partial(model.init, train=False))
    variables = start({"params": jax.random.key(0)}, features, jnp.ones(UNITS, bool))
    rng = np.random.default_rng(1)
    moved = lambda x: np.asarray(x + 0.02 * rng.normal(size=x.shape), np.float32)
    variables = {**variables, "params": jax.tree.map(moved, variables["params"])}
    return model, variables, jax.jit(partial(model.apply, train=False))


def features_of(seed, units=UNITS):
    rng = np.random.default_rng(seed)
    return {m: rng.normal(size=(units, d)).astype(np.float32) for m, d in DIMS.items()}


def transcription(params, features):
    """(scores' logits [N], x [N, 512], what the memories say) of a video without padding."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    dense = lambda x, w: x @ w["kernel"] + w.get("bias", 0.0)
    x = np.concatenate([features[m].astype(np.float64) - np.float32(0.1) for m in DIMS], 1)
    n, padded = len(x), np.pad(x, ((1, 1), (0, 0)))
    x = sum(padded[i : i + n] @ p["embed"]["kernel"][i] for i in range(3)) + p["embed"]["bias"]
    x = np.maximum(x, 0)

    def norm(x, w):
        centred = x - x.mean(1, keepdims=True)
        return (
            centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * w["scale"] + w["bias"]
        )

    for i in range(2):
        w, y = p[f"attention_{i}"], norm(x, p[f"norm_attention_{i}"])
        q, k, v, t = (y @ part for part in np.split(w["qkvt"]["kernel"], 4, axis=1))
        wholes, nears = [], []
        near = np.exp(-np.abs(np.arange(n)[:, None] - np.arange(n)) / np.e)
        near /= near.sum(1, keepdims=True)
        for h in range(4):
            at = slice(128 * h, 128 * (h + 1))
            wholes.append(softmax(q[:, at] @ k[:, at].T / np.sqrt(128), axis=1) @ v[:, at])
            nears.append(near @ t[:, at])
        x = x + dense(np.concatenate(wholes + nears, 1), w["out"])
        y = dense(norm(x, p[f"norm_feed_forward_{i}"]), p[f"up_{i}"])
        x = x + dense(y * (1 + erf(y / np.sqrt(2))) / 2, p[f"down_{i}"])
    read = {}
    for kind in ("abnormal", "normal"):
        slots = p[kind]["slots"]
        fit = expit(x @ slots.T / np.sqrt(512))
        read[f"fits_{kind}"] = np.sort(fit, 1)[:, -4:].mean(1)
        read[kind] = dense(fit @ slots, p["mean"])
        read["log_variance"] = dense(fit @ slots, p["log_variance"])  # of the normal one, at last
    both = np.concatenate([x, read["abnormal"] + read["normal"]], 1)
    logits = dense(np.maximum(dense(both, p["hidden"]), 0), p["logit"])[:, 0]
    return logits, x, read


def test_forward(made):
    _, variables, apply = made
    features = features_of(0)
    given = apply(variables, features, jnp.ones(UNITS, bool))
    logits, _, _ = transcription(variables["params"], features)
    assert np.allclose(given.logits, logits, rtol=1e-4, atol=1e-5) and np.std(logits) > 1e-3
    assert given.graph.shape == (0, UNITS, UNITS) and given.aux == {}


def test_padding_changes_nothing(made):
    """Eleven units beside rows of anything: as by themselves."""
    _, variables, apply = made
    features = features_of(2, 11)
    logits, _, _ = transcription(variables["params"], features)
    rng = np.random.default_rng(3)
    more = {m: np.r_[x, 9 * rng.normal(size=(7, x.shape[1]))] for m, x in features.items()}
    padded = apply(variables, jax.tree.map(jnp.float32, more), jnp.arange(UNITS) < 11)
    assert np.allclose(padded.logits[:11], logits, rtol=1e-4, atol=1e-5)
    assert (padded.logits[11:] == 0).all()


@pytest.fixture(scope="module")
def trained(made):
    """(batch, output of training, by video) without dropout: 2 normal, 3 abnormal videos and one
    that counts nowhere."""
    model, variables, _ = made
    lengths, label = [18, 9, 18, 17, 1, 12], [0, 1, 1, 0, 1, -1]
    features = [features_of(10 + i) for i in range(6)]
    stacked = {m: np.stack([f[m] for f in features]) for m in DIMS}
    mask = np.arange(UNITS) < np.array(lengths)[:, None]
    counts = np.zeros(6, np.int32)
    batch = Batch(
        stacked, mask, np.float32(label), np.ones(6, bool), counts, counts, np.arange(6)[::-1]
    )
    key = jax.random.key_data(jax.random.key(5))
    state = TrainState(0, variables["params"], {"constants": variables["constants"]}, (), key)
    patch = pytest.MonkeyPatch()
    patch.setattr(ur_dmu, "DROPOUT", 0.0)
    output = jax.jit(partial(forward, model))(state, jax.tree.map(jnp.asarray, batch))
    patch.undo()
    return (
        batch,
        output,
        [
            transcription(variables["params"], {m: x[:n] for m, x in f.items()})
            for f, n in zip(features, lengths)
        ],
    )


def test_what_the_losses_are_given(trained):
    batch, output, known = trained
    aux = {name.removeprefix("ur_dmu/"): np.asarray(x) for name, x in output.aux.items()}
    for i, (logits, x, read) in enumerate(known):
        n = len(logits)
        assert np.allclose(output.logits[i, :n], logits, atol=1e-4)
        k = n // 16 + 1
        for kind in ("abnormal", "normal"):
            assert np.allclose(aux[f"fits_{kind}"][i, :n], read[f"fits_{kind}"], atol=1e-5)
            best = np.argsort(-read[f"fits_{kind}"])[:k]
            assert np.allclose(aux[f"x_{kind}"][i], x[best].mean(0), atol=1e-4)
            if kind == "abnormal":
                assert np.allclose(aux["read_abnormal"][i], read[kind][best].mean(0), atol=1e-4)
        lv, mu = read["log_variance"], read["normal"]
        expected = -0.5 * (1 + lv - mu**2 - np.exp(lv)).sum(1)
        assert np.allclose(aux["divergence"][i, :n], expected, rtol=1e-3, atol=1e-2)


def test_losses(trained, config):
    """Each from what the model gave, in float64, video by video."""
    batch, output, _ = trained
    aux = {n.removeprefix("ur_dmu/"): np.asarray(x, np.float64) for n, x in output.aux.items()}
    logits, lengths = np.asarray(output.logits, np.float64), batch.mask.sum(1)
    normal, abnormal = [3, 0], [4, 2, 1]  # by position, which falls
    entropy = lambda s, y: -(y * np.log(s) + (1 - y) * np.log(1 - s))
    top = lambda x, i: np.sort(x[i, : lengths[i]])[::-1][: lengths[i] // 16 + 1].mean()
    every = lambda f, x, ids: np.mean([f(x[i, : lengths[i]]).mean() for i in ids])
    scores = expit(np.where((batch.label == 0)[:, None], aux["drawn_logits"], logits))
    unit = lambda x: x / np.linalg.norm(x)
    apart = lambda a, b: np.linalg.norm(unit(a) - unit(b))
    pairs = list(zip(normal, abnormal))
    expected = {
        "ur_dmu_score": np.mean(
            [entropy(top(scores, i), batch.label[i]) for i in (*normal, *abnormal)]
        ),
        "ur_dmu_memory/abnormal_of_abnormal": np.mean(
            [-np.log(top(aux["fits_abnormal"], i)) for i in abnormal]
        ),
        "ur_dmu_memory/normal_of_abnormal": np.mean(
            [-np.log(top(1 - aux["fits_normal"], i)) for i in abnormal]
        ),
        "ur_dmu_memory/normal_of_normal": every(lambda s: -np.log(s), aux["fits_normal"], normal),
        "ur_dmu_memory/abnormal_of_normal": every(
            lambda s: -np.log(1 - s), aux["fits_abnormal"], normal
        ),
        "ur_dmu_triplet": np.mean(
            [
                max(
                    apart(aux["x_normal"][i], aux["x_normal"][j])
                    - apart(aux["x_normal"][i], aux["x_abnormal"][j])
                    + 1,
                    0,
                )
                for i, j in pairs
            ]
        ),
        "ur_dmu_kl": every(lambda x: x, aux["divergence"], normal),
        "ur_dmu_distance": np.mean(
            [
                max(
                    100
                    - np.linalg.norm(aux["read_abnormal"][j])
                    + np.linalg.norm(aux["drawn_normal"][i]),
                    0,
                )
                for i, j in pairs
            ]
        ),
    }
    total, terms = losses.total_loss(output, batch, config.loss)
    assert set(terms) == set(expected)
    weights = {"score": 1.0, "memory": 0.1, "triplet": 0.1, "kl": 0.001, "distance": 0.0001}
    for name, value in expected.items():
        assert terms[name] == pytest.approx(value, rel=2e-5, abs=1e-6), name
    weigh = lambda name: weights[name.split("/")[0].removeprefix("ur_dmu_")]
    assert total == pytest.approx(sum(weigh(n) * v for n, v in expected.items()), rel=1e-5)


def test_losses_do_not_depend_on_devices(trained, config):
    """Pairs are made over the whole batch, in the order of the stream."""
    batch, output, _ = trained
    whole, _ = losses.total_loss(output, batch, config.loss)
    parts = jax.tree.map(lambda x: jnp.asarray(x).reshape(2, 3, *x.shape[1:]), (output, batch))
    total = lambda output, batch: losses.total_loss(output, batch, config.loss, "device")[0]
    each = jax.vmap(total, axis_name="device")(*parts)
    assert np.allclose(each, whole, rtol=1e-6)


def test_a_readout_without_spread_is_its_mean(made):
    """Limit case: log variance far below 0."""
    model, variables, _ = made
    params = {**variables["params"]}
    params["log_variance"] = jax.tree.map(np.zeros_like, params["log_variance"])
    params["log_variance"]["bias"] -= 80
    patch = pytest.MonkeyPatch()
    patch.setattr(ur_dmu, "DROPOUT", 0.0)
    train = jax.jit(partial(model.apply, train=True))
    mask, rngs = jnp.ones(UNITS, bool), {"dropout": jax.random.key(0)}
    given = train({**variables, "params": params}, features_of(4), mask, rngs=rngs)
    patch.undo()
    assert np.allclose(given.aux["ur_dmu/drawn_logits"], given.logits, atol=1e-5)


def test_top_units():
    rng = np.random.default_rng(0)
    values = rng.random((3, 7)).astype(np.float32)
    mask, number = np.arange(7) < np.array([7, 4, 1])[:, None], np.array([3, 2, 1])
    found = ranking.top_mean(jnp.asarray(values), jnp.asarray(mask), jnp.asarray(number))
    for i in range(3):
        expected = np.sort(values[i, mask[i]])[::-1][: number[i]].mean()
        assert found[i] == pytest.approx(expected)
    assert np.isfinite(ranking.share_entropy(jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0]))).all()
    assert np.isfinite(jax.grad(lambda x: ranking.length_of(x))(jnp.zeros(3))).all()
