"""Frame metrics against scikit-learn on random scores with ties, and their limit cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from gfvad.base.types import DataError
from gfvad.measure import metrics

EXACT = 1e-9


@st.composite
def weighted_scores(draw):
    """Scores with ties (few distinct values), both classes present, integer weights."""
    n = draw(st.integers(2, 60))
    scores = draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n))
    labels = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    weights = draw(st.lists(st.integers(1, 40), min_size=n, max_size=n))
    labels[0], labels[1] = True, False
    scale = draw(st.sampled_from([1.0, 0.1, 1 / 3, 1e-8, 1e6]))
    return np.array(scores) * scale, np.array(labels), np.array(weights)


def by_hand_auc(scores, labels, weights):
    """Pairs of (positive, negative) in order, ties half."""
    total = won = 0.0
    for s, w in zip(scores[labels], weights[labels]):
        for t, v in zip(scores[~labels], weights[~labels]):
            total += w * v
            won += w * v * (1.0 if s > t else 0.5 if s == t else 0.0)
    return won / total


def by_hand_eer(scores, labels, weights):
    """Walks along the ROC curve of scikit-learn until misses are no more than false alarms."""
    alarm, hit, _ = sk.roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    for i in range(1, len(alarm)):
        a, b = alarm[i - 1] - (1 - hit[i - 1]), alarm[i] - (1 - hit[i])
        if b >= 0:
            return alarm[i - 1] + (-a / (b - a)) * (alarm[i] - alarm[i - 1])
    raise AssertionError("the curve ends at (1, 1)")


@settings(max_examples=150, deadline=None)
@given(weighted_scores())
def test_agrees_with_scikit_learn(case):
    scores, labels, weights = case
    for w in (weights, None):
        assert metrics.roc_auc(scores, labels, w) == pytest.approx(
            sk.roc_auc_score(labels, scores, sample_weight=w), abs=EXACT
        )
        ap = sk.average_precision_score(labels, scores, sample_weight=w)
        assert metrics.average_precision(scores, labels, w) == pytest.approx(ap, abs=EXACT)
        precision, recall, _ = sk.precision_recall_curve(labels, scores, sample_weight=w)
        assert metrics.pr_trapezoid(scores, labels, w) == pytest.approx(
            sk.auc(recall, precision), abs=EXACT
        )
        ones = np.ones(len(scores)) if w is None else w
        assert metrics.equal_error_rate(scores, labels, w) == pytest.approx(
            by_hand_eer(scores, labels, ones), abs=EXACT
        )
        assert metrics.roc_auc(scores, labels, w) == pytest.approx(
            by_hand_auc(scores, labels, ones), abs=EXACT
        )


@settings(max_examples=60, deadline=None)
@given(weighted_scores(), st.randoms(use_true_random=False))
def test_weights_are_repetitions_and_order_does_not_matter(case, random):
    scores, labels, weights = case
    order = list(range(len(scores)))
    random.shuffle(order)
    whole = metrics.ranking_metrics(
        metrics.cumulative_counts(np.repeat(scores, weights), np.repeat(labels, weights))
    )
    runs = metrics.ranking_metrics(
        metrics.cumulative_counts(scores[order], labels[order], weights[order])
    )
    assert runs == pytest.approx(whole, abs=1e-12)


def test_large_random_scores_with_ties():
    rng = np.random.default_rng(0)
    labels = rng.random(200_000) < 0.2
    scores = np.round(rng.normal(size=200_000) + labels, 2).astype(np.float32)
    assert metrics.roc_auc(scores, labels) == pytest.approx(
        sk.roc_auc_score(labels, scores), abs=EXACT
    )
    assert metrics.average_precision(scores, labels) == pytest.approx(
        sk.average_precision_score(labels, scores), abs=EXACT
    )


def test_limit_cases():
    labels = np.array([0, 0, 1, 1])
    perfect = metrics.ranking_metrics(metrics.cumulative_counts(labels.astype(float), labels))
    assert perfect == {"auc": 1.0, "ap": 1.0, "pr_trapezoid": 1.0, "eer": 0.0}
    constant = metrics.ranking_metrics(metrics.cumulative_counts(np.full(4, 0.3), labels))
    # the trapezoid from (0, 1) flatters a constant score
    assert constant == {"auc": 0.5, "ap": 0.5, "pr_trapezoid": 0.75, "eer": 0.5}
    assert metrics.equal_error_rate(-labels.astype(float), labels) == 1.0


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_one_class_is_undefined(labels):
    values = metrics.ranking_metrics(
        metrics.cumulative_counts(np.array([0.1, 0.2, 0.2]), np.array(labels))
    )
    assert all(np.isnan(v) for v in values.values())
    assert all(
        np.isnan(v)
        for v in metrics.ranking_metrics(
            metrics.cumulative_counts(np.zeros(0), np.zeros(0))
        ).values()
    )


def test_zero_weights_count_for_nothing():
    scores, labels, weights = (
        np.array([0.9, 0.8, 0.4, 0.1]),
        np.array([0, 1, 0, 1]),
        np.array([0, 3, 5, 2]),
    )
    assert metrics.roc_auc(scores, labels, weights) == metrics.roc_auc(
        scores[1:], labels[1:], weights[1:]
    )


def test_false_alarm_rate():
    # at the threshold is an alarm
    assert metrics.false_alarm_rate(np.array([0.2, 0.5, 0.9, 0.4])) == 0.5
    assert metrics.false_alarm_rate(np.array([0.2, 0.7]), np.array([30, 10])) == 0.25
    assert np.isnan(metrics.false_alarm_rate(np.zeros(0)))


@pytest.mark.parametrize(
    "scores, labels, weights, message",
    [
        ([0.1, np.nan], [0, 1], None, "1 of 2 scores are not finite"),
        ([0.1, np.inf], [0, 1], None, "not finite"),
        ([0.1, 0.2], [0, 2], None, "expected only 0"),
        ([0.1, 0.2], [0, 1, 1], None, "equal length"),
        ([0.1, 0.2], [0, 1], [1, -1], "0 or more"),
    ],
)
def test_bad_input(scores, labels, weights, message):
    with pytest.raises(DataError, match=message):
        metrics.roc_auc(
            np.array(scores), np.array(labels), None if weights is None else np.array(weights)
        )
