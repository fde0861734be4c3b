"""What is said of one scored video, whatever model said it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class VideoScores(NamedTuple):
    """Scores of the N units of a video, in seconds, with what they are made of."""

    name: str
    path: str  # of the video; '' where unknown
    fps: float  # frames a second; 0.0 where unknown
    frames: int
    start: np.ndarray  # float64 [N] seconds
    end: np.ndarray  # float64 [N]
    # float64 [N]; in [0, 1] for weak models, any non-negative number for the predictive one
    score: np.ndarray
    # modality or term -> float64 [N]: what the score (weak: its logit) would lack without it
    contributions: Mapping[str, np.ndarray]
    graph: np.ndarray | None = None  # float32 [N, N] fused relationship graph
    heat: np.ndarray | None = None  # uint8 [H, g, g'], where in the picture
    heat_time: np.ndarray | None = None  # float64 [H] seconds
    missing: tuple[str, ...] = ()  # modalities that the model has and the video has not
    descriptions: tuple[tuple[float, str], ...] = ()  # (seconds, text)
    spans: tuple[tuple[float, float], ...] | None = None  # true ones in seconds, where known
    label: int | None = None  # 0 normal, 1 abnormal, where known
