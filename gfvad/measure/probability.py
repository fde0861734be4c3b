"""Are scores in [0, 1] probabilities? Over all frames, each as one forecast.

brier   mean of (score - label)^2; 0 is perfect; a constant score p has (p - r)^2 + r (1 - r), r the
        share of abnormal frames (Brier 1950)
ece     expected calibration error: frames in BINS equal bins of the score, [0, 1/15), ...,
        [14/15, 1]; sum over bins of (share of frames) * |mean score - share of abnormal frames|
        (Naeini et al. 2015; 15 bins: Guo et al. 2017)

Both say something only where scores are meant as probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gfvad.base.types import DataError, ScoredVideo
from gfvad.measure import bootstrap

BINS = 15
METRICS = ("brier", "ece")
Valued = tuple[float, "list[float] | None"]


def require_shares(scores: np.ndarray) -> np.ndarray:
    """Scores as float64. Raises DataError for one outside [0, 1]."""
    scores = np.asarray(scores, np.float64)
    if len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
        raise DataError(
            f"scores from {scores.min():g} to {scores.max():g}; expected probabilities, from 0 to"
            " 1: bring them there by a fixed rule (a sigmoid) first"
        )
    return scores


def brier(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared difference of scores [T] and labels [T]; NaN without frames. Raises as
    `require_shares`."""
    scores = require_shares(scores)
    return float(np.mean((scores - labels) ** 2)) if len(scores) else float("nan")


def gaps(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[BINS] sum of (score - label) over the frames of each bin. Raises as `require_shares`."""
    scores = require_shares(scores)
    place = np.minimum((scores * BINS).astype(int), BINS - 1)
    return np.bincount(place, scores - labels, BINS)


def calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of scores [T] and labels [T]; NaN without frames. Raises as
    `require_shares`."""
    return float(np.abs(gaps(scores, labels)).sum() / len(scores)) if len(scores) else float("nan")


def of_videos(
    videos: Sequence[ScoredVideo], resamples: int = 0, seed: int = 0
) -> dict[str, Valued]:
    """{brier, ece: (value, 95 % interval over videos)} of V checked videos with scores in [0, 1].
    Raises as `require_shares`."""
    frames = np.array([len(v.labels) for v in videos], np.float64)  # [V]
    squares = frames * [brier(v.scores, v.labels) for v in videos]
    errors = np.stack([gaps(v.scores, v.labels) for v in videos])  # [V, BINS]
    drawn = bootstrap.draw(np.ones((len(videos), 2), bool), resamples, seed)
    total = drawn @ frames
    found = {
        "brier": (float(squares.sum() / frames.sum()), drawn @ squares / total),
        "ece": (
            float(np.abs(errors.sum(0)).sum() / frames.sum()),
            np.abs(drawn @ errors).sum(1) / total,
        ),
    }
    return {
        name: (value, bootstrap.interval(value, values, drawn))
        for name, (value, values) in found.items()
    }
