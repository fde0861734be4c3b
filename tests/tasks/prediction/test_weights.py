"""Weights of the terms, chosen on labelled synthetic events."""

import numpy as np
import pytest

from gfvad.measure.metrics import roc_auc
from gfvad.tasks.prediction import term_weights
from gfvad.tasks.prediction.score_terms import combine


def videos(separation, count=6, frames=200, seed=0):
    """Videos with an event in their middle; separation: how far each term's mean moves in it, in
    standard deviations."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        labels = np.zeros(frames, np.uint8)
        labels[80:130] = 1
        found.append(
            (
                {
                    n: rng.standard_normal(frames) + shift * labels
                    for n, shift in separation.items()
                },
                labels,
            )
        )
    return found


def auc(chosen, data):
    return roc_auc(
        np.concatenate([combine(t, chosen) for t, _ in data]), np.concatenate([y for _, y in data])
    )


def test_informative_term_is_picked_and_noise_dropped():
    data = videos({"noise": 0.0, "good": 2.0, "worse": -1.0})
    found = term_weights.choose(data)
    assert (
        found.weights["good"] > 0
        and found.weights["worse"] == 0
        and found.weights["noise"] <= 0.25 * found.weights["good"]
    )
    assert found.auc == pytest.approx(auc(found.weights, data)) and found.auc > auc(
        dict.fromkeys(found.weights, 1.0), data
    )
    for name, value in found.alone.items():
        assert value == pytest.approx(
            roc_auc(
                np.concatenate([t[name] for t, _ in data]), np.concatenate([y for _, y in data])
            )
        )
    assert found.auc >= found.alone["good"] and list(found.weights) == ["noise", "good", "worse"]


def test_two_equal_terms_are_both_kept():
    found = term_weights.choose(videos({"a": 1.0, "b": 1.0}))
    assert 0.5 <= found.weights["a"] / found.weights["b"] <= 2.0 and found.auc > max(
        found.alone.values()
    )


def test_weights_stay_equal_where_nothing_separates():
    same = videos({"a": 0.0, "b": 0.0})
    for constant in (
        [({"a": np.zeros(50), "b": np.zeros(50)}, np.arange(50) % 2)],
        [(t, np.zeros_like(y)) for t, y in same],
    ):
        assert term_weights.choose(constant).weights == {"a": 1.0, "b": 1.0}
    # no event: nothing to choose by
    assert np.isnan(term_weights.choose([(t, np.zeros_like(y)) for t, y in same]).auc)


def test_one_term():
    found = term_weights.choose(videos({"a": 1.0}))
    assert (
        set(found.weights) == {"a"}
        and found.weights["a"] > 0
        and found.auc == pytest.approx(found.alone["a"])
    )


def test_order_of_videos_and_terms_does_not_matter():
    data = videos({"noise": 0.0, "good": 2.0, "fair": 1.0})
    found = term_weights.choose(data)
    assert term_weights.choose(data[::-1]) == found
    turned = term_weights.choose([(dict(reversed(t.items())), y) for t, y in data])
    assert turned.weights == found.weights and turned.auc == found.auc


def test_nothing_on_the_grid_is_better():
    """Against every point of the grid, those included whose largest weight is not 1."""
    data = videos({"noise": 0.0, "good": 1.5, "fair": 0.7}, count=3)
    found = term_weights.choose(data)
    grid = [
        (a, b, c)
        for a in term_weights.GRID
        for b in term_weights.GRID
        for c in term_weights.GRID
        if a + b + c > 0
    ]
    best = max(auc(dict(zip(("noise", "good", "fair"), w)), data) for w in grid)
    assert found.auc > best - term_weights.AS_GOOD and max(found.weights.values()) == 1.0
