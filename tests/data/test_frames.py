"""Unit scores to frames, spans to labels, frames to runs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvad.base.types import DataError
from gfvad.measure import frames


def by_hand_interpolation(scores, num_frames):
    """Linear between the centres of N equal spans, frame centres at t + 1/2; plain loops."""
    n, span = len(scores), num_frames / len(scores)
    out = []
    for t in range(num_frames):
        place = (t + 0.5) / span - 0.5  # in units, 0 at the first centre
        left = min(max(int(np.floor(place)), 0), n - 1)
        right = min(left + 1, n - 1)
        share = min(max(place - left, 0.0), 1.0)
        out.append(scores[left] * (1 - share) + scores[right] * share)
    return np.array(out)


def test_repeat_extend_and_cut():
    units = np.array([0.1, 0.2, 0.3])
    assert frames.unit_to_frames(units, 6, 2).tolist() == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]
    assert frames.unit_to_frames(units, 8, 2).tolist() == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3]
    assert frames.unit_to_frames(units, 3, 2).tolist() == [0.1, 0.1, 0.2]
    assert frames.unit_to_frames(units.astype(np.float32), 3, 1).dtype == np.float64


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12), st.integers(1, 90))
def test_interpolation(scores, num_frames):
    found = frames.unit_to_frames(np.array(scores), num_frames, 0)
    assert found == pytest.approx(by_hand_interpolation(scores, num_frames), abs=1e-12)


def test_interpolation_limits():
    assert frames.unit_to_frames(np.array([0.4]), 5, 0).tolist() == [0.4] * 5
    assert frames.unit_to_frames(np.arange(4.0), 4, 0).tolist() == [0, 1, 2, 3]  # a unit a frame
    reverse = frames.unit_to_frames(np.arange(5.0)[::-1], 33, 0)[::-1]
    assert reverse == pytest.approx(frames.unit_to_frames(np.arange(5.0), 33, 0), abs=1e-12)


@pytest.mark.parametrize(
    "units, num_frames, unit_frames", [([], 3, 16), ([0.1], 0, 16), ([0.1], 4, -1), ([[0.1]], 4, 1)]
)
def test_unit_to_frames_refuses(units, num_frames, unit_frames):
    with pytest.raises(DataError, match="at least one unit"):
        frames.unit_to_frames(np.array(units), num_frames, unit_frames)


def test_labels_from_spans():
    assert frames.labels_from_spans(np.array([[1, 3], [2, 4], [6, 99]]), 8).tolist() == [
        0,
        1,
        1,
        1,
        0,
        0,
        1,
        1,
    ]
    assert frames.labels_from_spans(np.zeros((0, 2)), 3).tolist() == [0, 0, 0]
    assert frames.labels_from_spans([[5, 9]], 3).tolist() == [0, 0, 0]
    for bad in ([[-1, 2]], [[3, 2]]):
        with pytest.raises(DataError, match="start <= end"):
            frames.labels_from_spans(np.array(bad), 8)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 1)), max_size=40))
def test_compress_is_exact_and_maximal(pairs):
    scores, labels = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], np.uint8)
    runs = frames.compress(scores, labels)
    assert np.repeat(runs.scores, runs.weights).tolist() == scores.tolist()
    assert np.repeat(runs.labels, runs.weights).tolist() == labels.tolist()
    joined = list(zip(runs.scores, runs.labels))
    assert all(a != b for a, b in zip(joined, joined[1:]))


def test_compress_refuses_other_lengths():
    with pytest.raises(DataError, match="equal length"):
        frames.compress(np.zeros(16), np.zeros(17))
