"""Mean and standard deviation of features, gathered video by video in float64."""

from __future__ import annotations

import numpy as np


class Moments:
    """Running mean and variance over the non-zero units of one modality (a zero unit says that
    nothing was seen or heard).

    Each video's own moments are merged (Chan, Golub and LeVeque 1983), which stays exact where the
    mean is far larger than the deviation.
    """

    def __init__(self, dim: int):
        self.count = 0
        self.mean = np.zeros(dim)  # [D]
        self._m2 = np.zeros(dim)  # [D] sum of squared deviations

    def add(self, x: np.ndarray) -> None:
        """Adds the features [C, N, D] of one video; every crop counts."""
        units = x.reshape(-1, x.shape[-1]).astype(np.float64)  # [C * N, D]
        units = units[units.any(axis=1)]
        n = len(units)
        if not n:
            return
        mean = units.mean(axis=0)
        delta, total = mean - self.mean, self.count + n
        self._m2 += np.square(units - mean).sum(axis=0) + np.square(delta) * (
            self.count * n / total
        )
        self.mean += delta * (n / total)
        self.count = total

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """(mean, population standard deviation), float32 [D]; a feature that never changes has
        deviation 1, so that dividing is safe."""
        std = np.sqrt(self._m2 / max(self.count, 1))
        return self.mean.astype(np.float32), np.where(std > 0, std, 1.0).astype(np.float32)
