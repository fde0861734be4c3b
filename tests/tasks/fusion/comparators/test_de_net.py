"""DE-Net against a plain numpy transcription in float64: forward, what is erased, each loss."""

from functools import partial

import comparing
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparing import LABEL, LENGTHS, UNITS, convolution, dense, entropy, highest, layer_norm
from scipy.special import expit, softmax

from configs import xd
from gfvad.tasks.fusion import losses
from gfvad.tasks.fusion.comparators import de_net
from gfvad.tasks.fusion.step import forward

DIMS = {"rgb": 12, "audio": 6}


@pytest.fixture(scope="module")
def made():
    return comparing.model_of(xd.get_config("de_net"), DIMS)


def attention(x, w, there):
    query, (key, value) = dense(x, w["query"]), np.split(dense(x, w["key_value"])[there], 2, 1)
    heads = [slice(32 * h, 32 * (h + 1)) for h in range(4)]
    found = [softmax(query[:, h] @ key[:, h].T / 32**0.5, 1) @ value[:, h] for h in heads]
    return dense(np.concatenate(found, 1), w["out"])


def gelu(x):
    return x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2


def transcription(params, x, there):
    """Logits [N] of centred features [N, D], of which `there` [N] are there."""
    p, found = comparing.plain(params)["network"], []
    x = np.where(there[:, None], x, 0)
    for width in (1, 3, 5, 7):
        y = np.maximum(convolution(x, p[f"scale_{width}"], width // 2, width // 2), 0)
        w = p[f"encoder_{width}"]
        y = y + attention(layer_norm(y, w["norm_attention"]), w["attention"], there)
        z = dense(layer_norm(y, w["norm_feed_forward"]), w["feed_forward"]["up"])
        found.append(y + dense(gelu(z), w["feed_forward"]["down"]))
    y = np.concatenate(found, 1)
    for layer in ("hidden_0", "hidden_1"):
        y = np.maximum(dense(y, p[layer]), 0)
    return dense(y, p["logit"])[:, 0]


def centred(features):
    side_by_side = np.concatenate([features[m].astype(np.float64) for m in DIMS], 1)
    return side_by_side - np.float32(comparing.MEAN)


def test_forward_and_padding(made):
    model, variables = made
    apply = jax.jit(partial(model.apply, train=False))
    for units in (UNITS, 11, 1):
        features = comparing.features_of(units, DIMS, units)
        logits = transcription(variables["params"], centred(features), np.ones(units, bool))
        given = apply(variables, comparing.padded(features), jnp.arange(UNITS) < units)
        assert np.allclose(given.logits[:units], logits, rtol=1e-4, atol=1e-4)
        assert (given.logits[units:] == 0).all() and given.aux == {}
    assert given.graph.shape == (0, UNITS, UNITS)


def test_what_is_erased():
    """Two of 18 units that hold most of the scores are; even scores, and a video of one unit's
    whole event, are not."""
    mask = jnp.arange(20) < 18
    peaked = jnp.where(jnp.isin(jnp.arange(20), jnp.array([4, 9])), 3.0, -6.0)
    left, incomplete = de_net.erased(peaked, mask)
    assert incomplete and set(np.flatnonzero(~left[:18])) == {4, 9} and not left[18:].any()
    left, incomplete = de_net.erased(jnp.zeros(20), mask)
    assert not incomplete and (left == mask).all()
    _, incomplete = de_net.erased(peaked, jnp.arange(20) < 1)
    assert not incomplete  # there is no rest to be found


def test_losses(made):
    """Without dropout."""
    model, variables = made
    variables = {**variables, "params": jax.tree.map(np.copy, variables["params"])}
    variables["params"]["network"]["logit"]["kernel"] *= 12  # scores that stand out
    batch, videos = comparing.batch_of(DIMS)
    patch = pytest.MonkeyPatch()
    patch.setattr(de_net, "DROPOUT", 0.0)
    output = jax.jit(partial(forward, model))(comparing.state_of(variables), batch)
    patch.undo()
    first, second = [], []
    for video, n, label in zip(videos[:5], LENGTHS, LABEL):
        x, k = centred(video), n // 16 + 1
        scores = expit(transcription(variables["params"], x, np.ones(n, bool)))
        first.append(entropy(highest(scores, k), label))
        rest = np.argsort(-scores)[k:]
        if label and len(rest) and highest(scores, k) * k > scores.sum() / 2:
            there = np.isin(np.arange(n), rest)
            again = expit(transcription(variables["params"], x, there))[there]
            second.append(entropy(highest(again, len(rest) // 16 + 1), 1))
    total, terms = losses.total_loss(output, batch, xd.get_config("de_net").loss)
    assert set(terms) == {"de_net_score", "de_net_erased"} and 0 < len(second) < 3
    assert terms["de_net_score"] == pytest.approx(np.mean(first), rel=1e-4)
    assert terms["de_net_erased"] == pytest.approx(np.mean(second), rel=1e-4)
    assert total == pytest.approx(np.mean(first) + np.mean(second), rel=1e-4)
