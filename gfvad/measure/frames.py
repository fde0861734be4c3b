"""From unit scores to frame scores, from spans to frame labels, and from frames to run lengths."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gfvad.base.types import DataError


class Runs(NamedTuple):
    """Frames of one video as E maximal runs of equal score and equal label."""

    scores: np.ndarray  # [E]
    labels: np.ndarray  # uint8 [E]
    weights: np.ndarray  # int32 [E] frames of the run; they sum to T


def unit_to_frames(unit_scores: np.ndarray, num_frames: int, unit_frames: int) -> np.ndarray:
    """Scores of N units -> float64 [T] scores of frames.

    unit_frames > 0: a unit's score holds for its unit_frames frames; where T > N * unit_frames the
    last unit holds on, where T is smaller the rest is cut. unit_frames == 0: the units cut T into N
    equal spans; scores are interpolated linearly between span centres and constant before the first
    and after the last.
    Raises DataError without units or frames, or for negative unit_frames.
    """
    unit_scores = np.asarray(unit_scores, np.float64)
    if unit_scores.ndim != 1 or not len(unit_scores) or num_frames < 1 or unit_frames < 0:
        raise DataError(
            f"unit scores {unit_scores.shape}, {num_frames} frames, {unit_frames} frames a unit:"
            " expected at least one unit and one frame, and 0 or more frames a unit"
        )
    frame = np.arange(num_frames)  # [T]
    if unit_frames:
        return unit_scores[np.minimum(frame // unit_frames, len(unit_scores) - 1)]
    centres = (np.arange(len(unit_scores)) + 0.5) * (num_frames / len(unit_scores))  # [N] in frames
    return np.interp(frame + 0.5, centres, unit_scores)


def labels_from_spans(spans: np.ndarray, num_frames: int) -> np.ndarray:
    """Half-open abnormal spans [S, 2] in frames -> uint8 [T]. Spans reaching over the end are cut:
    ground truths drop a last part-unit.

    Raises DataError for a span that starts before 0 or ends before it starts.
    """
    spans = np.asarray(spans, np.int64).reshape(-1, 2)
    bad = spans[(spans[:, 0] < 0) | (spans[:, 1] < spans[:, 0])]
    if len(bad):
        raise DataError(
            f"span {bad[0].tolist()}: expected 0 <= start <= end in frames; mend the annotation"
        )
    labels = np.zeros(num_frames, np.uint8)
    for start, end in spans:
        labels[start:end] = 1
    return labels


def spans_of(labels: np.ndarray) -> np.ndarray:
    """Frame labels [T] -> int64 [S, 2], the maximal runs of non-zero labels as half-open spans."""
    edges = np.diff(np.concatenate([[0], (np.asarray(labels) != 0).astype(np.int8), [0]]))
    both = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return np.stack(both, axis=1).astype(np.int64)


def peak(scores: np.ndarray, abnormal: bool) -> Runs:
    """A whole video as one entry: its highest score, and whether it is abnormal."""
    return Runs(np.array([scores.max()]), np.array([abnormal], np.uint8), np.ones(1, np.int32))


def compress(scores: np.ndarray, labels: np.ndarray) -> Runs:
    """Scores [T] and labels [T] -> Runs [E], in time order; raises DataError where the lengths
    differ."""
    scores, labels = np.asarray(scores), np.asarray(labels, np.uint8)
    if scores.shape != labels.shape or scores.ndim != 1:
        raise DataError(
            f"scores {scores.shape} and labels {labels.shape}: expected one dimension of equal"
            " length; check the ground truth"
        )
    if not len(scores):
        return Runs(scores, labels, np.zeros(0, np.int32))
    # [E] first frame of each run
    first = np.r_[0, np.flatnonzero((scores[1:] != scores[:-1]) | (labels[1:] != labels[:-1])) + 1]
    return Runs(scores[first], labels[first], np.diff(np.r_[first, len(scores)]).astype(np.int32))
