"""Scores that look at no video: what stands beside any score file of a set.

The centre, the length and the label of a video, and the video's own mean score. A model that does
not clearly beat the first two finds nothing; beside the third one stands how much of a result is
only knowing which videos are abnormal, and beside the last one how much of it is left when a model
no longer says when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gfvad.base.types import ScoredVideo
from gfvad.measure.protocols import one_class_each

CENTRE, LENGTH = "centre of the video", "minus log of its length"
LABEL, BOTH = "the video's own label", "the video's own label, at its centre"
MEAN = "the video's own mean score"
NEEDS_LABELS = (LABEL, BOTH)  # what no model may know


def bump(frames: int) -> np.ndarray:
    """[T] 1 in the middle, 0 at both ends; any other bump that falls with the distance from the
    middle as a share of the length ranks frames alike."""
    # whole numbers first: equal shares, of one video or of several, are equal to the last bit
    return 1 - np.abs(2 * np.arange(frames) + 1 - frames) / frames


def scores_of(videos: Sequence[ScoredVideo]) -> dict[str, dict[str, np.ndarray]]:
    """{floor: {video: frame scores [T]}} of labelled videos.

    The label and the mean say all where each video is wholly of one kind, and are left out there.
    """
    constant = lambda v, x: np.full(len(v.labels), float(x))
    abnormal = lambda v: float(v.labels.any())
    rules = {CENTRE: lambda v: bump(len(v.labels))}
    rules[LENGTH] = lambda v: constant(v, -np.log(len(v.labels)))
    if not one_class_each(videos):
        rules[LABEL] = lambda v: constant(v, abnormal(v))
        rules[BOTH] = lambda v: abnormal(v) * bump(len(v.labels))
        rules[MEAN] = lambda v: constant(v, v.scores.mean())
    return {name: {v.name: rule(v) for v in videos} for name, rule in rules.items()}


def with_scores(
    videos: Sequence[ScoredVideo], scores: Mapping[str, np.ndarray]
) -> list[ScoredVideo]:
    """The same videos with other frame scores {video: [T]}."""
    return [v._replace(scores=np.asarray(scores[v.name], np.float64)) for v in videos]
