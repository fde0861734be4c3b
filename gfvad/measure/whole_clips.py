"""Test parts whose videos are wholly of one class, each all normal or all abnormal: what says
something of them, and what does not.

Such clips have no event to find inside them: a macro mean, a min-max per video and an overlap of
spans compare a video with itself and come out perfect whatever was scored (`protocols.py` leaves
them out). What counts is whether an alarm is raised in the right clips. Metrics, all micro, not
normalised, not smoothed; besides auc_video, the first of them:
  clip_recall          share of abnormal clips with a frame at or above the alarm threshold
  clip_false_alarms    share of normal clips with one
Their records also hold `threshold` and `threshold_rule`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gfvad.base.types import ScoredVideo
from gfvad.measure import bootstrap
from gfvad.measure.protocols import HEADLINE, Record, one_class_each, record

CLIP_AUC = "auc_video"
AT_THRESHOLD = {"clip_recall": 1, "clip_false_alarms": 0}  # metric -> label of the clips it counts


def records(
    videos: Sequence[ScoredVideo],
    alarm: tuple[float, str],
    checkpoint: str,
    resamples: int,
    seed: int,
) -> list[Record]:
    """clip_recall and clip_false_alarms of V checked videos, where each is wholly of one class and
    there are clips to count; else [].

    Args: alarm: (threshold, how it was made).
    """
    if not one_class_each(videos):
        return []
    threshold, rule = alarm
    found = []
    for metric, label in AT_THRESHOLD.items():
        chosen = [v for v in videos if v.labels.any() == label]
        if not chosen:
            continue
        raised = np.array([v.scores.max() >= threshold for v in chosen], np.float64)
        drawn = bootstrap.draw(np.ones((len(chosen), 2), bool), resamples, seed)
        value = float(raised.mean())
        ends = bootstrap.interval(value, bootstrap.resampled_mean(raised, drawn), drawn)
        size = len(chosen), sum(len(v.scores) for v in chosen)
        one = record({**HEADLINE, "checkpoint": checkpoint}, metric, value, ends, size)
        found.append({**one, "threshold": float(threshold), "threshold_rule": rule})
    return found


def first(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Records to show first, clip AUC ahead: of the headline's checkpoint, unsmoothed. [] for sets
    with events inside videos.

    Args: results: the tree of results.json.
    """
    wanted = (CLIP_AUC, *AT_THRESHOLD)
    shown = results["headline"]["checkpoint"]
    found = {r["metric"]: r for r in results["records"] if r["checkpoint"] == shown}
    return [found[m] for m in wanted if m in found] if set(AT_THRESHOLD) & set(found) else []
