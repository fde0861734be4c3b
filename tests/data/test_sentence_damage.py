"""Damage to sentences of training videos: each kind against plain loops, none where it is off, and
never where videos are evaluated."""

import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict

from gfvad.base.types import ConfigError
from gfvad.data import damage, pipeline, streams
from gfvad.settings import kinds

WIDTH = 16
RNG = np.random.default_rng(7)
# five sentences, of which the third fades; units 6 and 7 are not described
LENGTHS = np.array([1, 1, 1, 0.9, 0.3, 0.1, 0, 0, 1, 1, 0.4, 1])
NUMBERS = np.array([0, 0, 1, 2, 2, 2, -1, -1, 3, 3, 3, 4])


def cfg(**amounts):
    return ConfigDict({**kinds.default_config().data.damage.to_dict(), **amounts})


def directions(count):
    x = RNG.normal(size=(count, WIDTH))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def told():
    """(features [12, 16], directions of their sentences)."""
    own = directions(5)
    return (LENGTHS[:, None] * own[NUMBERS]).astype(np.float32), own


OTHER = directions(4).astype(np.float32)
another = lambda: OTHER


def struck(x, seed=0, **amounts):
    return damage.damaged(x, cfg(**amounts), np.random.default_rng(seed), another)


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def test_sentences_are_runs_of_one_direction(told):
    x, own = told
    np.testing.assert_array_equal(damage.sentences(x), NUMBERS)
    assert damage.sentences(np.zeros((3, WIDTH))).tolist() == [-1] * 3
    # the same words before and after a silence are two sentences
    twice = x[[0, 6, 0]]
    assert damage.sentences(twice).tolist() == [0, -1, 1]


def test_nothing_is_nothing(told):
    x, _ = told
    before = x.copy()
    np.testing.assert_allclose(struck(x), x, atol=1e-7)
    assert struck(x).dtype == np.float32 and not damage.active(cfg()) and not damage.active(None)
    np.testing.assert_array_equal(struck(x, silent=1.0), np.zeros_like(x))
    np.testing.assert_array_equal(struck(x, dropped=1.0), np.zeros_like(x))
    np.testing.assert_array_equal(struck(x, 3, noise=1.0), struck(x, 3, noise=1.0))
    np.testing.assert_array_equal(x, before)  # never written into
    assert damage.active(cfg(late=0.1))


def test_dropped_sentences_are_whole(told):
    x, _ = told
    counts = np.zeros(5)
    for seed in range(400):
        y = struck(x, seed, dropped=0.3)
        for k in range(5):
            own = k == NUMBERS
            gone = not y[own].any()
            counts[k] += gone
            if not gone:
                np.testing.assert_allclose(y[own], x[own], atol=1e-7)
    assert (abs(counts / 400 - 0.3) < 0.08).all()


def test_generic_sentences_are_of_a_normal_video_and_fade_alike(told):
    x, _ = told
    y = struck(x, generic=1.0)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), LENGTHS, atol=1e-6)
    for k in range(5):
        own = unit(y[k == NUMBERS])
        assert (np.abs(own @ unit(OTHER).T - 1).min(1) < 1e-5).all() and np.ptp(
            own, axis=0
        ).max() < 1e-6
    empty = damage.damaged(x, cfg(generic=1.0), np.random.default_rng(0), lambda: 0 * OTHER)
    assert not empty.any()


def test_late_sentences_move_as_a_whole(told):
    """Against a loop over units: each is painted at its new place, those that move last."""
    x, own = told
    for seed in range(20):
        y = struck(x, seed, late=1.0, late_units=2)
        rng = np.random.default_rng(seed)
        for drawn in (rng.random, lambda: rng.standard_normal(WIDTH), lambda: rng.random((3, 5))):
            drawn()  # before the moves
        moves, expected = rng.integers(-2, 3, 5), np.zeros_like(x)
        for k in range(5):
            for i in np.flatnonzero(k == NUMBERS):
                if 0 <= i + moves[k] < 12:
                    expected[i + moves[k]] = x[i]
        np.testing.assert_allclose(y, expected, atol=1e-6)


def test_noise_is_of_a_sentence_and_style_of_a_video(told):
    x, own = told
    y = struck(x, noise=0.5)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), LENGTHS, atol=1e-6)
    for k in range(5):
        assert np.ptp(unit(y[k == NUMBERS]), axis=0).max() < 1e-6
    moved = [
        np.mean([unit(struck(x, s, noise=n)[0]) @ own[0] for s in range(50)]) for n in (0.2, 1)
    ]
    assert 1 > moved[0] > 0.95 > moved[1] > 0.4
    # one offset: what two sentences are apart stays, but for their new lengths
    styled = struck(x, style=0.7)
    rng = np.random.default_rng(0)
    rng.random()
    offset = 0.7 * rng.standard_normal(WIDTH) / np.sqrt(WIDTH)
    there = NUMBERS >= 0
    expected = LENGTHS[there, None] * unit(own[NUMBERS[there]] + offset)
    np.testing.assert_allclose(styled[there], expected, atol=1e-6)


def test_filled_stretches_get_one_sentence_each(told):
    """Of units that are not described, or hardly; the others stay."""
    x, _ = told
    y = struck(x, filled=1.0)
    faint = LENGTHS < damage.DESCRIBED
    np.testing.assert_allclose(y[~faint], x[~faint], atol=1e-7)
    assert (np.abs(y[faint] @ unit(OTHER).T - 1).min(1) < 1e-5).all()
    assert np.ptp(y[4:8], axis=0).max() < 1e-7
    assert (np.linalg.norm(struck(0 * x, filled=1.0), axis=1) > 0.99).all()


def test_training_alone_is_damaged_and_as_the_place_says():
    c, records = tiny.config(data__train_sampling="mean"), tiny.TinyRecords(videos=8)
    plain = streams.TrainStream(streams.Examples(records, range(8), c.data), 8, 0)
    scored = next(iter(pipeline.EvalBatches(records, range(8), c.data)))
    c.data.damage.update(modality="audio", noise=0.5, dropped=0.2)
    examples = streams.Examples(records, range(8), c.data)
    hurt = streams.TrainStream(examples, 8, 0)
    a, b, again = plain.local_batch(1), hurt.local_batch(1), hurt.local_batch(1)
    np.testing.assert_array_equal(a.features["rgb"], b.features["rgb"])
    assert not np.array_equal(a.features["audio"], b.features["audio"])
    np.testing.assert_array_equal(b.features["audio"], again.features["audio"])
    halves = [streams.TrainStream(examples, 8, 0, (r, 2)).local_batch(1) for r in (0, 1)]
    for r, half in enumerate(halves):  # the same on any number of processes
        np.testing.assert_array_equal(half.features["audio"], b.features["audio"][r::2])
    assert hurt.identity["damage"] == c.data.damage.to_dict() and "damage" not in plain.identity
    other = next(iter(pipeline.EvalBatches(records, range(8), c.data)))
    np.testing.assert_array_equal(scored.features["audio"], other.features["audio"])


def test_an_unknown_modality_is_refused_by_name():
    with pytest.raises(ConfigError, match="damage.modality = 'txt'; did you mean 'text'"):
        damage.check_damage(cfg(modality="txt", noise=1.0), ("i3d_logits", "text"))
    damage.check_damage(cfg(modality="txt"), ("i3d_logits",))
