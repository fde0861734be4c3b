"""Brier score and calibration error against plain numpy and scikit-learn."""

import numpy as np
import pytest
from scored import random_videos, scored
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from gfvad.base.types import DataError
from gfvad.measure import probability


def ece_by_hand(scores, labels):
    total = 0.0
    for i in range(probability.BINS):
        low, high = i / probability.BINS, (i + 1) / probability.BINS
        inside = (scores >= low) & ((scores < high) | (i == probability.BINS - 1))
        if inside.any():
            total += inside.mean() * abs(scores[inside].mean() - labels[inside].mean())
    return total


def test_against_others():
    rng = np.random.default_rng(0)
    scores = rng.random(4000)
    labels = (rng.random(4000) < scores**2).astype(np.uint8)
    assert probability.brier(scores, labels) == pytest.approx(brier_score_loss(labels, scores))
    own = probability.calibration_error(scores, labels)
    assert own == pytest.approx(ece_by_hand(scores, labels), abs=1e-12)
    share, mean = calibration_curve(labels, scores, n_bins=probability.BINS)
    weights = np.histogram(scores, probability.BINS, (0, 1))[0] / len(scores)
    assert own == pytest.approx(np.sum(weights * np.abs(share - mean)), abs=1e-9)


def test_limits():
    labels = np.array([0, 0, 1, 1, 0])
    assert probability.brier(labels, labels) == probability.calibration_error(labels, labels) == 0
    assert probability.brier(1 - labels, labels) == 1
    assert probability.calibration_error(1 - labels, labels) == 1
    rate = np.full(5, 0.4)  # says the share of abnormal frames of every frame
    assert probability.calibration_error(rate, labels) == pytest.approx(0)
    assert probability.brier(rate, labels) == pytest.approx(0.4 * 0.6)
    assert np.isnan(probability.brier(np.zeros(0), np.zeros(0)))
    with pytest.raises(DataError, match="from -0.1 to 0.5; expected probabilities"):
        probability.brier(np.array([-0.1, 0.5]), np.array([0, 1]))


def test_a_calibrated_score_has_little_error():
    rng = np.random.default_rng(1)
    scores = rng.random(200_000)
    labels = (rng.random(len(scores)) < scores).astype(np.uint8)
    assert probability.calibration_error(scores, labels) < 0.01
    # the Brier score of a calibrated forecast is the mean of p (1 - p), here 1 / 6
    assert probability.brier(scores, labels) == pytest.approx(1 / 6, abs=0.005)


def test_of_videos():
    videos = random_videos(10)
    scores = np.concatenate([v.scores for v in videos])
    labels = np.concatenate([v.labels for v in videos])
    found = probability.of_videos(videos, 200)
    assert found["brier"][0] == pytest.approx(probability.brier(scores, labels))
    assert found["ece"][0] == pytest.approx(probability.calibration_error(scores, labels))
    assert all(low <= value <= high for value, (low, high) in found.values())
    assert probability.of_videos(videos)["ece"][1] is None
    alike = [scored(f"v{i}", [0.5, 0.5], [0, 1]) for i in range(3)]
    assert probability.of_videos(alike)["brier"][0] == 0.25
