"""What is said of one scored video, whatever model said it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gfvad.measure.frames import unit_to_frames


class Culprit(NamedTuple):
    """The thing in the picture that a score comes from."""

    track: int  # its number
    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels


class Boxes(NamedTuple):
    """The M boxes in the pictures of the N units of a video."""

    size: tuple[int, int]  # width and height of the pictures in pixels; (0, 0) where unknown
    first: np.ndarray  # int64 [N + 1]: those of unit i are first[i] up to first[i + 1]
    box: np.ndarray  # float [M, 4] x1, y1, x2, y2 in pixels
    track: np.ndarray  # int64 [M] the number of the thing in it
    score: np.ndarray  # float [M]
    highest: np.ndarray  # int64 [N] the box that the unit's score comes from; -1 without one

    def culprit(self, unit: int) -> Culprit | None:
        """What the score of a unit comes from; None where the picture holds nothing."""
        i = int(self.highest[unit])
        if i < 0:
            return None
        x1, y1, x2, y2 = map(float, self.box[i])
        return Culprit(int(self.track[i]), (x1, y1, x2, y2))


class UnitScore(NamedTuple):
    """The score of one unit of a video or of a stream."""

    start: float  # seconds
    end: float
    score: float  # NaN where none could be made, which is never written
    contributions: Mapping[str, float]  # as in VideoScores
    culprit: Culprit | None = None  # where the model knows it


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
    boxes: Boxes | None = None  # of models that look at things in the picture

    def unit(self, i: int) -> UnitScore:
        """Unit i by itself."""
        contributions = {name: float(x[i]) for name, x in self.contributions.items()}
        culprit = None if self.boxes is None else self.boxes.culprit(i)
        times = float(self.start[i]), float(self.end[i])
        return UnitScore(*times, float(self.score[i]), contributions, culprit)

    def frame_scores(self) -> np.ndarray:
        """float64 [T]: each frame has the score of its unit."""
        if not len(self.score):
            return np.zeros(0)
        longest = len(self.score) * max(self.unit_frames, 1)
        frames = self.frames if 0 < self.frames < longest or not self.unit_frames else longest
        return unit_to_frames(self.score, frames, self.unit_frames)
