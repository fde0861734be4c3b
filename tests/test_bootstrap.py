"""Intervals over videos against resampling done the slow way with scikit-learn."""
import numpy as np
import pytest
from sklearn import metrics as sk

from gfvad.eval import bootstrap
from gfvad.eval.frames import compress
from gfvad.eval.metrics import RANKING


def make_videos(n=12, seed=0, digits=1):
    """(scores [T], labels [T]) of n videos, half of them with an event."""
    rng = np.random.default_rng(seed)
    videos = []
    for i in range(n):
        frames = int(rng.integers(20, 60))
        labels = np.zeros(frames, np.uint8)
        labels[5 : 5 + 10 * (i % 2)] = 1
        videos.append((np.round(rng.random(frames) + 0.6 * labels * rng.random(), digits), labels))
    return videos


def naive(videos, drawn):
    """Each resample spelt out: videos repeated, frames joined, scikit-learn."""
    values = {"auc": [], "ap": [], "pr_trapezoid": []}
    for row in drawn.astype(int):
        scores = np.concatenate([videos[v][0] for v in range(len(videos)) for _ in range(row[v])])
        labels = np.concatenate([videos[v][1] for v in range(len(videos)) for _ in range(row[v])])
        precision, recall, _ = sk.precision_recall_curve(labels, scores)
        values["auc"].append(sk.roc_auc_score(labels, scores))
        values["ap"].append(sk.average_precision_score(labels, scores))
        values["pr_trapezoid"].append(sk.auc(recall, precision))
    return {name: np.array(v) for name, v in values.items()}


def test_agrees_with_naive_resampling():
    videos = make_videos()
    pooled = bootstrap.pool([compress(*v) for v in videos])
    drawn = bootstrap.draw(bootstrap.presence(pooled), 150, 3)  # more than one chunk
    found, expected = bootstrap.resampled_ranking(pooled, drawn), naive(videos, drawn)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=1e-9), name
    assert bootstrap.percentiles(found["auc"]) == pytest.approx(list(np.percentile(expected["auc"], [2.5, 97.5])), abs=1e-9)
    assert ((found["eer"] >= 0) & (found["eer"] <= 1)).all()


def test_bins_hardly_move_an_interval():
    rng = np.random.default_rng(1)
    labels = [np.r_[np.zeros(500, np.uint8), np.full(100, i % 2, np.uint8)] for i in range(20)]
    scores = [rng.random() + rng.normal(size=600) + y for y in labels]  # 12,000 distinct
    pooled = bootstrap.pool([compress(s, y) for s, y in zip(scores, labels)])
    drawn = bootstrap.draw(bootstrap.presence(pooled), 200, 0)
    exact, binned = bootstrap.resampled_ranking(pooled, drawn, bins=12_000), bootstrap.resampled_ranking(pooled, drawn)
    for name in RANKING:
        low, high = bootstrap.percentiles(exact[name])
        moved = np.abs(np.subtract(bootstrap.percentiles(binned[name]), [low, high])).max()
        assert moved < 0.01 * (high - low), name


def test_binned_values_of_the_whole_set_are_exact():
    pooled = bootstrap.pool([compress(*v) for v in make_videos(20, seed=1, digits=6)])
    once = np.ones((1, 20))
    coarse, fine = (bootstrap.resampled_ranking(pooled, once, bins=n) for n in (50, bootstrap.BINS))
    for name in RANKING:
        assert coarse[name] == pytest.approx(fine[name], abs=1e-9), name


def test_histograms_keep_every_frame_and_split_no_tie():
    pooled = bootstrap.pool([compress(*v) for v in make_videos(8, seed=2, digits=3)])
    positives, negatives = bootstrap.histograms(pooled, bins=16)
    assert positives.shape == negatives.shape and positives.shape[1] <= 16
    assert positives.sum() == pooled.weights[pooled.labels == 1].sum()
    assert negatives.sum(axis=1).tolist() == [pooled.weights[(pooled.video == v) & (pooled.labels == 0)].sum() for v in range(8)]
    same = bootstrap.pool([compress(np.full(9, 0.25), np.arange(9) % 2) for _ in range(3)])
    assert bootstrap.histograms(same, bins=1)[0].shape == (3, 1)


def test_every_resample_has_both_classes_and_the_seed_decides():
    present = np.array([[True, False]] * 9 + [[True, True]])  # one abnormal video of ten: a third of plain draws would miss it
    drawn = bootstrap.draw(present, 300, 5)
    assert (drawn.sum(axis=1) == 10).all() and (drawn[:, 9] > 0).all()
    assert (drawn == bootstrap.draw(present, 300, 5)).all() and (drawn != bootstrap.draw(present, 300, 6)).any()


@pytest.mark.parametrize("present", [[[True, True]], [[True, False]] * 4, [[False, True]] * 4])
def test_no_interval_without_both_classes_or_with_one_video(present):
    drawn = bootstrap.draw(np.array(present), 100, 0)
    assert drawn.shape == (0, len(present))
    assert bootstrap.percentiles(drawn @ np.ones(len(present))) is None


def test_mean_and_ratio():
    drawn = np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    assert bootstrap.resampled_mean(np.array([3.0, 6.0, 1.0]), drawn).tolist() == [4.0, 1.0]
    ratio = bootstrap.resampled_ratio(np.array([1.0, 0.0, 0.0]), np.array([4.0, 2.0, 0.0]), drawn)
    assert ratio[0] == 0.2 and np.isnan(ratio[1])
    assert bootstrap.percentiles(ratio) is None
