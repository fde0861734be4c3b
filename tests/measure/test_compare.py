"""Statistics of two settings over seeds: against scipy, a calculation by hand, and what they
must be where nothing differs."""

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from gfvad.base.types import DataError
from gfvad.commands import compare as command
from gfvad.measure import bootstrap, compare
from gfvad.measure.results import write_scores


def test_set(videos=12, frames=40, seed=0):
    rng = np.random.default_rng(seed)
    labels = {
        f"v{i:02d}": (rng.random(frames) < 0.3).astype(np.uint8) * (i % 2) for i in range(videos)
    }
    return labels, rng


def scores_of(labels, rng, strength):
    return {name: (rng.random(len(x)) + strength * x).round(2) for name, x in labels.items()}


test_set.__test__ = False


def test_spread_is_the_t_interval():
    values = [0.81, 0.84, 0.80, 0.86, 0.83]
    found = compare.spread(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (
        np.allclose(
            [*found.interval, found.mean, found.deviation],
            [low, high, np.mean(values), np.std(values, ddof=1)],
        )
        and found.count == 5
    )
    one = compare.spread([0.5])
    assert one.mean == 0.5 and np.isnan(one.deviation) and np.isnan(one.interval[0])


def test_intervals_stay_within_what_a_rate_can_be():
    """By t of two or three seeds they would reach 1.06."""
    assert (
        compare.spread([0.99, 0.97, 0.95]).interval[1] == 1.0
        and compare.spread([0.01, 0.03]).interval[0] == 0.0
    )
    run = lambda value: compare.Resampled({"auc": value}, {"auc": np.full(5, value)})
    found = compare.compare({0: run(1.0), 1: run(0.9)}, {0: run(0.1), 1: run(0.3)})
    assert found.a.interval[1] == 1.0 and found.t_interval[1] == 1.0 and found.t_interval[0] == -1.0


def test_few_videos_are_said_to_be_few():
    assert (
        "over 20 videos are narrower" in compare.caveat(20) and compare.caveat(bootstrap.FEW) == ""
    )


def test_paired_t_by_hand():
    """Differences 1, 2, 3: mean 2, sd 1, t = 2 sqrt(3), two degrees of freedom."""
    p, (low, high) = compare.paired_t([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert np.isclose(p, 2 * stats.t.sf(2 * np.sqrt(3), 2))
    assert np.allclose((low, high), 2 + np.array([-1, 1]) * 4.302652729911275 / np.sqrt(3))
    assert compare.paired_t([1.0, 2.0], [1.0, 2.0]) == (1.0, (0.0, 0.0)) and np.isnan(
        compare.paired_t([1.0], [0.0])[0]
    )


def test_bootstrap_p_counts_the_rarer_side():
    assert compare.bootstrap_p(np.ones(99)) == 2 * 1 / 100
    assert compare.bootstrap_p(np.r_[-np.ones(9), np.ones(90)]) == 2 * 10 / 100
    assert compare.bootstrap_p(np.zeros(50)) == 1.0 and np.isnan(compare.bootstrap_p(np.zeros(0)))


def test_comparison_is_that_of_whole_resamples():
    """Values are scikit-learn's; the paired bootstrap is that of metrics taken on concatenated
    resampled videos, the same for both sides."""
    labels, rng = test_set()
    runs = [
        {seed: scores_of(labels, rng, strength) for seed in range(3)} for strength in (0.6, 0.3)
    ]
    videos = compare.Videos(labels, resamples=40, seed=5)
    a, b = ({seed: videos.resample(x) for seed, x in side.items()} for side in runs)
    frames = np.concatenate(list(labels.values()))
    flat = lambda x: np.concatenate([x[name] for name in labels])
    for metric, function in (("auc", roc_auc_score), ("ap", average_precision_score)):
        found = compare.compare(a, b, metric)
        values = [[function(frames, flat(side[seed])) for seed in range(3)] for side in runs]
        assert np.allclose(
            [found.a.mean, found.b.mean, found.difference],
            [*np.mean(values, 1), np.mean(values[0]) - np.mean(values[1])],
        )
        assert np.isclose(found.t_p, stats.ttest_rel(*values).pvalue) and found.seeds == 3
        differences = []
        for row in videos._drawn.astype(int):
            names = [name for name, times in zip(labels, row) for _ in range(times)]
            y = np.concatenate([labels[name] for name in names])
            means = [
                np.mean(
                    [
                        function(y, np.concatenate([side[s][name] for name in names]))
                        for s in range(3)
                    ]
                )
                for side in runs
            ]
            differences.append(means[0] - means[1])
        assert np.allclose(found.bootstrap_interval, np.percentile(differences, [2.5, 97.5]))
        assert np.isclose(found.bootstrap_p, compare.bootstrap_p(np.array(differences)))
    assert compare.compare(a, b).bootstrap_p < 0.06 and compare.compare(a, b).difference > 0


def test_equal_and_exchanged_settings():
    labels, rng = test_set(seed=1)
    videos = compare.Videos(labels, resamples=30)
    a, b = (
        {seed: videos.resample(scores_of(labels, rng, 0.4)) for seed in range(3)} for _ in range(2)
    )
    same = compare.compare(a, a)
    assert (same.difference, same.t_p, same.bootstrap_p, same.bootstrap_interval) == (
        0.0,
        1.0,
        1.0,
        (0.0, 0.0),
    )
    one, two = compare.compare(a, b), compare.compare(b, a)
    assert (
        np.isclose(one.difference, -two.difference)
        and np.isclose(one.t_p, two.t_p)
        and one.bootstrap_p == two.bootstrap_p
    )
    assert np.allclose(one.bootstrap_interval, -np.array(two.bootstrap_interval)[::-1])


def test_seeds_are_paired_by_their_number():
    """Only seeds of both sides count in the difference; without one there is nothing to compare;
    of one there is no t-test."""
    labels, rng = test_set(seed=2)
    videos = compare.Videos(labels, resamples=10)
    a, b = (
        {seed: videos.resample(scores_of(labels, rng, 0.4)) for seed in seeds}
        for seeds in ((0, 1, 2), (2, 3))
    )
    found = compare.compare(a, b)
    assert (
        found.seeds == 1
        and np.isnan(found.t_p)
        and found.difference == a[2].values["auc"] - b[2].values["auc"]
        and found.a.count == 3
    )
    with pytest.raises(DataError, match="no seed in common"):
        compare.compare({0: a[0]}, {1: a[1]})
    with pytest.raises(DataError, match="video 'v00' has 0 frame scores, expected 40"):
        videos.resample({})


def test_on_its_own(tmp_path, monkeypatch, capsys):
    """Two folders of seed runs, as a command; labels come from the data of the first run's
    config."""
    labels, rng = test_set(seed=3)
    for name, strength in (("a", 0.9), ("b", 0.1)):
        for seed in range(2):
            folder = tmp_path / name / f"seed{seed}"
            write_scores(folder / "scores.npz", scores_of(labels, rng, strength))
            (folder / "results.json").write_text(json.dumps({"schema": 1, "seed": seed}))
    monkeypatch.setattr(
        "gfvad.tasks.frame_labels",
        lambda run: labels if run == tmp_path / "a" / "seed0" else None,
    )
    assert command.main([str(tmp_path / "a"), str(tmp_path / "b"), "--resamples=50"]) == 0
    out = capsys.readouterr().out
    assert (
        "paired t-test over seeds: p " in out
        and "paired bootstrap over test videos: p 0.039" in out
        and "over 2 seeds" in out
    )
    assert command.main([str(tmp_path / "a"), str(tmp_path / "b"), "--resamples=50", "--json"]) == 0
    assert [row["metric"] for row in json.loads(capsys.readouterr().out)] == ["auc", "ap"]
    assert command.main([str(tmp_path / "none"), str(tmp_path / "b")]) == 2
    assert "no results.json in it" in capsys.readouterr().err
