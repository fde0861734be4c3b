"""MIST against a plain numpy transcription in float64: both stages, the labels of the first for the
second, each loss."""

from functools import partial

import comparing
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparing import LABEL, LENGTHS, UNITS, convolution, dense, highest
from scipy.special import expit

from configs import xd
from gfvad.tasks.fusion import losses
from gfvad.tasks.fusion.comparators import mist
from gfvad.tasks.fusion.step import forward

DIMS = {"rgb": 12, "audio": 6}
STEPS = 10


@pytest.fixture(scope="module")
def made():
    return comparing.model_of(xd.get_config("mist"), DIMS)


def transcription(params, features):
    """Logits (of the second stage, guided, of the generator), [N] each, of a video without
    padding."""
    p = comparing.plain(params)
    relu = lambda x: np.maximum(x, 0)
    x = np.concatenate([features[m].astype(np.float64) for m in DIMS], 1)
    x, first, second = x - np.float32(comparing.MEAN), p["generator"], p["second"]
    y = relu(dense(relu(dense(x, first["hidden_0"])), first["hidden_1"]))
    h = relu(dense(x, second["embed"]))
    m = relu(dense(relu(convolution(h, second["around"], 1, 1)), second["maps"]))
    parts = dense(m, second["detectors"])
    guided = parts[:, 8:].mean(1) - parts[:, :8].mean(1)
    attended = h + expit(dense(m, second["attention"])) * h
    return dense(attended, second["logit"])[:, 0], guided, dense(y, first["logit"])[:, 0]


def box(values):
    padded = np.r_[[values[0]] * 2, values, [values[-1]] * 2]
    return np.array([padded[i : i + 5].mean() for i in range(len(values))])


def labels(scores):
    """Of an abnormal video."""
    scores = box(box(scores))
    if np.ptp(scores) == 0:
        return scores
    return (scores - scores.min()) / np.ptp(scores)


def test_forward_and_padding(made):
    model, variables = made
    apply = jax.jit(partial(model.apply, train=False))
    for units in (UNITS, 11, 1):
        features = comparing.features_of(units, DIMS, units)
        logits, _, _ = transcription(variables["params"], features)
        given = apply(variables, comparing.padded(features), jnp.arange(UNITS) < units)
        assert np.allclose(given.logits[:units], logits, rtol=1e-4, atol=1e-5)
        assert (given.logits[units:] == 0).all() and given.aux == {}


@pytest.mark.parametrize("units", [12, 3, 1, 0])
def test_labels(units):
    """Also of short videos; even scores stay as they are."""
    rng = np.random.default_rng(units)
    scores, mask = rng.random(12), np.arange(12) < units
    found = mist.labels_of(jnp.asarray(scores), jnp.asarray(mask))
    assert (found[units:] == 0).all()
    if units:
        np.testing.assert_allclose(found[:units], labels(scores[:units]), atol=1e-6)
        even = mist.labels_of(jnp.full(12, 0.25), jnp.asarray(mask))
        np.testing.assert_allclose(even[:units], 0.25)
    gradient = jax.grad(lambda x: mist.labels_of(x, jnp.asarray(mask)).sum())(jnp.asarray(scores))
    assert (gradient == 0).all()


def test_losses_of_both_stages(made):
    """Without dropout: what a stage learns by, and that the other one stands still."""
    model, variables = made
    batch, videos = comparing.batch_of(DIMS)
    config = xd.get_config("mist")
    patch = pytest.MonkeyPatch()
    patch.setattr(mist, "DROPOUT", 0.0)
    patch.setattr(mist, "DROPOUT_FIRST", 0.0)

    @jax.jit
    def of(params, step):
        output = forward(model, comparing.state_of({**variables, "params": params}), batch)
        return losses.total_loss(output, batch, config.loss, None, step, STEPS)

    learnt = jax.jit(jax.grad(lambda params, step: of(params, step)[0]))
    given = {step: of(variables["params"], step) for step in (0, 4, 5)}
    moved = {step: learnt(variables["params"], step) for step in (0, 5)}
    patch.undo()
    known = [transcription(variables["params"], video) for video in videos[:5]]
    normal, abnormal = ([i for i in range(5) if LABEL[i] == label] for label in (0, 1))
    share = [highest(expit(first), max(n // 32, 1)) for (_, _, first), n in zip(known, LENGTHS)]
    side = lambda z, y: 1.2 * y * np.log1p(np.exp(-z)) + 0.8 * (1 - y) * np.log1p(np.exp(z))
    target = [labels(expit(k[2])) if LABEL[i] else np.zeros(len(k[2])) for i, k in enumerate(known)]
    taught = lambda part: np.mean([side(k[part], y).mean() for k, y in zip(known, target)])
    expected = {
        "mist_rank": np.mean([max(0, 1 - share[a] + share[n]) for n in normal for a in abnormal]),
        "mist_sparse": np.mean([expit(known[i][2]).mean() for i in abnormal]),
        "mist_label": taught(0),
        "mist_guided": taught(1),
    }
    stages = {0: ("mist_rank", "mist_sparse"), 5: ("mist_label", "mist_guided")}
    weights = {name: 0.01 if name == "mist_sparse" else 1.0 for name in expected}
    for step, (total, terms) in given.items():
        names = stages[0 if step < 5 else 5]
        for name, value in expected.items():
            wanted = value if name in names else 0
            assert terms[name] == pytest.approx(wanted, rel=1e-4), (name, step)
        assert total == pytest.approx(sum(weights[n] * expected[n] for n in names), rel=1e-4)
    stands = lambda part: all((np.asarray(x) == 0).all() for x in jax.tree.leaves(part))
    assert stands(moved[0]["second"]) and not stands(moved[0]["generator"])
    assert stands(moved[5]["generator"]) and not stands(moved[5]["second"])
