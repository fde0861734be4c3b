"""Static lengths, shuffling order and validation split, against loops written out."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvad.base.types import ConfigError
from gfvad.data import sampling

SIZES = {"n": st.integers(1, 700), "target": st.integers(1, 250)}


@settings(deadline=None, max_examples=60)
@given(**SIZES)
def test_uniform(n, target):
    units = sampling.sample_units(n, target, "uniform")
    assert units.mask.sum() == min(n, target) and units.mask[: min(n, target)].all()
    if n <= target:
        assert units.start[:n].tolist() == list(range(n))
    else:
        assert units.start.tolist() == [int(x) for x in np.linspace(0, n - 1, target)]
        assert units.start[0] == 0 and (target == 1 or units.start[-1] == n - 1)
        assert len(set(units.start.tolist())) == target  # no unit twice
    assert (units.stop - units.start == units.mask).all()


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 99), **SIZES)
def test_window(n, target, seed):
    units = sampling.sample_units(n, target, "window", np.random.default_rng(seed))
    kept = units.start[units.mask]
    assert (
        kept[0] >= 0 and kept[-1] < n and (np.diff(kept) == 1).all() and len(kept) == min(n, target)
    )
    if n <= target:
        assert kept[0] == 0


def test_window_reaches_both_ends():
    rng = np.random.default_rng(0)
    starts = {int(sampling.sample_units(12, 10, "window", rng).start[0]) for _ in range(60)}
    assert starts == {0, 1, 2}


@settings(deadline=None, max_examples=60)
@given(**SIZES)
def test_mean_against_a_loop(n, target):
    x = np.random.default_rng(n).normal(size=(2, n, 3)).astype(np.float16)
    units = sampling.sample_units(n, target, "mean")
    edges = np.linspace(0, n, target + 1, dtype=int)
    expected = np.zeros((2, target, 3))
    for k in range(target):
        part = (
            x[:, edges[k] : edges[k + 1]]
            if edges[k] < edges[k + 1]
            else x[:, edges[k] : edges[k] + 1]
        )
        expected[:, k] = part.astype(np.float64).mean(axis=1)
    got = sampling.take(x, units)
    assert units.mask.all() and got.dtype == np.float32 and got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


def test_mean_of_a_long_video_uses_every_unit_once():
    units = sampling.sample_units(103, 10, "mean")
    assert [u for a, b in zip(units.start, units.stop) for u in range(a, b)] == list(range(103))


def test_mean_of_the_same_length_is_the_video():
    x = np.random.default_rng(0).normal(size=(1, 32, 4)).astype(np.float32)
    np.testing.assert_array_equal(sampling.take(x, sampling.sample_units(32, 32, "mean")), x)


def test_take_and_pad():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float16)
    taken = sampling.take(x, sampling.sample_units(3, 5, "uniform"))
    np.testing.assert_array_equal(taken, sampling.pad(x, 5))
    assert taken.dtype == np.float32 and not taken[:, 3:].any()
    np.testing.assert_array_equal(taken[:, :3], x.astype(np.float32))


def test_unknown_mode():
    with pytest.raises(ConfigError, match="uniform, window, mean"):
        sampling.sample_units(3, 2, "first")


@settings(deadline=None, max_examples=100)
@given(
    n=st.integers(1, 5000),
    lengths=st.lists(st.integers(1, 900), min_size=1, max_size=4, unique=True),
)
def test_windows_hold_every_unit_once(n, lengths):
    found = sampling.windows(n, lengths)
    assert [u for w in found for u in range(w.start, w.start + w.count)] == list(range(n))
    for w in found:
        assert w.length == min(length for length in lengths if length >= w.count)
    assert len(found) == -(-n // max(lengths))  # as few as possible
    assert max(w.count for w in found) - min(w.count for w in found) <= 1


def test_windows_by_hand():
    assert sampling.windows(200, (200, 400, 800)) == [(0, 200, 200)]
    assert sampling.windows(201, (800, 200, 400)) == [(0, 201, 400)]
    assert sampling.windows(801, (200, 400, 800)) == [(0, 400, 400), (400, 401, 800)]


def test_epoch_order():
    first, again, later, other = (
        sampling.epoch_order(50, *key) for key in ((3, 0, 0), (3, 0, 0), (3, 0, 1), (3, 1, 0))
    )
    assert sorted(first) == list(range(50)) and (first == again).all()
    assert (first != later).any() and (first != other).any()


def _names(n):
    return [f"video {i}" for i in range(n)]


@settings(deadline=None, max_examples=50)
@given(
    labels=st.lists(st.integers(-1, 1), min_size=1, max_size=60),
    fraction=st.floats(0, 0.95),
    seed=st.integers(0, 9),
)
def test_split_validation(labels, fraction, seed):
    names = _names(len(labels))
    train, validation = sampling.split_validation(names, labels, fraction)
    assert sorted([*train, *validation]) == list(range(len(labels)))
    for label in set(labels):
        size, held = labels.count(label), sum(labels[i] == label for i in validation)
        nearest = min(int(np.floor(fraction * size + 0.5)), size - 1)
        assert held == (max(nearest, 1) if fraction > 0 and size >= 2 else 0)
    order = np.random.default_rng(seed).permutation(len(labels))
    _, shuffled = sampling.split_validation(
        [names[i] for i in order], [labels[i] for i in order], fraction
    )
    assert {names[order[i]] for i in shuffled} == {names[i] for i in validation}


def test_split_validation_by_hand():
    names, labels = _names(20), [0] * 10 + [1] * 10
    _, validation = sampling.split_validation(names, labels, 0.2)
    by_hash = sorted(range(20), key=lambda i: hashlib.sha256(names[i].encode()).hexdigest())
    expected = [i for i in by_hash if labels[i] == 0][:2] + [i for i in by_hash if labels[i] == 1][
        :2
    ]
    assert validation.tolist() == sorted(expected) and validation.dtype == np.int64
    train, validation = sampling.split_validation(names, labels, 0)
    assert train.tolist() == list(range(20)) and not len(validation)


@pytest.mark.parametrize(
    "fraction, size, held",
    [
        (0.25, 7, 2),
        (0.25, 10, 3),
        (0.5, 3, 2),
        (0.3, 8, 2),
        (0.3, 9, 3),
        (0.01, 9, 1),
        (0.95, 4, 3),
    ],
)
def test_split_validation_rounds_to_the_nearest(fraction, size, held):
    """1.75 -> 2, a half up, 2.4 -> 2, 2.7 -> 3; at least one held out and one to train on."""
    assert len(sampling.split_validation(_names(size), [1] * size, fraction)[1]) == held


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_split_validation_refuses(fraction):
    with pytest.raises(ConfigError, match="validation_fraction"):
        sampling.split_validation(["a"], [0], fraction)


@pytest.mark.parametrize("n, target", [(1, 4), (5, 8), (8, 8), (9, 4)])
def test_every_segment_of_means_holds_a_unit(n, target):
    units = sampling.sample_units(n, target, "mean")
    assert (
        (units.stop > units.start).all()
        and units.start.min() == 0
        and units.stop.max() == n
        and units.mask.all()
    )
