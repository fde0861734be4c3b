"""Frame-level metrics from counts at distinct thresholds, exact with ties and with weights.

Every ranking metric is a function of two cumulative counts, taken at each distinct score from the
highest down: the weight of positives and of negatives at or above it. Entries may stand for many
equal frames (run lengths, see frames.py), so 2.3 million frames of 16-frame units cost as much as
145 thousand. The formulas work on the last axis, so that the bootstrap evaluates many resamples at
once.

Undefined values (no positive or no negative weight) are NaN here and null in results.json.
scikit-learn returns 0 with a warning for an average precision without positives; we do not, since 0
reads as a measured value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gfvad.base.types import DataError


class Counts(NamedTuple):
    """Cumulative weights at K distinct scores, highest first. The last entries are all positives
    and all negatives."""

    thresholds: np.ndarray  # [K] descending
    positives: np.ndarray  # [K] weight of positives with score >= threshold (true positives)
    negatives: np.ndarray  # [K] weight of negatives with score >= threshold (false positives)


def checked(scores, labels, weights=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One-dimensional scores [E], bool labels [E] and weights [E] (ones by default; integers stay
    integers).

    Raises DataError for NaN or infinite scores, labels other than 0 and 1, negative weights, or
    lengths that differ.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    weights = np.ones(len(scores), np.int64) if weights is None else np.asarray(weights)
    if not scores.shape == labels.shape == weights.shape or scores.ndim != 1:
        raise DataError(
            f"scores {scores.shape}, labels {labels.shape}, weights {weights.shape}: expected one"
            " dimension of equal length; align scores and ground truth before evaluation"
        )
    if not np.isfinite(scores).all():
        bad = np.flatnonzero(~np.isfinite(scores))
        raise DataError(
            f"{len(bad)} of {len(scores)} scores are not finite (first at index {bad[0]}:"
            f" {scores[bad[0]]}); expected numbers, check the model's output or the score file"
        )
    if not ((labels == 0) | (labels == 1)).all():
        raise DataError(
            f"labels {np.unique(labels)[:5].tolist()}: expected only 0 (normal) and 1 (abnormal)"
        )
    if not (weights >= 0).all():
        raise DataError(
            f"weights: found {weights[~(weights >= 0)][0]}, expected numbers of frames, 0 or more"
        )
    return scores, labels.astype(bool), weights


def cumulative_counts(scores, labels, weights=None) -> Counts:
    """Counts of scores [E] against labels [E]; ties share one threshold, entries of weight 0
    count for nothing. Raises as `checked`."""
    scores, labels, weights = checked(scores, labels, weights)
    if (weights == 0).any():
        keep = weights > 0
        scores, labels, weights = scores[keep], labels[keep], weights[keep]
    order = np.argsort(scores)[::-1]  # [E], no stable sort needed: only ends of ties are read
    return counts_of_sorted(scores[order], labels[order], weights[order])


def counts_of_sorted(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Counts:
    """Counts of scores [E] that descend and weights [E] above 0; nothing is checked."""
    # [K] index of the last entry of each distinct score
    last = np.flatnonzero(np.r_[scores[1:] != scores[:-1], True][: len(scores)])
    wide = np.int64 if np.issubdtype(weights.dtype, np.integer) else np.float64
    positives = np.cumsum(weights * labels, dtype=wide)[last]
    return Counts(scores[last], positives, np.cumsum(weights, dtype=wide)[last] - positives)


def _with_origin(counts: np.ndarray) -> np.ndarray:
    """[..., K] -> float64 [..., K + 1] with the empty prediction in front."""
    return np.concatenate([np.zeros_like(counts[..., :1], dtype=np.float64), counts], axis=-1)


def _ratio(a, b):
    """a / b, NaN where b is 0."""
    out = np.full(np.broadcast_shapes(np.shape(a), np.shape(b)), np.nan)
    return np.divide(a, b, out=out, where=np.asarray(b) != 0)


def _precision(tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    """[..., K] precision; 1 where nothing is predicted yet, which is scikit-learn's first point
    of the curve."""
    return np.divide(tp, tp + fp, out=np.ones(np.shape(tp)), where=(tp + fp) > 0)


def auc_of_counts(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """[..., K] counts -> [...] area under the ROC curve by the trapezoid rule: P(positive above
    negative) + half of ties."""
    tp, fp = _with_origin(positives), _with_origin(negatives)
    area = np.sum(np.diff(fp) * (tp[..., 1:] + tp[..., :-1]), axis=-1) / 2
    return _ratio(area, tp[..., -1] * fp[..., -1])


def ap_of_counts(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """[..., K] counts -> [...] average precision, sum over thresholds of (recall step) *
    precision."""
    gain = np.diff(_with_origin(positives)) * _precision(positives, negatives)
    # all positive: 1 by the formula, but a ranking of one class says nothing
    valid = negatives[..., -1] > 0
    return _ratio(np.sum(gain, axis=-1), np.where(valid, positives[..., -1], 0))


def trapezoid_of_counts(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """[..., K] counts -> [...] area under (recall, precision) by the trapezoid rule, from the
    point (0, 1)."""
    tp, fp = _with_origin(positives), _with_origin(negatives)
    precision = _precision(tp, fp)
    area = np.sum(np.diff(tp) * (precision[..., 1:] + precision[..., :-1]), axis=-1) / 2
    return _ratio(area, np.where(fp[..., -1] > 0, tp[..., -1], 0))


def eer_of_counts(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """[..., K] counts -> [...] rate where misses equal false alarms, on the ROC curve with
    straight lines between thresholds."""
    tp, fp = _with_origin(positives), _with_origin(negatives)
    # [..., K + 1] false alarm rate minus miss rate: rises from -1 to 1
    alarm, hit = _ratio(fp, fp[..., -1:]), _ratio(tp, tp[..., -1:])
    excess = alarm + hit - 1
    after = np.maximum(np.argmax(excess >= 0, axis=-1), 1)[..., None]
    take = lambda a, i: np.take_along_axis(a, i, axis=-1)[..., 0]
    low, high = take(excess, after - 1), take(excess, after)
    share = _ratio(-low, high - low)  # the step crosses 0, so it is not 0; NaN with one class
    return take(alarm, after - 1) + share * (take(alarm, after) - take(alarm, after - 1))


RANKING = {
    "auc": auc_of_counts,
    "ap": ap_of_counts,
    "pr_trapezoid": trapezoid_of_counts,
    "eer": eer_of_counts,
}


def ranking_metrics(counts: Counts) -> dict[str, float]:
    """Every metric of RANKING at once; NaN for each where only one class is present."""
    if not len(counts.positives):
        return dict.fromkeys(RANKING, float("nan"))
    values = {name: metric(counts.positives, counts.negatives) for name, metric in RANKING.items()}
    return {name: float(value) for name, value in values.items()}


def roc_auc(scores, labels, weights=None) -> float:
    """Area under the ROC curve of scores [E] (weights: frames an entry stands for); NaN with one
    class. Raises as `checked`."""
    return ranking_metrics(cumulative_counts(scores, labels, weights))["auc"]


def average_precision(scores, labels, weights=None) -> float:
    """Step-wise average precision, as scikit-learn's `average_precision_score`; NaN with one
    class. Raises as `checked`."""
    return ranking_metrics(cumulative_counts(scores, labels, weights))["ap"]


def pr_trapezoid(scores, labels, weights=None) -> float:
    """`auc(recall, precision)` of the published XD-Violence code; optimistic between thresholds;
    NaN with one class. Raises as `checked`."""
    return ranking_metrics(cumulative_counts(scores, labels, weights))["pr_trapezoid"]


def equal_error_rate(scores, labels, weights=None) -> float:
    """Rate at which misses equal false alarms; NaN with one class. Raises as `checked`."""
    return ranking_metrics(cumulative_counts(scores, labels, weights))["eer"]


def false_alarm_rate(scores, weights=None, threshold: float = 0.5) -> float:
    """Share of frames of NORMAL videos with score >= threshold (Sultani et al. 2018); NaN
    without frames. Raises as `checked`."""
    scores, _, weights = checked(scores, np.zeros(len(scores), np.uint8), weights)
    return float(_ratio(np.sum(weights[scores >= threshold]), np.sum(weights)))
