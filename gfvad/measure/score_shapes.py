"""What a protocol may do to the frame scores of a video: normalise or smooth them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter


def none(scores: np.ndarray, *_: float) -> np.ndarray:
    """Scores [T] as they are."""
    return scores


def min_max(scores: np.ndarray, *_: float) -> np.ndarray:
    """[T] -> [0, 1] by the video's own extremes; 0 where it is constant. Needs the whole future
    and assumes an anomaly in each video."""
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


def training_statistics(scores: np.ndarray, mean: float, std: float) -> np.ndarray:
    """[T] -> (score - mean) / std of the scores on the training split. One map for all videos:
    rankings, and so AUC and AP, stay as raw."""
    return (scores - mean) / std


def causal_ema(scores: np.ndarray, decay: float) -> np.ndarray:
    """[T] -> y_t = decay * y_(t-1) + (1 - decay) * x_t over frames, y_0 = x_0: sees no future."""
    if not len(scores):
        return scores
    return lfilter([1 - decay], [1, -decay], scores, zi=[decay * scores[0]])[0]


def gaussian(scores: np.ndarray, sigma: float) -> np.ndarray:
    """[T] -> Gaussian average, sigma in frames; ends mirrored (scipy's mode 'reflect', the
    default published code relies on)."""
    return gaussian_filter1d(np.asarray(scores, np.float64), sigma, mode="reflect")


NORMALISATIONS: dict[str, Callable] = {
    "none": none,
    "minmax": min_max,
    "train": training_statistics,
}
SMOOTHINGS: dict[str, Callable] = {"none": none, "ema": causal_ema, "gaussian": gaussian}


def transform(
    scores: np.ndarray, normalisation: str, smoothing: tuple[str, float], train_stats=(0.0, 1.0)
) -> np.ndarray:
    """Frame scores [T] -> normalised, then smoothed, [T]."""
    scores = NORMALISATIONS[normalisation](np.asarray(scores, np.float64), *train_stats)
    if smoothing[0] == "none":
        return scores
    # 40 of 53 bits: a filter leaves noise in the last ones, which would break the ties of a
    # constant score at random
    mantissa, exponent = np.frexp(SMOOTHINGS[smoothing[0]](scores, smoothing[1]))
    return np.ldexp(np.round(mantissa * 2.0**40), exponent - 40)
