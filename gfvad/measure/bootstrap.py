"""95 % intervals over videos: frames of one video belong together, so whole videos are drawn with
replacement.

From FEW videos on the interval is the central 95 % of the resamples (percentile). Fewer videos
spread wider than their resamples say, and
more so where one or two of them decide: percentiles of 12 videos cover 67 to 90 % of the time.
There the interval is taken on the logit scale (so that it stays within 0 and 1): centre -+ t sqrt(n
/ (n - 2)) s. The centre is the value less the bias that resampling shows, s the deviation of the
resamples; two means are held against each other, hence n - 2, as in a two-sample t-test. t has the
degrees of freedom of s itself, 2 n / (k - 1) with k the kurtosis of the videos' influences (ours:
so uncertain is a variance of n values of kurtosis k), from 2 to n - 2. It always holds the value.
`gfvad bench coverage` measures what either kind covers.

Not stratified: how many abnormal videos a test set holds is chance too, and belongs in the
interval. A resample whose frames are all of one class has no value and is drawn again. The same
seed draws the same resamples, so that protocols are compared on the same ones.

The ranking metrics need, for each resample, the counts of positives and negatives above each
threshold. Each video's own histogram over thresholds is taken once; a resample is then (times each
video was drawn) @ (histograms), one matrix product for all resamples together. Exact where there
are at most `bins` distinct scores. With more, neighbouring scores share a bin of at most 2 / bins
of each class, and what
that changes in the metric of the whole set is taken off every resample: on XD-Violence (800 videos,
145 thousand distinct scores, 4096 bins) no end of an interval moved by more than 2e-5. The metric
itself, beside the interval, is always exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from gfvad.measure.frames import Runs
from gfvad.measure.metrics import RANKING, Counts, counts_of_sorted, ranking_metrics

BINS = 4096
CHUNK = 125  # resamples at once: 125 x 4096 float64 are 4 MB
EXACT = 2**24  # whole numbers below it are exact in float32
LEVEL = 95.0  # per cent
# videos from which percentiles are kept; where a few videos decide they still cover less than they
# say there (0.88, 200 sets)
FEW = 200
EDGE = 1e-4  # from 0 and 1, where a logit would be infinite
# below FEW videos, from FEW on
METHODS = ("logit scale, t by the videos' influences", "percentile")
CI_METHOD = (
    f"95 % over videos, drawn with replacement; below {FEW} videos on the {METHODS[0]}; from {FEW}"
    f" on: {METHODS[1]}"
)


class Pool(NamedTuple):
    """Runs of V videos in one list of E entries, highest score first."""

    scores: np.ndarray  # [E] descending
    labels: np.ndarray  # uint8 [E]
    weights: np.ndarray  # int32 [E] frames
    video: np.ndarray  # int32 [E] index of the video
    n_videos: int


def pool(runs: list[Runs]) -> Pool:
    """Joins and sorts the runs of V videos (at least one)."""
    scores = np.concatenate([r.scores for r in runs])
    order = np.argsort(scores)[::-1]
    labels, weights = (np.concatenate([r[i] for r in runs])[order] for i in (1, 2))
    video = np.repeat(np.arange(len(runs), dtype=np.int32), [len(r.scores) for r in runs])[order]
    return Pool(scores[order], labels, weights, video, len(runs))


def counts(p: Pool) -> Counts:
    """Cumulative counts of all frames."""
    return counts_of_sorted(p.scores, p.labels, p.weights)


def presence(p: Pool) -> np.ndarray:
    """bool [V, 2]: does the video hold a (normal, abnormal) frame?"""
    found = np.zeros((p.n_videos, 2), bool)
    found[p.video, p.labels] = True
    return found


def draw(present: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """float64 [R, V]: how often each video is drawn. present [V, 2] as `presence`; no row holds one
    class only.

    R = 0 where fewer than two videos hold a class: nothing says how such videos differ, so no
    interval can be given.
    """
    n = len(present)
    if n < 2 or present.sum(axis=0).min() < 2:
        return np.zeros((0, n))
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, n, (resamples, n))  # [R, V]
    # a share of at least 1 / n^2 of all resamples holds both classes, so this ends
    while len(again := np.flatnonzero(~np.all(np.any(present[chosen], 1), 1))):
        chosen[again] = rng.integers(0, n, (len(again), n))
    places = (chosen + np.arange(resamples)[:, None] * n).ravel()
    times = np.bincount(places, minlength=resamples * n).reshape(resamples, n)
    return times.astype(np.float64)


def _bins(total: Counts, bins: int) -> np.ndarray:
    """int32 [distinct scores] -> index of its group, 0 .. K - 1 with K <= bins, highest score
    first."""
    if len(total.thresholds) <= bins:
        return np.arange(len(total.thresholds), dtype=np.int32)
    # equal shares of each class a bin, and ties never split: the share up to a distinct score
    # decides its bin
    part = lambda count: count / max(1, count[-1])
    share = part(total.positives) + part(total.negatives)
    place = np.minimum((share / share[-1] * bins).astype(np.int32), bins - 1)
    return np.cumsum(np.r_[False, np.diff(place) > 0], dtype=np.int32)


def histograms(p: Pool, bins: int = BINS) -> tuple[np.ndarray, np.ndarray]:
    """Frames of each video in each of K <= bins groups of scores, highest first: positives [V,
    K] and negatives [V, K], float64."""
    bin_of = _bins(counts(p), bins)  # [distinct scores]
    k = int(bin_of[-1]) + 1
    # [E] which distinct score
    rank = np.cumsum(np.r_[False, p.scores[1:] != p.scores[:-1]], dtype=np.int32)
    # [E] cell of a [2, V, K] table, class first
    cell = p.labels.astype(np.int64)
    cell *= p.n_videos
    cell += p.video
    cell *= k
    cell += bin_of[rank]
    del rank  # millions of entries: what is not needed any more goes before the table comes
    frames = np.bincount(cell, p.weights, 2 * p.n_videos * k)
    negatives, positives = frames.reshape(2, p.n_videos, k)
    return positives, negatives


def percentiles(values: np.ndarray) -> list[float] | None:
    """[R] values of resamples -> [low, high] of the central 95 %; None without resamples or
    where one is undefined."""
    if not len(values) or np.isnan(values).any():
        return None
    return [float(v) for v in np.percentile(values, [50 - LEVEL / 2, 50 + LEVEL / 2])]


def method(videos: int) -> str:
    """Which interval so many videos get."""
    return METHODS[videos >= FEW]


def interval(value: float, values: np.ndarray, drawn: np.ndarray) -> list[float] | None:
    """95 % interval of a rate in [0, 1] over V videos; None without resamples or where one is
    undefined.

    Args: its value on all videos, on each resample [R], and how often each video was drawn [R, V].
    See the top of this file. Where no resample differs from 0 or 1, n videos that all agree: the
    other end is that of n draws without the other outcome (Clopper-Pearson).
    """
    resamples, n = drawn.shape
    if n >= FEW or not len(values) or np.isnan(values).any():
        return percentiles(values)
    if values.min() == values.max():
        unseen = (0.5 - LEVEL / 200) ** (1 / n)
        # nothing says how videos differ
        return [unseen, 1.0] if value == 1 else [0.0, 1 - unseen] if value == 0 else None
    spread = _logit(values)
    centre = 2 * _logit(np.asarray(value)) - spread.mean()
    # [V] covariance of the metric and the times a video is drawn
    influence = (spread - spread.mean()) @ (drawn - 1) / resamples
    influence -= influence.mean()
    squares = influence @ influence
    kurtosis = n * np.sum(influence**4) / squares**2 if squares else np.inf
    most = max(n - 2, 1)  # two means are held against each other, as in a two-sample t-test
    freedom = min(max(2 * n / (kurtosis - 1), 2.0), most) if kurtosis > 1 else most
    half = stats.t.ppf(0.5 + LEVEL / 200, freedom) * np.sqrt(n / most) * spread.std(ddof=1)
    low, high = 1 / (1 + np.exp(-(centre - half))), 1 / (1 + np.exp(-(centre + half)))
    return [float(min(low, value)), float(max(high, value))]


def _logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, EDGE, 1 - EDGE)
    return np.log(p / (1 - p))


def resampled_ranking(
    p: Pool, drawn: np.ndarray, bins: int = BINS, names: Sequence[str] = tuple(RANKING)
) -> dict[str, np.ndarray]:
    """Value [R] of ranking metrics (all of them) on each resample; drawn [R, V] as `draw` gives
    it."""
    wanted = {name: RANKING[name] for name in names}
    values = {name: np.zeros(len(drawn)) for name in wanted}
    if not len(drawn):
        return values
    exact = ranking_metrics(counts(p))
    positives, negatives = histograms(p, bins)  # [V, K]
    # whole numbers below 2^24 are exact in float32, in half the time
    most = (drawn @ (positives.sum(axis=1) + negatives.sum(axis=1))).max()
    kind = np.float32 if most < EXACT and np.issubdtype(p.weights.dtype, np.integer) else np.float64
    table = np.concatenate([positives, negatives], axis=1).astype(kind)  # [V, 2 K]
    for start in range(0, len(drawn), CHUNK):
        part = drawn[start : start + CHUNK].astype(kind)  # [r, V]
        both = (part @ table).reshape(len(part), 2, -1)  # [r, 2, K]
        tp, fp = np.moveaxis(np.cumsum(both, axis=-1, dtype=np.float64), 1, 0)
        for name, metric in wanted.items():
            values[name][start : start + CHUNK] = metric(tp, fp)
    tp, fp = np.cumsum(positives.sum(axis=0)), np.cumsum(negatives.sum(axis=0))  # [K]
    for name, metric in wanted.items():
        # 0 where no two scores share a bin; a metric does not leave 0 to 1 for it
        values[name] = np.clip(values[name] + (exact[name] - metric(tp, fp)), 0.0, 1.0)
    return values


def resampled_mean(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """[V] one value a video -> [R] its mean over the videos of each resample."""
    return drawn @ values / drawn.sum(axis=1)


def resampled_ratio(above: np.ndarray, below: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """[V] counts a video -> [R] sum(above) / sum(below) of each resample, NaN where that is 0."""
    total = drawn @ below
    return np.divide(drawn @ above, total, out=np.full(len(drawn), np.nan), where=total > 0)
