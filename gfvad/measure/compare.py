"""Compares two settings over seeds, by tests that know what is paired (`gfvad compare`).

Two sources of chance are looked at one by one, since they answer different questions:

- seeds: would another start of training change the sign? Paired t-test over the seeds that both
  settings have (two-sided, n - 1 degrees of freedom), with the interval of the mean difference.
- test videos: would other videos? Paired bootstrap (Efron and Tibshirani, 1993, ch. 13 and 16):
  whole videos are drawn with replacement, the same for both settings and every seed; the statistic
  is the difference of the metric's mean over seeds. p is twice the smaller share of resamples on
  one side of 0, with one added to count and number so that it is never 0 (Davison and Hinkley,
  1997, eq. 4.11).

Intervals over videos are percentiles of the resamples: below bootstrap.FEW videos they are narrower
than they say, which is printed.

Metrics are micro over frames, not normalised, not smoothed, of the last checkpoint. Intervals are
95 %. No correction is made for how many settings are tested.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from gfvad.base.types import DataError
from gfvad.measure import bootstrap
from gfvad.measure.frames import compress, peak
from gfvad.measure.metrics import ranking_metrics
from gfvad.measure.results import find_results, left_out, read_results

METRICS = ("auc", "ap")
# of whole videos, each by its highest score; where both kinds of video are there
OF_VIDEOS = "auc_video"
LEVEL = 0.95
RESAMPLES = 2000

Scores = Mapping[str, np.ndarray]  # video -> [T]


class Spread(NamedTuple):
    """A metric over seeds."""

    mean: float
    deviation: float  # sample standard deviation; NaN of one seed
    interval: tuple[float, float]  # 95 % of the mean, by t, within [0, 1]; NaN of one seed
    count: int


class Comparison(NamedTuple):
    """Setting a against setting b in one metric; differences are a - b."""

    metric: str
    a: Spread
    b: Spread
    difference: float  # of the means over the seeds that both have
    seeds: int  # that both have
    t_p: float  # paired t-test over seeds; NaN with fewer than two
    t_interval: tuple[float, float]
    bootstrap_p: float  # paired bootstrap over test videos; NaN where no resample can be drawn
    bootstrap_interval: tuple[float, float]


class Resampled(NamedTuple):
    """One run on the test set and on resamples of its videos."""

    values: dict[str, float]  # metric -> value
    resamples: dict[str, np.ndarray]  # metric -> [R]


def spread(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation and 95 % t-interval of the mean of rates, mean +- t(0.975,
    n - 1) sd / sqrt(n), cut at 0 and 1."""
    v = np.asarray(values, np.float64)
    if len(v) < 2:
        return Spread(float(v.mean()) if len(v) else np.nan, np.nan, (np.nan, np.nan), len(v))
    half = stats.t.ppf(0.5 + LEVEL / 2, len(v) - 1) * v.std(ddof=1) / np.sqrt(len(v))
    interval = float(max(v.mean() - half, 0.0)), float(min(v.mean() + half, 1.0))
    return Spread(float(v.mean()), float(v.std(ddof=1)), interval, len(v))


def paired_t(a: Sequence[float], b: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """(two-sided p, 95 % interval of the mean of a - b) of pairs [n]; NaN for n < 2. Pairs that
    all differ alike: p 0, or 1 where they are equal."""
    d = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    if len(d) < 2:
        return np.nan, (np.nan, np.nan)
    if not d.std():
        return float(d[0] == 0), (float(d[0]), float(d[0]))
    test = stats.ttest_rel(a, b)
    low, high = test.confidence_interval(LEVEL)
    return float(test.pvalue), (float(low), float(high))


def bootstrap_p(differences: np.ndarray) -> float:
    """Two-sided p of [R] resampled differences: 2 (1 + resamples on the rarer side of 0) / (R +
    1), at most 1; NaN without resamples."""
    if not len(differences):
        return np.nan
    rarer = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1.0, 2 * (1 + rarer) / (len(differences) + 1)))


class Videos:
    """The test set: frame labels, and one set of resamples that every run is evaluated on."""

    def __init__(self, labels: Mapping[str, np.ndarray], resamples: int = RESAMPLES, seed: int = 0):
        """labels: video -> uint8 [T], of the videos whose labels are known; the order of the
        names decides the resamples."""
        self.labels = {n: np.asarray(x, np.uint8) for n, x in sorted(labels.items()) if len(x)}
        present = [[(x == kind).any() for kind in (0, 1)] for x in self.labels.values()]
        self._drawn = bootstrap.draw(np.array(present).reshape(-1, 2), resamples, seed)

    def resample(self, scores: Scores, what: str = "scores") -> Resampled:
        """One run, on all videos and on each resample. Raises DataError where a video is missing
        or as long as it should not be."""
        for name, labels in self.labels.items():
            found = len(scores[name]) if name in scores else 0
            if found != len(labels):
                raise DataError(
                    f"{what}: video {name!r} has {found} frame scores, expected {len(labels)};"
                    " evaluate the run on this test set"
                )
        pooled = bootstrap.pool([compress(scores[name], x) for name, x in self.labels.items()])
        values = ranking_metrics(bootstrap.counts(pooled))
        drawn = bootstrap.resampled_ranking(pooled, self._drawn, names=METRICS)
        peaks = bootstrap.pool([peak(scores[n], bool(x.any())) for n, x in self.labels.items()])
        values |= {OF_VIDEOS: ranking_metrics(bootstrap.counts(peaks))["auc"]}
        of_videos = bootstrap.resampled_ranking(peaks, self._drawn, names=("auc",))
        return Resampled(values, drawn | {OF_VIDEOS: of_videos["auc"]})


def compare(
    a: Mapping[int, Resampled], b: Mapping[int, Resampled], metric: str = "auc"
) -> Comparison:
    """Setting a against setting b; each {seed: run}, evaluated by one `Videos`. Raises DataError
    where they share no seed."""
    both = sorted(set(a) & set(b))
    if not both:
        raise DataError(
            f"no seed in common: {sorted(a)} and {sorted(b)}; train both settings with the same"
            " seeds"
        )
    of = lambda runs, seeds: [runs[seed].values[metric] for seed in seeds]
    t_p, ends = paired_t(of(a, both), of(b, both))
    # rates do not differ by more; NaN stays
    low, high = (float(np.clip(end, -1.0, 1.0)) for end in ends)
    mean = lambda runs: np.mean([runs[seed].resamples[metric] for seed in both], axis=0)
    differences = mean(a) - mean(b)
    least, most = bootstrap.percentiles(differences) or (np.nan, np.nan)
    difference = float(np.mean(of(a, both)) - np.mean(of(b, both)))
    spreads = spread(of(a, sorted(a))), spread(of(b, sorted(b)))
    over_videos = bootstrap_p(differences), (least, most)
    return Comparison(metric, *spreads, difference, len(both), t_p, (low, high), *over_videos)


def caveat(videos: int, what: str = "videos") -> str:
    """What is to be said of intervals and p over so many videos (or pieces of them); '' of many."""
    if videos >= bootstrap.FEW:
        return ""
    return (
        f"percentiles over {videos} {what} are narrower than 95 % (gfvad bench coverage),"
        f" and p over {what} smaller than it should be"
    )


def find_runs(folder: Path) -> dict[int, Path]:
    """Seed -> run folder, of a run folder or of a folder of them. Raises DataError for none, or
    a seed twice."""
    paths, without = find_results(folder) if folder.is_dir() else ([], [])
    found = [path.parent for path in paths]
    if found and without:
        print(f"left out: {left_out(without)} (in {folder})", file=sys.stderr)
    if not found:
        raise DataError(
            f"{folder}: no results.json in it or in its sub-folders; expected finished runs of one"
            " setting over seeds"
        )
    runs: dict[int, Path] = {}
    for path in found:
        seed = int(read_results(path / "results.json")["seed"])
        if seed in runs:
            raise DataError(
                f"{path}: seed {seed} stands in {runs[seed]} too; give the runs of one setting,"
                " each seed once"
            )
        runs[seed] = path
    return runs


def number(value: float, signed: bool = False) -> str:
    """Four digits; '-' where undefined."""
    return "-" if np.isnan(value) else f"{value:+.4f}" if signed else f"{value:.4f}"


def between(interval: tuple[float, float], signed: bool = False) -> str:
    """'0.8447 to 0.8575'; '-' where undefined."""
    low, high = (number(end, signed) for end in interval)
    return "-" if np.isnan(interval[0]) else f"{low} to {high}"


def p_value(value: float) -> str:
    """'0.031', '< 0.001' or '-'."""
    return "-" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def text(result: Comparison, names: tuple[str, str]) -> str:
    """A comparison in words."""
    lines = [f"{result.metric.upper()}"]
    for name, s in zip(names, (result.a, result.b)):
        lines.append(
            f"  {name}: {number(s.mean)} sd {number(s.deviation)} over {s.count} seeds, 95 %"
            f" {number(s.interval[0])} to {number(s.interval[1])}"
        )
    lines.append(
        f"  difference {number(result.difference, True)} over the {result.seeds} seeds of both"
    )
    for what, p, (low, high) in (
        ("paired t-test over seeds", result.t_p, result.t_interval),
        ("paired bootstrap over test videos", result.bootstrap_p, result.bootstrap_interval),
    ):
        lines.append(f"  {what}: p {p_value(p)}, 95 % {number(low, True)} to {number(high, True)}")
    return "\n".join(lines)
