"""Scores of the predictive model as frames come: causal windows, bounded memory, a delay of a
few frames."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import cv2

from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames import decode
from gfvad.data.frames.flow import one_thread_each
from gfvad.encoders.units import Picture, Sound
from gfvad.measure.score_result import UnitScore
from gfvad.tasks.prediction import score_rule
from gfvad.tasks.prediction.frame_errors import batch_of, clip_readings
from gfvad.tasks.prediction.window import Clip, ClipWindow, ScoreWindows

if TYPE_CHECKING:
    from gfvad.tasks.prediction.scorer import PredictiveScorer

FRAMES = 4  # that go through the model together


class ClipStreamer:
    """Causal scores of a stream: `push` a frame, get the rows that became ready. Equal to those of
    the whole video with score.causal.

    A row comes at the latest `frames` - 1 frames after its frame (`delay_frames`), and the time of
    one call of the model. Compiled when made, so the first row takes no longer. `threshold` is that
    of the causal scores of held-out normal training videos.
    Raises ConfigError for a model that reads descriptions, or a number of frames below 1.
    """

    def __init__(self, scorer: PredictiveScorer, frames: int = FRAMES):
        if scorer.needs_text:
            raise ConfigError(
                f"{scorer.path}: the model reads descriptions, which a stream has not; expected one"
                " without: train with the variant no_text"
            )
        if frames < 1:
            raise ConfigError(f"a stream in groups of {frames} frames; expected 1 or more")
        self.frames, self._config, self._kept = frames, scorer.config, scorer.run.scorer
        self._model = scorer.run.reader.bind(scorer.run.state)
        self._model(batch_of([self._kept.example()], frames))
        self.threshold = self._kept.threshold(causal=True)
        # a row waits for at most so many frames behind its own
        self.delay_frames = max(frames - 1, 1 if self._config.data.flow else 0)
        self.delay = (
            f"at most {self.delay_frames} frames behind its own, and the time of scoring"
            f" {frames} frames"
        )
        self.number = 0  # frames that had their row
        self.restart()

    def restart(self) -> None:
        """Forgets the past: the next frame is the first of another scene (or the stream was
        broken). Numbers of frames go on."""
        rule, cfg = self._kept, score_rule.streaming(self._config.score)
        self._window = ClipWindow(self._config, rule.flow_size)
        self._windows = ScoreWindows(rule.causal, rule.chosen.weights, cfg, heat=False)
        self._clips: list[Clip] = []
        self._times: deque[float] = deque()  # of frames without a row
        self._last: float | None = None
        self._gap = 1.0 / decode.DEFAULT_FPS
        self._size: tuple[int, ...] | None = None

    def push(self, piece: Picture | Sound) -> list[UnitScore]:
        """One more frame of any size (the model's is made here), at a time above the last one's;
        sound is not heard.

        Raises DataError for a frame of another size than the first one, or a time that runs back:
        `restart` first where that is meant.
        """
        if isinstance(piece, Sound):
            return []
        (time, rgb), data = piece, self._config.data
        where = f"stream: frame {self.number + len(self._times)}"
        if self._size is not None and self._size != rgb.shape:
            raise DataError(
                f"{where} has shape {list(rgb.shape)}, expected {list(self._size)} as before:"
                " restart the stream"
            )
        if self._last is not None:
            if time <= self._last:
                raise DataError(
                    f"{where} at {time:.3f} s after one at {self._last:.3f} s, expected a later"
                    " one: restart the stream"
                )
            self._gap = time - self._last
        self._size, self._last = rgb.shape, time
        self._times.append(time)
        frame, grey = rgb, None
        if data.flow or data.channels == decode.GREY:
            grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
            frame = grey if data.channels == decode.GREY else rgb
        with one_thread_each():
            self._clips += self._window.push(frame, grey)
        return self._score(self.frames)

    def finish(self) -> list[UnitScore]:
        """The rows of the frames that still wait; then as after `restart`."""
        self._clips += self._window.finish()
        rows = self._score(1)
        self.restart()
        return rows

    def _score(self, least: int) -> list[UnitScore]:
        """Rows of waiting clips, `frames` at a time, while there are as many as `least`."""
        rows = []
        while len(self._clips) >= least:
            count = min(self.frames, len(self._clips))
            batch = batch_of(self._clips[:count], self.frames)
            del self._clips[:count]
            readings = clip_readings(self._config, batch, self._model(batch), count)
            windowed = self._windows.push(readings)
            assert windowed is not None  # causal windows wait for nothing
            weights = self._kept.chosen.weights
            parts = {name: w * windowed.evidence[name] for name, w in weights.items()}
            for i in range(count):
                start = self._times.popleft()
                end = self._times[0] if self._times else start + self._gap
                own = {name: float(x[i]) for name, x in parts.items()}
                rows.append(UnitScore(start, end, sum(own.values()), own))
                self.number += 1
        return rows
