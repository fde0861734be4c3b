"""Latency-aware average precision: is an event found, and found early?

Frame AP does not ask when in an event its frames are found. Here recall is replaced: at a
threshold, an event counts with the share of it that is still to come when its first frame is
raised, 1 - d / n for an event of n frames whose first raised frame has d frames of it before; an
event without a raised frame counts 0. Latency-aware recall is the mean of that over events.
Precision is that of frames, as ever. latency_ap = sum over thresholds, from the highest down, of
(step of latency-aware recall) * precision.

The idea is that of Liu et al., Rethinking Metrics and Benchmarks of Video Anomaly Detection (arXiv
2505.19022), who let recall decay with delay. The linear decay over an event's own length is ours,
so values do not compare with theirs.

1 - d / n is the share of the event's frames whose highest score so far reaches the threshold: each
frame of an event is one entry with that running maximum and weight 1 / n.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gfvad.base.types import ScoredVideo
from gfvad.measure import bootstrap
from gfvad.measure.frames import spans_of

BINS = 1024  # of thresholds in resamples
CHUNK = 125


def warnings(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Frame scores [T] and labels [T] -> (running maxima [E], their weights [E], number of events):
    only where the maximum of an event rises, with the share of it from there to the next rise."""
    found, weights = [np.zeros(0)], [np.zeros(0)]
    events = spans_of(labels)
    for start, end in events:
        highest = np.maximum.accumulate(scores[start:end])
        first = np.r_[0, np.flatnonzero(np.diff(highest)) + 1]
        found.append(highest[first])
        weights.append(np.diff(np.r_[first, end - start]) / (end - start))
    return np.concatenate(found), np.concatenate(weights), len(events)


def latency_ap(
    videos: Sequence[ScoredVideo], resamples: int = 0, seed: int = 0
) -> tuple[float, list[float] | None]:
    """(latency-aware AP of V checked videos, its 95 % interval over videos); NaN where frames of
    one kind are missing."""
    scores = np.concatenate([v.scores for v in videos])
    labels = np.concatenate([v.labels for v in videos]).astype(bool)
    if labels.all() or not labels.any():
        return float("nan"), None
    thresholds = np.unique(scores)[::-1]  # [K]
    positives, negatives, early, events = (
        np.zeros(n) for n in (len(thresholds), len(thresholds), len(thresholds), len(videos))
    )
    of_videos, edges = [], _edges(len(thresholds))
    for i, v in enumerate(videos):
        rises, weights, events[i] = warnings(np.asarray(v.scores), v.labels)
        at, risen = _places(v.scores, thresholds), _places(rises, thresholds)
        hit = np.asarray(v.labels, bool)
        parts = (at[hit], None), (at[~hit], None), (risen, weights)
        for total, (place, weight) in zip((positives, negatives, early), parts):
            np.add.at(total, place, 1.0 if weight is None else weight)
        if resamples:
            k = len(edges) - 1
            bins = ((np.searchsorted(edges, p, "right") - 1, w) for p, w in parts)
            of_videos.append(np.stack([np.bincount(b, w, k) for b, w in bins]))
    value = float(_area(np.stack([positives, negatives, early]), events.sum()))
    drawn = bootstrap.draw(_kinds(videos), resamples, seed)
    if not len(drawn):
        return value, None
    tables = np.stack(of_videos, 1)  # [3, V, bins]
    of = lambda times: _area(times @ tables, times @ events)
    values = np.concatenate([of(drawn[i : i + CHUNK]) for i in range(0, len(drawn), CHUNK)])
    shift = value - float(of(np.ones((1, len(videos))))[0])  # what sharing bins changes
    return value, bootstrap.interval(value, np.clip(values + shift, 0.0, 1.0), drawn)


def _kinds(videos: Sequence[ScoredVideo]) -> np.ndarray:
    """bool [V, 2]: does the video hold a (normal, abnormal) frame?"""
    return np.array([[not v.labels.all(), v.labels.any()] for v in videos])


def _places(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Index of each score among the descending thresholds, which hold it."""
    return len(thresholds) - 1 - np.searchsorted(thresholds[::-1], scores)


def _edges(count: int) -> np.ndarray:
    """Indices where bins of `count` thresholds begin, and the end."""
    return np.unique(np.linspace(0, count, min(count, BINS) + 1).astype(int))


def _area(counts: np.ndarray, events: np.ndarray | float) -> np.ndarray:
    """Counts [3, ..., K] at each threshold, highest first (abnormal frames, normal frames, weights
    of events), and events [...] -> [...]."""
    tp, fp, _ = np.cumsum(counts, axis=-1)
    precision = np.divide(tp, tp + fp, out=np.ones(np.shape(tp)), where=tp + fp > 0)
    return np.sum(counts[2] * precision, axis=-1) / np.asarray(events)
