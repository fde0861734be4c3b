"""What is said of one scored video, whatever model said it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gfvad.measure.frames import unit_to_frames


class UnitScore(NamedTuple):
    """The score of one unit of a video or of a stream."""

    start: float  # seconds
    end: float
    score: float  # NaN where none could be made, which is never written
    contributions: Mapping[str, float]  # as in VideoScores


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
    unit_frames: int = 1  # frames of a unit; 0: the units cut the video into equal spans

    def unit(self, i: int) -> UnitScore:
        """Unit i by itself."""
        contributions = {name: float(x[i]) for name, x in self.contributions.items()}
        return UnitScore(
            float(self.start[i]), float(self.end[i]), float(self.score[i]), contributions
        )

    def frame_scores(self) -> np.ndarray:
        """float64 [T]: each frame has the score of its unit."""
        if not len(self.score):
            return np.zeros(0)
        longest = len(self.score) * max(self.unit_frames, 1)
        frames = self.frames if 0 < self.frames < longest or not self.unit_frames else longest
        return unit_to_frames(self.score, frames, self.unit_frames)
