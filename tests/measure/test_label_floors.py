"""Floors that look at no video: by hand, and on the real annotation of UCF-Crime."""

import numpy as np
import pytest
from scored import random_videos, scored
from sklearn.metrics import average_precision_score, roc_auc_score

from gfvad.data import ground_truth
from gfvad.measure import label_floors, mistakes


def test_by_hand():
    videos = random_videos(6)
    found = label_floors.scores_of(videos)
    assert len(found) == 5 and set(label_floors.NEEDS_LABELS) < set(found)
    labels = np.concatenate([v.labels for v in videos])
    expected = {name: [] for name in found}
    for v in videos:
        t = len(v.labels)
        near = -np.abs(np.arange(t) - (t - 1) / 2) / t  # any bump ranks alike
        expected[label_floors.CENTRE].append(near)
        expected[label_floors.LENGTH].append(np.full(t, -t))
        expected[label_floors.LABEL].append(np.full(t, v.labels.max()))
        expected[label_floors.BOTH].append(v.labels.max() * (near + 1))
        expected[label_floors.MEAN].append(np.full(t, v.scores.mean()))
    for name, parts in expected.items():
        auc, ap = mistakes.values(label_floors.with_scores(videos, found[name]))
        scores = np.round(np.concatenate(parts), 12)
        assert auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-9), name
        assert ap == pytest.approx(average_precision_score(labels, scores), abs=1e-9), name


def test_videos_of_one_kind():
    videos = [scored("a", [1, 2], [0, 0]), scored("b", [1, 2, 3], [1, 1, 1])]
    assert set(label_floors.scores_of(videos)) == {label_floors.CENTRE, label_floors.LENGTH}


def test_known_floors_of_ucf_crime(shared_data):
    truths = ground_truth.ucf_test(shared_data / "ucf_crime", "up")
    videos = [scored(n, np.zeros(t.num_frames), ground_truth.labels(t)) for n, t in truths.items()]
    found = label_floors.scores_of(videos)
    for name, known in (
        (label_floors.CENTRE, 0.619),
        (label_floors.LENGTH, 0.652),
        (label_floors.LABEL, 0.816),
        (label_floors.BOTH, 0.865),
    ):
        auc, _ = mistakes.values(label_floors.with_scores(videos, found[name]))
        assert auc == pytest.approx(known, abs=0.002), name
