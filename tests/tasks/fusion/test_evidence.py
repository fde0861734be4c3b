"""Which feature sets help, by sources that took no part: formulas against plain loops in float64,
symmetries, and what happens to sets that are bad or absent."""

import numpy as np
import pytest

from gfvad.measure.metrics import roc_auc
from gfvad.tasks.fusion import evidence
from gfvad.tasks.fusion.evidence import Videos

RNG = np.random.default_rng


def made_videos(seed=0, count=60, shifts=(("good", 1.2), ("weak", 0.5), ("noise", 0.0))):
    """Videos of 12 sources with 1 to 4 units; each source moves all features."""
    rng = RNG(seed)
    labels, sources = np.arange(count) % 2, rng.integers(0, 12, count)
    video = np.repeat(np.arange(count), rng.integers(1, 5, count))
    units = {}
    for name, shift in shifts:
        place, direction = rng.normal(size=(12, 6)), np.array([1, -1, 0.5, 0, 0, 0])
        x = shift * labels[video][:, None] * direction + 0.3 * place[sources[video]]
        units[name] = x + rng.normal(size=x.shape)
    return Videos(units, video, labels, sources)


def test_weights_of_videos():
    labels, sources = np.array([0, 0, 0, 1, 1, 0]), np.array([7, 7, 7, 7, 3, 4])
    weights = evidence.balanced(labels, sources)
    root = 1 / np.sqrt(3)
    normal = np.array([root, root, root, 1.0]) / (3 * root + 1) / 2
    np.testing.assert_allclose(weights[[0, 1, 2, 5]], normal)
    np.testing.assert_allclose(weights[[3, 4]], 0.25)


@pytest.mark.parametrize("shape", [(40, 5), (12, 30)])
def test_a_branch_is_sklearns(shape):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not there")
    rng = RNG(1)
    x, labels = rng.normal(size=shape) * 3 + 2, np.arange(shape[0]) % 2
    x[:, 0] += labels
    weights, penalty = evidence.balanced(labels, np.arange(shape[0])), 3.0
    mean = sum(w * row for w, row in zip(weights, x))
    deviation = np.sqrt(sum(w * (row - mean) ** 2 for w, row in zip(weights, x)))
    z = (x - mean) / deviation / np.sqrt(shape[1])
    model = linear_model.LogisticRegression(
        C=penalty * shape[0], fit_intercept=False, tol=1e-10, max_iter=10_000
    ).fit(z, labels, sample_weight=weights)
    expected = z @ model.coef_[0]
    expected /= np.sqrt(weights @ expected**2)
    branch = evidence.linear_branch(x, labels, weights, penalty)
    np.testing.assert_allclose(x @ branch.weight - branch.offset, expected, atol=2e-3)


def test_a_branch_does_not_depend_on_scale_and_offset():
    rng = RNG(2)
    x, labels = rng.normal(size=(20, 4)), np.arange(20) % 2
    weights = evidence.balanced(labels, np.arange(20))
    one = evidence.linear_branch(x, labels, weights, 1.0)
    scale, offset = np.array([1.0, 9.0, 0.1, 3.0]), rng.normal(size=4)
    other = evidence.linear_branch(x * scale + offset, labels, weights, 1.0)
    found = (x * scale + offset) @ other.weight - other.offset
    np.testing.assert_allclose(found, x @ one.weight - one.offset, atol=1e-4)
    # features that do not vary say nothing
    still = evidence.linear_branch(np.ones((20, 4)), labels, weights, 1.0)
    np.testing.assert_array_equal(still.weight, 0.0)


def test_highest_units():
    video = np.array([0, 0, 0, 0, 1, 1, 2])
    scores = np.array([1.0, 4.0, 3.0, 2.0, 0.0, 5.0, 9.0])
    there = np.ones(7, bool)
    pick = lambda kept, divisor: evidence.highest(scores, video, kept, divisor).nonzero()[0]
    assert pick(there, 2).tolist() == [1, 2, 5, 6] and pick(there, 1).tolist() == list(range(7))
    there[[1, 6]] = False
    assert pick(there, 9).tolist() == [2, 5]


def test_held_out_scores_see_nothing_of_their_source():
    videos = made_videos()
    fitting = evidence.Fitting(videos.units["good"], videos, 1)
    found = evidence.out_of_fold(fitting, 3.0)
    for source in np.unique(videos.sources):
        held = videos.sources == source
        changed = videos.units["good"].copy()
        changed[held[videos.video]] += 100.0  # whatever they are, the others' branch is the same
        branch = evidence.Fitting(changed, videos, 1).branch(~held, 3.0)
        np.testing.assert_allclose(fitting.scores(branch)[held], found[held])
    many = evidence.folds(np.arange(100))
    assert len(many) == evidence.FOLDS and np.sum(many) == 100


def test_what_helps_counts_and_what_does_not_is_left_out():
    found = evidence.judge(made_videos())
    sets = found.sets
    assert sets["noise"].weight == 0 and "noise" not in found.branches
    assert sets["good"].weight > 0.5 and sets["good"].auc > sets["weak"].auc > sets["noise"].auc
    assert found.auc >= sets["good"].auc and found.sources == 12
    assert sum(s.weight for s in sets.values()) == pytest.approx(1.0)
    # two sets that say the same of different noise are better together, and share the weight
    two = evidence.judge(made_videos(3, 120, (("a", 0.7), ("b", 0.7))))
    assert min(s.weight for s in two.sets.values()) > 0.2
    assert two.auc > max(s.auc for s in two.sets.values())
    for name, rest in (("a", "b"), ("b", "a")):
        assert two.sets[name].without == pytest.approx(two.sets[rest].auc)


def test_nothing_is_above_chance():
    found = evidence.judge(made_videos(4, 40, (("x", 0.0), ("y", 0.0))))
    assert sum(s.weight > 0 for s in found.sets.values()) <= 1
    # the kinds are upside down on every second source: nothing is known, and nothing is said
    count = 40
    labels, sources = np.arange(count) % 2, np.arange(count) // 2 % 2
    x = np.where(labels == sources, 1.0, -1.0)[:, None] + 0.1 * RNG(7).normal(size=(count, 1))
    found = evidence.judge(Videos({"x": x}, np.arange(count), labels, sources))
    assert found.sets["x"].auc < 0.5 and found.sets["x"].weight == 0 and not found.branches


def test_a_set_that_most_videos_lack():
    videos = made_videos()
    x = videos.units["good"].copy()
    x[videos.video % 3 > 0] = 0.0
    fitting = evidence.Fitting(x, videos, 1)
    scores = fitting.scores(fitting.branch(np.ones(60, bool), 1.0))
    assert (scores[np.arange(60) % 3 > 0] == 0).all() and scores[::3].all()
    one = evidence.judge(videos._replace(sources=np.zeros(60, int)))
    assert one.sources == 60  # each video is held out by itself


def test_mixes():
    np.testing.assert_allclose(evidence.mixed([0.9, 0.7], 0.0), [1, 0])
    np.testing.assert_allclose(evidence.mixed([0.9, 0.7], 0.5), [0.8, 0.2])
    np.testing.assert_allclose(evidence.mixed([0.9, 0.7], 1.0), [0.5, 0.5])
    np.testing.assert_allclose(evidence.mixed([0.9, 0.7], 0.75), [0.65, 0.35])
    np.testing.assert_allclose(evidence.mixed([0.4, 0.3], 0.5), [1, 0])
    assert evidence.best_mix(["a", "b"], lambda mix: 0.8 + 0.004 * mix) == 0.0
    assert evidence.best_mix(["a", "b"], lambda mix: 0.8 + 0.1 * mix) == 1.0


def test_platt():
    rng = RNG(5)
    labels = np.arange(400) % 2
    scores = rng.normal(size=400) + labels * 2 - 1  # the logit is 2 x
    slope, constant = evidence.platt(scores, labels, np.full(400, 1 / 400))
    assert slope == pytest.approx(2.0, abs=0.3) and constant == pytest.approx(0.0, abs=0.3)
    assert evidence.platt(-scores, labels, np.full(400, 1 / 400))[0] == 0.0
    assert np.isfinite(evidence.platt(labels * 10.0, labels, np.full(400, 1 / 400))).all()


def test_events_inside_videos():
    """With a divisor, an abnormal video is judged by its highest units."""
    rng, count = RNG(6), 60
    labels = np.arange(count) % 2
    video = np.repeat(np.arange(count), 16)
    event = (np.tile(np.arange(16), count) < 2) & (labels[video] == 1)
    x = rng.normal(size=(len(video), 5)) + 2.5 * event[:, None] * np.array([1, 1, 0, 0, 0])
    videos = Videos({"x": x}, video, labels, np.arange(count))
    found = evidence.judge(videos, 8)
    scores = x @ found.branches["x"].weight
    assert roc_auc(scores, event) > 0.97
    assert found.auc > evidence.judge(videos, 1).auc
