"""Per class and per video: against counting pairs, and that the parts make up the whole."""

import numpy as np
import pytest

from gfvad.measure import breakdown
from gfvad.measure.metrics import roc_auc

CLASSES = {"a": ("Fighting",), "b": ("Fighting", "Arson"), "c": (), "d": ()}


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    labels = {
        "a": np.array([0, 1, 1, 0]),
        "b": np.array([1, 0, 0]),
        "c": np.zeros(5, int),
        "d": np.zeros(2, int),
    }
    scores = {name: rng.integers(0, 4, len(y)) / 4 for name, y in labels.items()}  # with ties
    return scores, labels


def test_shares_are_those_of_counted_pairs_and_sum_to_one_minus_auc(problem):
    scores, labels = problem
    found = breakdown.lost_shares(scores, labels)
    frames = [(name, z, y) for name in labels for z, y in zip(scores[name], labels[name])]
    expected, pairs = {name: np.zeros(2) for name in labels}, 0
    for p, zp, yp in frames:
        for q, zq, yq in frames:
            if yp and not yq:
                pairs += 1
                lost = 0.5 * (zq >= zp) + 0.5 * (zq > zp)
                expected[p][0] += lost / 2
                expected[q][1] += lost / 2
    for name in labels:
        np.testing.assert_allclose(found[name], expected[name] / pairs, atol=1e-12)
    auc = roc_auc(
        np.concatenate([scores[n] for n in labels]), np.concatenate([labels[n] for n in labels])
    )
    assert sum(map(sum, found.values())) == pytest.approx(1 - auc)


def test_class_auc_is_of_its_videos_and_all_normal_ones(problem):
    scores, labels = problem
    found = breakdown.class_auc(scores, labels, CLASSES)
    assert list(found) == ["Arson", "Fighting"] and [n for n, _ in found.values()] == [1, 2]
    names = ["b", "c", "d"]
    assert found["Arson"][1] == pytest.approx(
        roc_auc(
            np.concatenate([scores[n] for n in names]), np.concatenate([labels[n] for n in names])
        )
    )


def test_tables_name_settings_classes_and_the_worst_videos(problem):
    scores, labels = problem
    text = breakdown.tables({"graph": [scores, scores], "text": [labels]}, labels, CLASSES)
    assert (
        "| class | videos | graph | text |" in text
        and "| Arson | 1 |" in text
        and "| 1.000 |" in text
    )
    assert text.count("0.00 / 0.00") >= 4  # perfect scores lose nothing
