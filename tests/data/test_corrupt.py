"""Damage to a modality: what it does to one video, that it is the same every time, and where in
the pipeline it strikes."""

import numpy as np
import pytest
import tiny

from gfvad import tasks
from gfvad.base.types import ConfigError
from gfvad.data import corrupt, pipeline, streams


def settings(**changes):
    c = tiny.config()
    c.data.corruption.update({"at": "both", "modality": "rgb", "amount": 1.0, **changes})
    return c


def read(records, config):
    return corrupt.reader(lambda i: dict(records[i].features), records, config.data.corruption)


@pytest.fixture
def records():
    return tiny.TinyRecords(videos=12)


def test_none_changes_nothing(records):
    plain = lambda i: records[i].features
    assert corrupt.reader(plain, records, tiny.config().data.corruption) is plain
    assert corrupt.reader(plain, records, None) is plain
    # these are training videos
    assert corrupt.reader(plain, records, settings(at="test").data.corruption) is plain
    assert corrupt.reader(plain, records, settings(at="train").data.corruption) is not plain


@pytest.mark.parametrize(
    "kind, amount", [("missing", 1.0), ("noise", 0.5), ("shift", 2.0), ("swap", 1.0)]
)
def test_only_the_named_modality_is_changed_and_always_alike(records, kind, amount):
    config = settings(kind=kind, amount=amount)
    once, again = read(records, config), read(records, config)
    for i in range(len(records)):
        before, after = records[i].features, once(i)
        np.testing.assert_array_equal(after["audio"], before["audio"])
        np.testing.assert_array_equal(after["rgb"], again(i)["rgb"])
        assert (
            after["rgb"].shape == before["rgb"].shape and after["rgb"].dtype == before["rgb"].dtype
        )
        assert (after["rgb"] != before["rgb"]).any()


def test_missing_is_zero_for_a_share_that_grows():
    """A larger share hits all that a smaller one does, and about as many as it says."""
    records = tiny.TinyRecords(videos=200, longest=5)
    gone = [
        {
            i
            for i in range(200)
            if not read(records, settings(kind="missing", amount=amount))(i)["rgb"].any()
        }
        for amount in (0.0, 0.3, 0.6, 1.0)
    ]
    assert gone[0] < gone[1] < gone[2] < gone[3] and len(gone[0]) == 0 and len(gone[3]) == 200
    assert abs(len(gone[1]) - 60) < 20 and abs(len(gone[2]) - 120) < 20


def test_noise_has_the_strength_asked_for_and_leaves_absent_units():
    x = np.full((1, 2000, 8), 3.0, np.float32)
    x[:, :100] = 0.0
    noise = corrupt.noisy(x, 0.5, np.random.default_rng(0)) - x
    scale = np.sqrt(np.square(x).mean())
    assert not noise[:, :100].any() and abs(noise[:, 100:].std() / scale - 0.5) < 0.01
    np.testing.assert_array_equal(corrupt.noisy(x, 0.0, np.random.default_rng(0)), x)


def test_shift_holds_the_end_where_nothing_came():
    x = np.arange(5.0).reshape(1, 5, 1)
    assert corrupt.shifted(x, 2).ravel().tolist() == [0, 0, 0, 1, 2]
    assert corrupt.shifted(x, -1).ravel().tolist() == [1, 2, 3, 4, 4]
    assert (
        corrupt.shifted(x, 0).ravel().tolist() == [0, 1, 2, 3, 4]
        and corrupt.shifted(x, 9).ravel().tolist() == [0] * 5
    )


def test_swap_takes_another_video_at_this_ones_length(records):
    swapped = read(records, settings(kind="swap"))
    for i in range(len(records)):
        x, n = swapped(i)["rgb"], records.lengths[i]
        others = [
            corrupt.like(records[j].features["rgb"], records[i].features["rgb"])
            for j in range(len(records))
            if j != i
        ]
        assert any(np.array_equal(x, other) for other in others) and x.shape[1] == n
    assert (
        corrupt.like(np.arange(4.0).reshape(1, 4, 1), np.zeros((2, 7, 1)))[:, :, 0].tolist()
        == [[0, 0, 1, 2, 2, 2, 3]] * 2
    )


def test_it_strikes_in_training_and_evaluation(records):
    """Training batches and evaluation batches of the split hold the damaged features, masks and
    labels stay."""
    plain, damaged = tiny.config(), settings(kind="missing")
    for name, make in (
        (
            "train",
            lambda c: streams.TrainStream(
                streams.Examples(records, range(12), c.data), 8, 0
            ).local_batch(0),
        ),
        ("eval", lambda c: next(iter(pipeline.EvalBatches(records, range(12), c.data)))),
    ):
        a, b = make(plain), make(damaged)
        assert a.features["rgb"].any() and not b.features["rgb"].any(), name
        np.testing.assert_array_equal(a.features["audio"], b.features["audio"])
        np.testing.assert_array_equal(a.mask, b.mask)
        np.testing.assert_array_equal(a.video, b.video)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"at": "tests"}, "corruption.at = 'tests'; did you mean 'test'"),
        ({"kind": "noisy"}, "corruption.kind = 'noisy'; did you mean 'noise'"),
        ({"modality": "rbg"}, "corruption.modality = 'rbg'; did you mean 'rgb'"),
        (
            {"kind": "missing", "amount": 1.5},
            "corruption.amount = 1.5: expected the share of videos that are missing",
        ),
        ({"kind": "noise", "amount": -1.0}, "corruption.amount = -1.0: expected a noise"),
        (
            {"kind": "shift", "amount": 1.5},
            "corruption.amount = 1.5: expected a whole number of units",
        ),
    ],
)
def test_wrong_settings_are_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=message):
        tasks.check(settings(**changes))
    tasks.check(settings())
