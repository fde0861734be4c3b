"""Intervals over videos against resampling done the slow way with scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from gfvad.bench import coverage
from gfvad.measure import bootstrap
from gfvad.measure.frames import compress
from gfvad.measure.metrics import RANKING, ranking_metrics


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
    assert bootstrap.percentiles(found["auc"]) == pytest.approx(
        list(np.percentile(expected["auc"], [2.5, 97.5])), abs=1e-9
    )
    assert ((found["eer"] >= 0) & (found["eer"] <= 1)).all()


def test_bins_hardly_move_an_interval():
    rng = np.random.default_rng(1)
    labels = [np.r_[np.zeros(500, np.uint8), np.full(100, i % 2, np.uint8)] for i in range(20)]
    scores = [rng.random() + rng.normal(size=600) + y for y in labels]  # 12,000 distinct
    pooled = bootstrap.pool([compress(s, y) for s, y in zip(scores, labels)])
    drawn = bootstrap.draw(bootstrap.presence(pooled), 200, 0)
    exact, binned = (
        bootstrap.resampled_ranking(pooled, drawn, bins=12_000),
        bootstrap.resampled_ranking(pooled, drawn),
    )
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
    assert negatives.sum(axis=1).tolist() == [
        pooled.weights[(pooled.video == v) & (pooled.labels == 0)].sum() for v in range(8)
    ]
    same = bootstrap.pool([compress(np.full(9, 0.25), np.arange(9) % 2) for _ in range(3)])
    assert bootstrap.histograms(same, bins=1)[0].shape == (3, 1)


def test_every_resample_has_both_classes_and_the_seed_decides():
    # two abnormal videos of ten: a tenth of plain draws would miss them
    present = np.array([[True, False]] * 8 + [[True, True]] * 2)
    drawn = bootstrap.draw(present, 300, 5)
    assert (drawn.sum(axis=1) == 10).all() and (drawn[:, 8:].sum(axis=1) > 0).all()
    assert (drawn == bootstrap.draw(present, 300, 5)).all() and (
        drawn != bootstrap.draw(present, 300, 6)
    ).any()


@pytest.mark.parametrize(
    "present",
    [
        [[True, True]],
        [[True, False]] * 4,
        [[False, True]] * 4,
        [[True, False]] * 9 + [[True, True]],
    ],
)
def test_no_interval_from_fewer_than_two_videos_of_a_class(present):
    drawn = bootstrap.draw(np.array(present), 100, 0)
    assert drawn.shape == (0, len(present))
    assert bootstrap.percentiles(drawn @ np.ones(len(present))) is None


def test_mean_and_ratio():
    drawn = np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    assert bootstrap.resampled_mean(np.array([3.0, 6.0, 1.0]), drawn).tolist() == [4.0, 1.0]
    ratio = bootstrap.resampled_ratio(np.array([1.0, 0.0, 0.0]), np.array([4.0, 2.0, 0.0]), drawn)
    assert ratio[0] == 0.2 and np.isnan(ratio[1])
    assert bootstrap.percentiles(ratio) is None


def few(n, seed=0):
    """(pool, resamples, value and its resamples by metric) of n videos."""
    pooled = bootstrap.pool([compress(*v) for v in make_videos(n, seed)])
    drawn = bootstrap.draw(bootstrap.presence(pooled), 400, 0)
    return (
        drawn,
        ranking_metrics(bootstrap.counts(pooled)),
        bootstrap.resampled_ranking(pooled, drawn),
    )


@pytest.mark.parametrize("n", [4, 12, 60])
def test_the_interval_of_few_videos(n):
    """By hand; wider than percentiles, around the value and within 0 and 1."""
    drawn, values, spread = few(n)
    for name in RANKING:
        low, high = bootstrap.interval(values[name], spread[name], drawn)
        assert 0 <= low <= values[name] <= high <= 1
        plain = np.subtract(*bootstrap.percentiles(spread[name])[::-1])
        assert high - low > 0.98 * plain
        p = np.clip(spread[name], 1e-4, 1 - 1e-4)
        logits = np.log(p / (1 - p))
        u = np.array([np.cov(logits, drawn[:, v], ddof=0)[0, 1] for v in range(n)])
        u -= u.mean()
        k = np.mean(u**4) / np.mean(u**2) ** 2
        freedom = np.clip(2 * n / (k - 1), min(2, n - 2), n - 2)
        half = stats.t.ppf(0.975, freedom) * np.sqrt(n / (n - 2)) * logits.std(ddof=1)
        centre = 2 * np.log(values[name] / (1 - values[name])) - logits.mean()
        ends = [1 / (1 + np.exp(-(centre + s * half))) for s in (-1, 1)]
        assert [low, high] == pytest.approx(
            [min(ends[0], values[name]), max(ends[1], values[name])], abs=1e-6
        ), name


def test_the_interval_of_many_videos_is_that_of_percentiles():
    drawn, values, spread = few(bootstrap.FEW)
    for name in RANKING:
        assert bootstrap.interval(values[name], spread[name], drawn) == bootstrap.percentiles(
            spread[name]
        )
    assert bootstrap.method(bootstrap.FEW) != bootstrap.method(bootstrap.FEW - 1)
    assert all(bootstrap.method(n) in bootstrap.CI_METHOD for n in (2, bootstrap.FEW))


def test_an_interval_is_not_a_point_where_few_videos_all_agree():
    drawn = np.ones((50, 5))
    low, high = bootstrap.interval(1.0, np.ones(50), drawn)
    # Clopper-Pearson, 5 of 5
    assert high == 1 and low == pytest.approx(stats.beta.ppf(0.025, 5, 1))
    assert bootstrap.interval(0.0, np.zeros(50), drawn) == pytest.approx([0, 1 - low])
    # nothing says how videos differ
    assert bootstrap.interval(0.5, np.full(50, 0.5), drawn) is None
    assert (
        bootstrap.interval(0.5, np.r_[0.5, np.nan], drawn[:2]) is None
        and bootstrap.interval(0.5, np.zeros(0), drawn[:0]) is None
    )


def test_resampled_metrics_stay_within_0_and_1():
    """Where scores share a bin, what the bins lost of the whole set is given back: an almost
    perfect resample must not pass 1."""
    rng = np.random.default_rng(0)
    labels = [np.repeat([0, 1], 100).astype(np.uint8) for _ in range(8)]
    pooled = bootstrap.pool(
        [compress(y + rng.normal(0, 0.15 if i else 0.7, 200), y) for i, y in enumerate(labels)]
    )
    drawn = bootstrap.draw(bootstrap.presence(pooled), 300, 0)
    for values in bootstrap.resampled_ranking(pooled, drawn, bins=4).values():
        assert ((values >= 0) & (values <= 1)).all()


def test_coverage_command(capsys):
    from gfvad.commands.bench import main

    assert main(["coverage", "--videos=8", "--trials=2", "--populations=even"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[2:4]] == [["8", "even", "AUC"], ["8", "even", "AP"]]
    for wrong in ("--videos=1", "--populations=other", "--trials=0"):
        assert main(["coverage", wrong]) == 2
        assert "expected" in capsys.readouterr().err


def test_intervals_cover(monkeypatch):
    """A small run of the command's measure: 50 sets of 12 videos; percentiles fail it."""
    monkeypatch.setattr(coverage, "TRUTH", 2000)
    monkeypatch.setattr(coverage, "RESAMPLES", 200)
    for found in coverage.measure("strong", 12, 50):
        assert found.covered >= 0.88 > found.percentiles


def test_counts_in_float32_are_exact(monkeypatch):
    """Whole numbers below 2^24; more frames, and weights that are not whole, stay in float64."""
    pooled = bootstrap.pool([compress(*v) for v in make_videos(20, seed=4, digits=5)])
    drawn = bootstrap.draw(bootstrap.presence(pooled), 100, 0)
    found = bootstrap.resampled_ranking(pooled, drawn)
    monkeypatch.setattr(bootstrap, "EXACT", 0)
    wide = bootstrap.resampled_ranking(pooled, drawn)
    assert all((found[name] == wide[name]).all() for name in wide)
