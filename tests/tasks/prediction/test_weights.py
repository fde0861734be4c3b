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


def on_grid(data):
    """By the rule `grid`, the events of one kind."""
    named = [(t, ["event" if x else "" for x in y]) for t, y in data]
    return term_weights.choose(named, "grid")


def auc(chosen, data):
    return roc_auc(
        np.concatenate([combine(t, chosen) for t, _ in data]), np.concatenate([y for _, y in data])
    )


def test_informative_term_is_picked_and_noise_dropped():
    data = videos({"noise": 0.0, "good": 2.0, "worse": -1.0})
    found = on_grid(data)
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
    found = on_grid(videos({"a": 1.0, "b": 1.0}))
    assert 0.5 <= found.weights["a"] / found.weights["b"] <= 2.0 and found.auc > max(
        found.alone.values()
    )


def test_weights_stay_equal_where_nothing_separates():
    same = videos({"a": 0.0, "b": 0.0})
    for constant in (
        [({"a": np.zeros(50), "b": np.zeros(50)}, np.arange(50) % 2)],
        [(t, np.zeros_like(y)) for t, y in same],
    ):
        assert on_grid(constant).weights == {"a": 1.0, "b": 1.0}
    # no event: nothing to choose by
    assert np.isnan(on_grid([(t, np.zeros_like(y)) for t, y in same]).auc)


def test_one_term():
    found = on_grid(videos({"a": 1.0}))
    assert (
        set(found.weights) == {"a"}
        and found.weights["a"] > 0
        and found.auc == pytest.approx(found.alone["a"])
    )


def test_order_of_videos_and_terms_does_not_matter():
    data = videos({"noise": 0.0, "good": 2.0, "fair": 1.0})
    found = on_grid(data)
    assert on_grid(data[::-1]) == found
    turned = on_grid([(dict(reversed(t.items())), y) for t, y in data])
    assert turned.weights == found.weights and turned.auc == found.auc


def test_nothing_on_the_grid_is_better():
    """Against every point of the grid, those included whose largest weight is not 1."""
    data = videos({"noise": 0.0, "good": 1.5, "fair": 0.7}, count=3)
    found = on_grid(data)
    grid = [
        (a, b, c)
        for a in term_weights.GRID
        for b in term_weights.GRID
        for c in term_weights.GRID
        if a + b + c > 0
    ]
    best = max(auc(dict(zip(("noise", "good", "fair"), w)), data) for w in grid)
    assert found.auc > best - term_weights.AS_GOOD and max(found.weights.values()) == 1.0


# ---- by skill


def of_kinds(shifts, count=12, frames=120, seed=0):
    """Copies with an event of each kind in turn; shifts: {kind: {term: how far it moves}}."""
    rng, found = np.random.default_rng(seed), []
    names = list(dict.fromkeys(n for moved in shifts.values() for n in moved))
    for i in range(count * len(shifts)):
        kind = list(shifts)[i % len(shifts)]
        kinds = [""] * 40 + [kind] * 50 + [""] * 30
        inside = np.array([bool(k) for k in kinds])
        terms = {n: rng.standard_normal(frames) + shifts[kind].get(n, 0.0) * inside for n in names}
        found.append((terms, kinds))
    return found


def term_auc(data, name):
    labels = np.concatenate([[bool(k) for k in kinds] for _, kinds in data])
    return roc_auc(np.concatenate([terms[name] for terms, _ in data]), labels)


def test_a_term_is_judged_by_what_it_sees_best():
    """Each of two terms sees two kinds of four, a third sees none."""
    moves, stands = {"a": 3.0, "b": 0.0, "c": 0.0}, {"b": 3.0}
    data = of_kinds({"pace": moves, "object": moves, "left": stands, "lights": stands})
    found = term_weights.choose(data)
    assert found.weights["a"] > 0.95 and found.weights["b"] > 0.95 and found.weights["c"] < 0.3
    assert set(found.kinds) == {"pace", "object", "left", "lights"}
    assert found.kinds["pace"]["a"] > 0.95 > 0.6 > found.kinds["left"]["a"]
    # all together neither is as good as on what it sees
    assert max(found.alone.values()) < 0.85


def test_weights_by_hand():
    kinds = {
        "x": {"a": 0.9, "speed": 0.6},
        "y": {"a": 0.4, "speed": 0.7},
        "z": {"a": 0.8, "speed": 0.1},
    }
    found = term_weights.by_skill(["a", "speed"], kinds, {"x": 12, "y": 4, "z": 6})
    # a sees x and z best, speed y and x
    assert found["a"] == pytest.approx((4 + 9 * 0.7**2) / 13)
    assert found["speed"] == pytest.approx(2.5 * (4 + 8 * 0.3**2) / 12)


def test_few_events_move_the_weights_little():
    kinds = {"x": {"a": 1.0, "b": 0.5}}
    apart = [
        (lambda w: w["a"] - w["b"])(term_weights.by_skill(["a", "b"], kinds, {"x": n}))
        for n in (1, 4, 40, 4000)
    ]
    assert apart == sorted(apart) and apart[0] < 0.25 and apart[-1] > 0.99


def test_without_events_the_prior_stands():
    quiet = [({"a": np.zeros(9), "speed": np.ones(9)}, [""] * 9)]
    found = term_weights.choose(quiet)
    assert found.weights == {"a": 0.4, "speed": 1.0} and np.isnan(found.auc) and not found.kinds


def test_worse_than_chance_is_no_skill():
    data = of_kinds({"x": {"good": 3.0, "turned": -3.0, "blind": 0.0}}, count=30)
    found = term_weights.choose(data).weights
    good = term_weights.by_skill(["good"], {"x": {"good": term_auc(data, "good")}}, {"x": 30})
    assert found["turned"] == pytest.approx(4 / 34 / good["good"], abs=1e-3)
    assert found["turned"] <= found["blind"] <= found["good"] == 1.0


def test_events_are_counted_by_runs():
    kinds = ["x", "x", "", "x", "y", "y", ""]
    videos = [({"a": np.zeros(7)}, kinds)] * 2
    assert term_weights.count_events(videos, "x") == 4
    assert term_weights.count_events(videos, "y") == 2
