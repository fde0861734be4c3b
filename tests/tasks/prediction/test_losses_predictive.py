"""Losses of the predictive model against float64 loops, what counts in them, and that devices
change nothing."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_clips

from gfvad.tasks.prediction import losses
from gfvad.tasks.prediction.model import Prediction, normalise_frames
from gfvad.train import parallel

CFG = SimpleNamespace(
    frame=1.0,
    text=0.7,
    contrast=0.6,
    flow=0.1,
    pace=0.9,
    balance=0.01,
    pace_motion=0.05,
    pace_still=0.1,
)
# float32 sums of up to 4 x 864 numbers of size 1 against float64: relative rounding of some eps
# log2(n) = 7e-7
TOLERANCE = 2e-6


def frames(seed, count=3):
    """float32 [B, h, w, C] in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (count, 4, 6, 2)).astype(np.float32)


def problem(size=4, seed=0):
    """(Prediction of a batch, paces, batch), all of it random; the batch's last clip is padding."""
    rng = np.random.default_rng(seed)
    batch = tiny_clips.batch(size, seed)
    shape = batch.features["frames"].shape
    normal = lambda *s: rng.normal(size=s).astype(np.float32)
    flow = batch.features["flow"].shape
    prediction = Prediction(
        np.tanh(normal(size, *shape[2:])),
        normal(size, tiny_clips.TEXT),
        normal(size, *flow[2:]),
        None,
        None,
        {"balance": normal(size) ** 2},
    )
    grid = (shape[2] // 4, shape[3] // 4)
    paces = tuple(
        losses.Pace(2 * normal(size, *grid), rng.random((size, *grid)) < 0.3) for _ in range(2)
    )
    return prediction, paces, batch


def pace_entropy(logits, moving, fast, still):
    """One clip, by a loop over its cells."""
    total = weights = 0.0
    for logit, m in zip(np.float64(logits).ravel(), moving.ravel()):
        probability, weight = 1 / (1 + np.exp(-logit)), 1.0 if m else still
        total += weight * -np.log(probability if m and fast else 1 - probability)
        weights += weight
    return total / weights


def by_loops(prediction, paces, batch, i):
    """Every term of clip i in float64."""
    shown = np.float64(batch.features["frames"][i]) / 127.5 - 1
    p, target, last = np.float64(prediction.frame[i]), shown[-1], shown[-2]
    contrast = [
        max(0.0, (a - b) ** 2 - (a - c) ** 2)
        for a, b, c in zip(p.ravel(), target.ravel(), last.ravel())
    ]
    said, heard = np.float64(prediction.text[i]), np.float64(batch.features["text_next"][i])
    return {
        "frame": np.mean([(a - b) ** 2 for a, b in zip(p.ravel(), target.ravel())]),
        "contrast": np.mean(contrast),
        "text": 1 - said @ heard / np.sqrt(said @ said) / np.sqrt(heard @ heard),
        "flow": np.mean((np.float64(prediction.flow[i]) - batch.features["flow"][i, -1]) ** 2),
        "pace": np.mean(
            [
                pace_entropy(pace.logits[i], pace.moving[i], fast, CFG.pace_still)
                for fast, pace in enumerate(paces)
            ]
        ),
        "balance": np.float64(prediction.aux["balance"][i]),
    }


def test_every_term_and_their_sum():
    prediction, paces, batch = problem()
    total, values = losses.total_loss(prediction, paces, batch, CFG)
    rows = [by_loops(prediction, paces, batch, i) for i in range(3)]  # the fourth is padding
    expected = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=TOLERANCE, err_msg=name)
    np.testing.assert_allclose(
        total, sum(getattr(CFG, name) * value for name, value in expected.items()), rtol=TOLERANCE
    )


def test_absent_parts_have_no_term():
    prediction, _, batch = problem()
    _, values = losses.total_loss(prediction._replace(text=None, flow=None), None, batch, CFG)
    assert set(values) == {"frame", "contrast", "balance"}


def test_padding_counts_nowhere():
    """Whatever a clip that is not valid holds, the loss and its gradient are those of the
    others; without any valid one they are 0."""
    prediction, paces, batch = problem()

    def loss(prediction, batch):
        return losses.total_loss(prediction, paces, batch, CFG)[0]

    spoilt = jax.tree.map(
        lambda x: np.concatenate([x[:-1], np.full_like(x[-1:], np.nan)]), prediction
    )
    assert loss(spoilt, batch) == loss(prediction, batch)
    gradient = jax.grad(loss)(prediction, batch)
    assert all(
        not np.asarray(x[-1]).any() and np.asarray(x[0]).any() for x in jax.tree.leaves(gradient)
    )
    nothing = batch._replace(valid=np.zeros(4, bool))
    assert loss(prediction, nothing) == 0
    assert all(
        not np.asarray(x).any() for x in jax.tree.leaves(jax.grad(loss)(prediction, nothing))
    )


def test_the_contrast_asks_for_the_next_frame_rather_than_the_last():
    target, last = frames(0), frames(1)
    np.testing.assert_array_equal(losses.motion_contrast(target, target, last), np.zeros(3))
    np.testing.assert_allclose(
        losses.motion_contrast(last, target, last), losses.frame_error(last, target), rtol=TOLERANCE
    )
    between = 0.5 * (target + last) + 0.01 * (target - last)  # a little nearer the next
    np.testing.assert_array_equal(losses.motion_contrast(between, target, last), np.zeros(3))
    assert (
        np.asarray(losses.motion_contrast(between - 0.02 * (target - last), target, last)) > 0
    ).all()


def test_the_text_error_lies_between_0_and_2():
    x = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    # 1 - c for c within rounding of 1 or 0, and the 1e-8 beside squared lengths of about 8
    for scale, expected in ((3.0, 0.0), (-0.5, 2.0)):
        np.testing.assert_allclose(
            losses.text_error(scale * x, x), np.full(5, expected), rtol=0, atol=1e-6
        )
    np.testing.assert_array_equal(losses.text_error(np.zeros_like(x), x), np.ones(5))
    gradient = jax.grad(lambda p: losses.text_error(p, x).sum())(np.zeros_like(x))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("still", [0.0, 0.1, 1.0])
def test_pace_targets(still):
    """Moving cells of a fast clip are 1, all else is 0; cells that do not move count `still`."""
    rng = np.random.default_rng(0)
    moving = rng.random((2, 3, 4)) < 0.5
    logits = (3 * rng.normal(size=(2, 3, 4))).astype(np.float32)
    for fast in (0, 1):
        expected = [pace_entropy(logits[i], moving[i], fast, still) for i in range(2)]
        np.testing.assert_allclose(
            losses.pace_error(losses.Pace(logits, moving), float(fast), still),
            expected,
            rtol=TOLERANCE,
        )
    right = np.where(moving, 30.0, -30.0).astype(np.float32)
    assert (np.asarray(losses.pace_error(losses.Pace(right, moving), 1.0, still)) < 1e-6).all()
    nothing_moves = losses.pace_error(
        losses.Pace(jnp.asarray(logits), jnp.zeros_like(moving)), 1.0, still
    )
    expected = [
        pace_entropy(row, np.zeros((3, 4), bool), 1, still) if still else 0.0 for row in logits
    ]
    np.testing.assert_allclose(nothing_moves, expected, rtol=TOLERANCE)


def test_moving_cells():
    """A cell moves where the mean change over frames, colours and its 3 x 3 cells (0 beyond the
    edge) is above the threshold."""
    clip = np.random.default_rng(0).uniform(-0.2, 0.2, (4, 12, 16, 2)).astype(np.float32)
    clip[:, :, 8:] = clip[:1, :, 8:]
    clip[2, 8:] += 0.5
    change = 0.5 * np.abs(np.diff(clip.astype(np.float64), axis=0)).mean((0, 3))
    cells = [
        [change[4 * r : 4 * r + 4, 4 * c : 4 * c + 4].mean() for c in range(4)] for r in range(3)
    ]
    padded = np.pad(cells, 1)
    around = np.array(
        [[padded[r : r + 3, c : c + 3].sum() / 9 for c in range(4)] for r in range(3)]
    )
    for threshold in (0.01, 0.05, 0.1):
        assert np.abs(around - threshold).min() > 1e-4  # no cell is a matter of rounding
        np.testing.assert_array_equal(losses.moving_cells(clip, threshold), around > threshold)
    assert 0 < (around > 0.05).sum() < 12
    assert not np.asarray(losses.moving_cells(np.repeat(clip[:1], 4, 0), 0.0)).any()


@pytest.mark.parametrize("backend", parallel.BACKENDS)
def test_the_same_on_one_device_and_two(backend):
    """Six clips, of which one is padding: means of three on each device would give another value
    than the mean of all five."""
    prediction, paces, batch = problem(6)
    expected = losses.total_loss(prediction, paces, batch, CFG)
    mapper = parallel.make_mapper(backend, 2)

    def loss(state, inputs):
        total, values = losses.total_loss(*inputs, CFG, mapper.axis_name)
        return state, {"total": total, **values}

    _, found = mapper.map_train(loss)(
        mapper.replicate({"w": np.zeros(1)}), mapper.shard((prediction, paces, batch))
    )
    found = mapper.unreplicate(found)
    # sums in another order
    np.testing.assert_allclose(found.pop("total"), expected[0], rtol=TOLERANCE)
    for name, value in expected[1].items():
        np.testing.assert_allclose(found[name], value, rtol=TOLERANCE, err_msg=name)


def test_frames_are_brought_to_minus_one_to_one():
    np.testing.assert_array_equal(normalise_frames(jnp.array([0, 255], jnp.uint8)), [-1, 1])
