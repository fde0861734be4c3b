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
from gfvad.tasks.prediction import scorer as scorer_lib
from gfvad.tasks.prediction.window import Clip, ScoreWindows, batch_of

if TYPE_CHECKING:
    from gfvad.tasks.prediction.score import PredictiveScorer

FRAMES = 4  # that go through the model together


class ClipStreamer:
    """Causal scores of a stream: `push` a frame, get the rows that became ready. Equal to those of
    the whole video with score.causal.

    A row comes at the latest `frames` - 1 frames after its frame (`delay_frames`), and the time of
    one call of the model. Compiled when made, so the first row takes no longer.
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
        self.scorer, self.frames = scorer, frames
        self._config, self._kept = scorer.config, scorer.run.scorer
        self._cfg = scorer_lib.streaming(self._config.score)
        self._model = scorer.run.reader.bind(scorer.run.state)
        self.number, self._size = 0, None  # frames that had their row
        self._model(batch_of([self._kept.example()], frames))
        self.restart()

    @property
    def delay_frames(self) -> int:
        """A row waits for at most so many frames behind its own."""
        return max(self.frames - 1, 1 if self._config.data.flow else 0)

    @property
    def delay(self) -> str:
        """What a row waits for, in words."""
        return (
            f"at most {self.delay_frames} frames behind its own, and the time of scoring"
            f" {self.frames} frames"
        )

    @property
    def threshold(self) -> float:
        """A score from which on a frame is an alarm, by the causal scores of held-out normal
        training videos."""
        return self._kept.threshold(causal=True)

    def restart(self) -> None:
        """Forgets the past: the next frame is the first of another scene (or the stream was
        broken). Numbers of frames go on."""
        self._window = self.scorer.window()
        self._windows = ScoreWindows(
            self._kept.causal, self._kept.chosen.weights, self._cfg, heat=False
        )
        self._clips: list[Clip] = []
        self._times: deque[float] = deque()  # of frames without a row
        self._last: float | None = None
        self._gap = 1.0 / decode.DEFAULT_FPS
        self._size = None

    def push(self, piece: Picture | Sound) -> list[UnitScore]:
        """One more frame of any size (the model's is made here), at a time above the last one's;
        sound is not heard.

        Raises DataError for a frame of another size than the first one, or a time that runs back:
        `restart` first where that is meant.
        """
        if isinstance(piece, Sound):
            return []
        time, rgb = piece
        if self._size not in (None, rgb.shape):
            raise DataError(
                f"stream: frame {self.number + len(self._times)} has shape {list(rgb.shape)},"
                f" expected {list(self._size)} as before: restart the stream"
            )
        if self._last is not None:
            if time <= self._last:
                raise DataError(
                    f"stream: frame {self.number + len(self._times)} at {time:.3f} s after one at"
                    f" {self._last:.3f} s, expected a later one: restart the stream"
                )
            self._gap = time - self._last
        self._size, self._last = rgb.shape, time
        self._times.append(time)
        grey = (
            cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
            if self._config.data.flow or self._config.data.channels == decode.GREY
            else None
        )
        with one_thread_each():
            self._clips += self._window.push(
                grey if self._config.data.channels == decode.GREY else rgb, grey
            )
        rows = []
        while len(self._clips) >= self.frames:
            rows += self._score(self.frames)
        return rows

    def finish(self) -> list[UnitScore]:
        """The rows of the frames that still wait; then as after `restart`."""
        self._clips += self._window.finish()
        rows = []
        while self._clips:
            rows += self._score(min(self.frames, len(self._clips)))
        self.restart()
        return rows

    def _score(self, count: int) -> list[UnitScore]:
        """Rows of the first `count` waiting clips."""
        batch = batch_of(self._clips[:count], self.frames)
        del self._clips[:count]
        windowed = self._windows.push(self.scorer.readings(batch, self._model(batch), count))
        assert windowed is not None  # causal windows wait for nothing
        evidence = windowed.evidence
        parts = {name: w * evidence[name] for name, w in self._kept.chosen.weights.items()}
        rows = []
        for i in range(count):
            start = self._times.popleft()
            end = self._times[0] if self._times else start + self._gap
            own = {name: float(x[i]) for name, x in parts.items()}
            rows.append(UnitScore(start, end, sum(own.values()), own))
            self.number += 1
        return rows
