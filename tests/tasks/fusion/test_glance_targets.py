"""Where glances place events, against float64 loops; the loss of it; and that folds show a model no
glance of a video that it is tested on."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from gfvad.base.types import Batch, Output
from gfvad.data import streams
from gfvad.data.glances import GLANCE
from gfvad.tasks.fusion import losses, step
from gfvad.tasks.fusion.glance_targets import placed

N = 9


def oracle(marks, scores, mask, width):
    """Every unit from every glance, by loops."""
    found = np.zeros(N)
    for g in np.flatnonzero((marks > 0) & mask):
        near = [np.exp(-((i - g) ** 2) / (2 * width**2)) if width else i == g for i in range(N)]
        share = np.array(near) * scores * mask
        found += share / share.sum()
    return found


def drawn(seed):
    rng = np.random.default_rng(seed)
    mask = np.arange(N) < rng.integers(5, N + 1)
    return (rng.random(N) < 0.3).astype(float), rng.uniform(0.05, 0.95, N), mask


@pytest.mark.parametrize("width", [0.0, 0.7, 2.0, 1e6])
def test_events_are_placed_as_loops_place_them(width):
    with jax.enable_x64(True):
        for seed in range(20):
            marks, scores, mask = drawn(seed)
            found = np.asarray(placed(jnp.array(marks), jnp.array(scores), jnp.array(mask), width))
            expected = oracle(marks, scores, mask, width)
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
            assert found.sum() == pytest.approx((mask & (marks > 0)).sum())


def test_placing_in_its_limits():
    """Without a glance nothing; time reversed, reversed; what padding holds changes nothing; width
    0 is the unit itself, a wide one the scores alone."""
    marks, scores, mask = drawn(3)

    def of(marks, scores, mask, width=1.0):
        return np.asarray(placed(jnp.array(marks), jnp.array(scores), jnp.array(mask), width))

    assert not of(0 * marks, scores, mask).any()
    turned = of(marks[::-1], scores[::-1], mask[::-1])
    np.testing.assert_allclose(turned, of(marks, scores, mask)[::-1], rtol=1e-5)
    junk = np.where(mask, marks, 1.0), np.where(mask, scores, 0.9)
    np.testing.assert_array_equal(of(*junk, mask), of(marks, scores, mask))
    np.testing.assert_allclose(of(marks, scores, mask, width=0.0), marks * mask, atol=1e-6)
    told = mask * scores / (mask * scores).sum() * (marks * mask).sum()
    np.testing.assert_allclose(of(marks, scores, mask, width=1e6), told, rtol=1e-5)
    assert np.isfinite(of(marks, 0 * scores, mask)).all()


def problem():
    """Four videos: abnormal, normal, abnormal without a glance, and one that does not count."""
    rng = np.random.default_rng(0)
    logits, mask = rng.normal(size=(4, N)), np.ones((4, N), bool)
    mask[0, 7:] = False
    marks = np.zeros((4, N, 1))
    marks[[0, 1, 3], [2, 4, 4]] = 1.0  # of a normal video: never read from a file, and no loss
    label, valid = np.array([1.0, 0.0, 1.0, 1.0]), np.array([True, True, True, False])
    output = Output(logits, np.zeros((4, 0, N, N)), {"branch/a": rng.normal(size=(4, N))})
    rest = np.arange(4), np.zeros(4, int), np.arange(4)
    return output, Batch({GLANCE: marks}, mask, label, valid, *rest)


def test_loss_agrees_with_loops_and_is_left_out_without_glances():
    c = tiny.config(loss__glance=0.7, loss__glance_width=0.8)
    output, batch = problem()
    with jax.enable_x64(True):
        run = jax.jit(lambda output, batch: losses.total_loss(output, batch, c.loss))
        total, terms = run(output, batch)
        bare, without = run(output, batch._replace(features={}))
        more = float(total - bare)
    score = 1 / (1 + np.exp(-output.logits[0]))
    weight = oracle(batch.features[GLANCE][0, :, 0], score, batch.mask[0], 0.8)
    both = sum(np.log1p(np.exp(-z[0])) for z in (output.logits, output.aux["branch/a"]))
    np.testing.assert_allclose(terms["glance"], (weight * both).sum() / weight.sum(), rtol=1e-6)
    assert "glance" not in without and set(terms) == {*without, "glance"}
    np.testing.assert_allclose(more, 0.7 * float(terms["glance"]), rtol=1e-6)


def test_loss_sees_real_units_of_abnormal_videos_alone():
    """Bitwise, whatever the others hold; finite where no video has a glance."""
    c, (output, batch) = tiny.config(), problem()

    def term(z, batch):
        return losses.total_loss(output._replace(logits=z, aux={}), batch, c.loss)[1]["glance"]

    value = jax.jit(jax.value_and_grad(term))
    first, gradient = value(output.logits.astype(np.float32), batch)
    counted = batch.mask & (batch.valid & (batch.label == 1))[:, None]
    assert not np.asarray(gradient)[~counted].any() and not np.asarray(gradient)[2].any()
    again, _ = value(np.where(counted, output.logits, 9.0).astype(np.float32), batch)
    assert first == again
    none = batch._replace(features={GLANCE: np.zeros((4, N, 1))})
    zero, flat = value(output.logits.astype(np.float32), none)
    assert zero == 0 and not np.asarray(flat).any()


def test_a_model_never_sees_them():
    """It is given the modalities alone, whatever lies beside them for the losses."""
    c, records, seen = tiny.config(), tiny.TinyRecords(videos=4), []
    batch = streams.TrainStream(streams.Examples(records, range(4), c.data), 4, 0).local_batch(0)
    marks = np.ones((4, tiny.UNITS, 1), np.float32)

    class Spy:
        def apply(self, variables, features, mask, **words):
            seen.append(set(features))
            return features["rgb"].sum(-1)

    key = jax.random.key_data(jax.random.key(0))
    first: Any = SimpleNamespace(key=key, step=0, params={}, constants={})
    marked = batch._replace(features={**batch.features, GLANCE: marks})
    a, b = (step.forward(Spy(), first, x) for x in (batch, marked))
    np.testing.assert_array_equal(a, b)
    assert seen == [set(tiny.DIMS)] * 2
