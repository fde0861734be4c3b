"""Scores of a graph fusion model as frames come: units are cut, encoded and scored with those
before them, in bounded memory.

Delay: a unit's score is there when its 16 frames (and 0.48 s of sound behind its middle) are, plus
the time of one encoding and one scoring. A score is of the newest unit, with no later one in sight,
so it differs from that of the whole video.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence

import numpy as np

from gfvad.encoders.registry import UnitEncoder
from gfvad.encoders.units import FRAMES, Grouper, Picture, Sound, Unit
from gfvad.measure.score_result import UnitScore
from gfvad.tasks.fusion.standalone import CLOCK, Refused, UnitScorer

MEMORY = 64  # units (about half a minute) that a new one is related to


class UnitStreamer:
    """Pieces of a stream in, scores of units out. sound: whether the stream has a sound track;
    fps: as `Grouper`. Field `delay`: what a score waits for, in words."""

    def __init__(
        self, scorer: UnitScorer, encoders: Sequence[UnitEncoder], sound: bool, fps: float = 25.0
    ):
        self._scorer, self._grouper, widths = scorer, Grouper(sound, fps), scorer.modalities
        self._encoders = {e.modality: e for e in encoders if e.modality in widths}
        silent = set() if sound else {"audio"} & {*widths}
        absent = ", ".join(sorted({*widths} - {*self._encoders} | silent))
        self.delay = f"a unit of {FRAMES} frames ({FRAMES / fps:.2f} s), and the time of scoring it"
        if absent:
            self.delay += f"; no {absent}: scores are made without it"
        self.memory = min(MEMORY, scorer.lengths[-1])
        self._rows: deque[dict[str, np.ndarray]] = deque(maxlen=self.memory)
        self._times: deque[float] = deque(maxlen=self.memory)
        # compiled before the first frame, not while it waits
        for length in (n for n in scorer.lengths if n <= self.memory):
            ones = {m: np.ones((length, d), np.float32) for m, d in widths.items()}
            self._scores(ones, np.arange(length, dtype=np.float64))
        blank = Unit(0, 0.0, 1.0, np.zeros((FRAMES, 64, 64, 3), np.uint8), None, None)
        for encoder in self._encoders.values():  # networks are loaded and compiled then, too
            encoder.encode(blank)

    def push(self, piece: Picture | Sound) -> list[UnitScore]:
        """One more frame or piece of sound: rows of the units that it completed."""
        return [self._score_unit(unit) for unit in self._grouper.push(piece)]

    def finish(self) -> list[UnitScore]:
        """The end of the stream."""
        return [self._score_unit(unit) for unit in self._grouper.finish()]

    def _score_unit(self, unit: Unit) -> UnitScore:
        widths = self._scorer.modalities
        nothing = {m: np.zeros(d, np.float32) for m, d in widths.items()}
        encoded = {m: e.encode(unit) for m, e in self._encoders.items()}
        known = {m: np.asarray(x, np.float32) for m, x in encoded.items() if x is not None}
        self._rows.append(nothing | known)
        self._times.append((unit.start + unit.end) / 2)
        features = {m: np.stack([row[m] for row in self._rows]) for m in widths}
        try:
            found = self._scores(features, np.array(self._times) - self._times[0])
        except Refused as error:
            self._rows[-1] = nothing  # units after it are not spoilt by it
            print(f"warning: {error}", file=sys.stderr)
            return UnitScore(unit.start, unit.end, float("nan"), {})
        parts = {m: float(x[-1]) for m, x in found["parts"].items()}
        return UnitScore(unit.start, unit.end, float(found["scores"][-1]), parts)

    def _scores(self, features: dict[str, np.ndarray], clock: np.ndarray) -> dict:
        return self._scorer.score("stream", features | {CLOCK: clock}, parts=True)
