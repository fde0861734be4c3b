"""What any weakly supervised model must beat on its own test split."""

from types import SimpleNamespace

import numpy as np
import pytest

from gfvad.base.types import ScoredVideo
from gfvad.measure import tables
from gfvad.tasks.fusion import floors


class Split:
    """Prepared records in memory."""

    def __init__(self, labels, spans, seed=0, widths=(("a", 4), ("b", 3))):
        rng, self.labels, self.dims = np.random.default_rng(seed), np.array(labels), dict(widths)
        self.names = tuple(f"v{i}" for i in range(len(labels)))
        self.lengths = rng.integers(2, 5, len(labels))
        self._spans = spans
        self._x = [
            {m: rng.normal(size=(1, n, d)) + label for m, d in widths}
            for n, label in zip(self.lengths, labels)
        ]

    def __len__(self):
        return len(self.names)

    def __getitem__(self, i):
        return SimpleNamespace(features=self._x[i])

    def meta(self, i):
        spans = np.array(self._spans[i], np.int64).reshape(-1, 2)
        facts = {"name": self.names[i], "label": self.labels[i], "spans": spans}
        return SimpleNamespace(num_frames=int(self.lengths[i]) * 16, **facts)


@pytest.mark.parametrize("shape", [(50, 4), (20, 60)])
def test_the_regression_is_sklearns(shape):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not there")
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=shape) * 5 - 1, (np.arange(shape[0]) % 3 == 0).astype(int)
    x[:, 1] = 7.0  # does not vary
    z = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1.0)
    for penalty in (1e-3, 1.0):
        model = linear_model.LogisticRegression(C=penalty, tol=1e-10, max_iter=10_000)
        expected = model.fit(z, labels).decision_function(z)
        found = floors.logistic_regression(x, labels, penalty)
        np.testing.assert_allclose(x @ found.weight - found.offset, expected, atol=1e-4)


def test_floors_of_a_split():
    labels = [0, 1] * 10
    train = Split(labels, [[]] * 20)
    test = Split([0, 1, 1], [[], [0, 16], [16, 32]], 1)
    found = floors.of_splits(train, test)
    regression = floors.REGRESSION.format
    assert set(found) == {
        floors.CENTRE,
        floors.LENGTH,
        floors.LABEL,
        *map(regression, ("a", "b", floors.ALL)),
    }
    units = test.lengths
    for name, scores in found.items():
        assert [len(scores[v]) for v in test.names] == units.tolist(), name
    np.testing.assert_allclose(found[floors.LENGTH]["v0"], -np.log(16.0 * units[0]))
    np.testing.assert_array_equal(found[floors.LABEL]["v2"], np.ones(units[2]))
    bump = found[floors.CENTRE]["v1"]
    np.testing.assert_allclose(bump, bump[::-1])
    # units inside videos are told apart; those of whole videos are not
    means = floors.means_of(train, range(20))
    branch = floors.logistic_regression(means.x["a"], means.labels)
    expected = test[2].features["a"][0] @ branch.weight - branch.offset
    np.testing.assert_allclose(found[regression("a")]["v2"], expected)
    whole = Split([0, 1], [[], [0, 16 * 99]], 1)
    whole.lengths[1], whole._x[1] = 99, {m: np.ones((1, 99, d)) for m, d in whole.dims.items()}
    of_whole = floors.of_splits(train, whole)
    assert floors.LABEL not in of_whole and np.ptp(of_whole[regression("a")]["v0"]) == 0
    assert floors.of_splits(None, test).keys() == {floors.CENTRE, floors.LENGTH, floors.LABEL}


def scored(name, scores, labels):
    spans = np.zeros((0, 2), np.int64)
    return ScoredVideo(name, np.array(scores), np.array(labels), labels[0], (), spans, (), 16, 25.0)


def test_a_model_put_below_its_floor_says_so():
    """A model of chance beside sets that tell the clips."""
    test = Split([0, 1] * 4, [[]] * 8, 3)
    test._spans = [[0, 16 * int(n)] if label else [] for n, label in zip(test.lengths, test.labels)]
    rng = np.random.default_rng(0)
    videos = [
        scored(v, rng.uniform(size=16 * n), np.full(16 * n, label))
        for v, n, label in zip(test.names, test.lengths, test.labels)
    ]
    units = floors.of_splits(Split([0, 1] * 10, [[]] * 20), test)
    found = floors.compared(videos, units, {}, test)
    best = "floor, auc_video/logistic regression on the means of a"
    assert found["named"][best] > 0.9
    head = {"metric": "auc", "value": 0.99, "checkpoint": "last"}
    clips = [
        {"metric": m, "value": 0.3, "checkpoint": "last"}
        for m in ("auc_video", "clip_recall", "clip_false_alarms")
    ]
    first = tables.below_floor({"headline": head, "records": clips, **found})
    assert first.startswith("BELOW ITS FLOOR: logistic regression on the means of")
    assert "clip AUC" in first and "this model 0.3000" in first
    clips[0]["value"] = 1.0
    assert not tables.below_floor({"headline": head, "records": clips, **found})
    # each set alone, by its own branch; of one set there is nothing beside the model
    alone = {m: floors.Linear(np.ones(d), 0.5) for m, d in test.dims.items()}
    single = floors.singles(videos, alone, test)
    assert list(single) == ["this model, a alone", "this model, b alone"]
    expected = test[1].features["b"][0].mean(0).sum() - 0.5
    np.testing.assert_allclose(single["this model, b alone"]["v1"], expected)
    assert floors.singles(videos, {"a": alone["a"]}, test) == {}
    # nothing says more of whole clips than the model's own mean, which is the model
    assert floors.means_of_videos(videos, test) == {}
    test._spans[1] = [0, 16]
    assert list(floors.means_of_videos(videos, test)) == [floors.MEAN]
