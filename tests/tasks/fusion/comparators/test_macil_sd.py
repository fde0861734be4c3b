"""MACIL-SD against a plain numpy transcription in float64: forward, each loss, what the layer
across takes over, sizes, and what is refused."""

from functools import partial
from types import SimpleNamespace

import comparing
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparing import LABEL, LENGTHS, UNITS, dense, layer_norm
from scipy.special import logsumexp, softmax

from configs import ucf, xd
from gfvad.base.types import ConfigError
from gfvad.tasks.fusion import losses, registry
from gfvad.tasks.fusion.comparators import macil_sd
from gfvad.tasks.fusion.step import forward

DIMS = {"rgb": 12, "audio": 6}
STEPS = 10


@pytest.fixture(scope="module")
def made():
    return comparing.model_of(xd.get_config("macil_sd"), DIMS)


def layer(x, context, w):
    normal, other = (layer_norm(y, w["norm_attention"]) for y in (x, context))
    query = dense(normal, w["attention"]["query"])
    key, value = np.split(dense(other, w["attention"]["key_value"]), 2, 1)
    heads = [slice(32 * h, 32 * (h + 1)) for h in range(4)]
    found = [softmax(query[:, h] @ key[:, h].T / 32**0.5, 1) @ value[:, h] for h in heads]
    x = x + dense(np.concatenate(found, 1), w["attention"]["out"])
    y = dense(layer_norm(x, w["norm_feed_forward"]), w["up"])
    return x + dense(np.maximum(y, 0), w["down"])


def transcription(params, features):
    """({set: units [N, 128]}, {set, or alone: logits [N]}) of a video without padding."""
    p = comparing.plain(params)
    centred = [features[m].astype(np.float64) - np.float32(comparing.MEAN) for m in features]
    v, a = dense(centred[0], p["visual"]), dense(np.concatenate(centred[1:], 1), p["audio"])
    units = {"visual": layer(v, a, p["across"]), "audio": layer(a, v, p["across"])}
    all_units = {**units, "alone": layer(v, v, p["alone"])}
    return units, {name: dense(x, p["logit"])[:, 0] for name, x in all_units.items()}


def test_forward_and_padding(made):
    model, variables = made
    apply = jax.jit(partial(model.apply, train=False))
    for units in (UNITS, 11, 1):
        features = comparing.features_of(units, DIMS, units)
        _, logits = transcription(variables["params"], features)
        given = apply(variables, comparing.padded(features), jnp.arange(UNITS) < units)
        expected = logits["visual"] + logits["audio"]
        assert np.allclose(given.logits[:units], expected, rtol=1e-4, atol=1e-4)
        assert (given.logits[units:] == 0).all() and given.aux == {}


def test_further_sets_stand_beside_the_second():
    dims = {"rgb": 12, "audio": 6, "flow": 4}
    model, variables = comparing.model_of(xd.get_config("macil_sd"), dims)
    features = comparing.features_of(0, dims)
    _, logits = transcription(variables["params"], features)
    apply = jax.jit(partial(model.apply, train=False))
    given = apply(variables, features, jnp.ones(UNITS, bool))
    assert np.allclose(given.logits, logits["visual"] + logits["audio"], rtol=1e-4, atol=1e-4)


def test_losses(made):
    """Without dropout, while the contrast comes in and after it has."""
    model, variables = made
    batch, videos = comparing.batch_of(DIMS)
    config = xd.get_config("macil_sd")
    patch = pytest.MonkeyPatch()
    patch.setattr(macil_sd, "DROPOUT", 0.0)

    @jax.jit
    def of(step):
        output = forward(model, comparing.state_of(variables), batch)
        return losses.total_loss(output, batch, config.loss, None, step, STEPS)

    given = {step: of(step) for step in (0, 1, 7)}
    patch.undo()
    expected = {f"macil_sd_{name}": value for name, value in of_losses(variables, videos).items()}
    weights = {"macil_sd_score": 1, "macil_sd_visual": 1}
    for step, (total, terms) in given.items():
        rise, value = min(step / STEPS / 0.3, 1), 0.0
        assert set(terms) == set(expected)
        for name, wanted in expected.items():
            wanted *= rise if "contrast" in name else 1
            assert terms[name] == pytest.approx(wanted, rel=1e-4), name
            value += weights.get(name, 1.5) * wanted
        assert total == pytest.approx(value, rel=1e-4)


def of_losses(variables, videos):
    known = [transcription(variables["params"], video) for video in videos[:5]]
    sizes = [n // 16 + 1 for n in LENGTHS[:5]]
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)

    def entropy(of):
        found = []
        for (_, logits), k, label in zip(known, sizes, LABEL):
            mean = np.sort(of(logits))[::-1][:k].mean()
            found.append(np.log1p(np.exp(-mean if label else mean)))
        return np.mean(found)

    query = {"visual": [], "audio": []}
    background, normal = ({name: [] for name in query} for _ in range(2))
    for (units, logits), k, label in zip(known, sizes, LABEL):
        for name in query:
            order = np.argsort(logits[name])
            background[name] += list(unit(units[name][order[:k]]))
            highest = unit(units[name][order[::-1][:k]])
            if label:
                query[name].append(unit(highest.mean(0)))
            else:
                normal[name] += list(highest)
    terms = {
        "score": entropy(lambda z: z["visual"] + z["audio"]),
        "visual": entropy(lambda z: z["alone"]),
    }
    for name, other in (("visual", "audio"), ("audio", "visual")):
        for kind, against in (("background", background), ("normal", normal)):
            values = []
            for q, p in zip(query[name], query[other]):
                near, far = q @ p / 0.1, np.array(against[other]) @ q / 0.1
                values.append(logsumexp([near, *far]) - near)
            terms[f"contrast/{name}_{kind}"] = np.mean(values)
    return terms


def test_the_layer_across_takes_over(made):
    """A share of the layer alone, after each step; all else stays."""
    model, variables = made
    given = SimpleNamespace(step=np.int32(3), steps=STEPS)
    before, after = variables["params"], model.after_step(variables, given)["params"]
    share = 0.09 * (1 + np.cos(0.3 * np.pi)) / 2
    take = lambda w, alone: w + share * (alone - w)
    wanted = {**before, "across": jax.tree.map(take, before["across"], before["alone"])}
    for found, expected in zip(jax.tree.leaves(after), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-7)
    assert not np.allclose(after["across"]["up"]["kernel"], before["across"]["up"]["kernel"])


def test_what_is_taken_over_in_a_whole_training():
    """50 times the mean of the published schedule, whatever the number of steps; few steps take
    what falls to them."""
    whole = lambda steps: float(macil_sd.taken_over(np.arange(steps), steps).sum())
    assert whole(1550) == pytest.approx(50 * 0.045, rel=2e-3)
    assert whole(300) == pytest.approx(50 * 0.045, rel=1e-2)
    assert float(macil_sd.taken_over(0, 10)) == pytest.approx(0.09)


def test_one_set_is_refused():
    c = ucf.get_config("macil_sd")
    with pytest.raises(ConfigError, match=r"config.data.modalities = \('text',\): .*two feature"):
        registry.check_model(c, ["text"])
