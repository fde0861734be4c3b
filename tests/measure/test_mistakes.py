"""Mistakes that are made on purpose: each against plain numpy, and where it can add nothing."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scored import random_videos, scored
from sklearn.metrics import auc as area
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from gfvad.measure import mistakes


def pooled(videos, change=lambda x: x):
    return np.concatenate([v.labels for v in videos]), np.concatenate(
        [change(v.scores) for v in videos]
    )


def by_name(rows):
    return {row.name.split(",")[0]: row for row in rows}


def test_by_hand():
    videos = random_videos(8, seed=3)
    rows = by_name(mistakes.all_of(videos))
    stretch = lambda x: (x - x.min()) / (x.max() - x.min())
    expected = roc_auc_score(*pooled(videos, stretch))
    assert rows["min-max a video"].auc == pytest.approx(expected)
    smooth = [pooled(videos, lambda x, s=s: gaussian_filter1d(x, s)) for s in mistakes.WIDTHS]
    tried = [roc_auc_score(*pair) for pair in (pooled(videos), *smooth)]
    assert rows["smoothing"].auc == pytest.approx(max(tried), abs=1e-6)
    precision, recall, _ = precision_recall_curve(*pooled(videos))
    trapezoid = rows["AP by the trapezoid rule"]
    assert trapezoid.ap == pytest.approx(area(recall, precision)) and np.isnan(trapezoid.auc)
    abnormal = [v for v in videos if v.labels.any()]
    assert rows["normal videos left out"].auc == pytest.approx(roc_auc_score(*pooled(abnormal)))
    plain = roc_auc_score(*pooled(videos)), average_precision_score(*pooled(videos))
    assert all(
        (row.plain_auc, row.plain_ap) == pytest.approx(plain)
        for n, row in rows.items()
        if not n.startswith("best of")
    )


def test_shift_of_labels():
    labels = np.zeros(100, np.uint8)
    labels[40:60] = 1
    videos = [scored("a", np.roll(labels, 16), labels), scored("b", np.zeros(50), np.zeros(50))]
    assert mistakes.values(mistakes.shifted(videos, 16))[0] == 1.0
    rows = by_name(mistakes.all_of(videos))
    assert rows["labels one snippet (16 frames) too late"].auc == 1.0
    assert rows["labels one snippet (16 frames) too early"].auc < rows["min-max a video"].auc
    back = mistakes.shifted(mistakes.shifted(videos, 16), -16)
    assert (back[0].labels == labels).all()


def test_checkpoints():
    """Several files: the best of them less the last. One: chance alone, and the same each time."""
    videos = random_videos(8, seed=1)
    worse = [v._replace(scores=-v.scores) for v in videos]
    row = by_name(mistakes.all_of(worse, [videos, worse]))["best of 2 score files on test"]
    assert (row.auc, row.plain_auc) == pytest.approx(
        (mistakes.values(videos)[0], mistakes.values(worse)[0])
    )
    one = by_name(mistakes.all_of(videos))["best of 10 simulated checkpoints on test"]
    again = by_name(mistakes.all_of(videos))["best of 10 simulated checkpoints on test"]
    assert one == again and one.auc > one.plain_auc
    # where videos do not differ, neither do checkpoints
    same = [scored(f"v{i}", np.arange(10), np.arange(10) > 6) for i in range(3)]
    flat = by_name(mistakes.all_of(same))["best of 10 simulated checkpoints on test"]
    assert flat.auc == pytest.approx(flat.plain_auc) == 1.0


def test_nothing_to_add_to_perfect_scores():
    labels = np.repeat([0, 1, 0], [40, 40, 40])
    videos = [scored("a", labels, labels), scored("b", labels[20:], labels[20:])]
    for row in mistakes.all_of(videos):
        assert not row.auc > row.plain_auc + 1e-12 and not row.ap > row.plain_ap + 1e-12


def test_signs():
    videos = random_videos(4)
    assert mistakes.signs(videos) == []
    stretched = mistakes.reshaped(videos, "minmax")
    assert "normalised by each video's own extremes" in " ".join(mistakes.signs(stretched))
    (turned,) = mistakes.signs([v._replace(scores=-v.scores) for v in videos])
    assert "below chance" in turned
    coarse = [v._replace(scores=np.round(v.scores)) for v in videos]
    assert any("2 different values" in sign for sign in mistakes.signs(coarse))


def test_table():
    rows = mistakes.all_of(random_videos(4))
    table = mistakes.shown_table(rows)
    assert all(len(row) == len(table["header"]) for row in table["rows"])
    gains = [row[2] for row in table["rows"]]
    assert all(g == "-" or g[0] in "+-" for g in gains)
