"""Alarms: runs of units whose score reaches the threshold, joined over short gaps; as units come,
or of a whole video."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gfvad.measure.score_result import Culprit, UnitScore, VideoScores

GAP = 1.0  # seconds below the threshold that do not end an alarm


class Alarm(NamedTuple):
    """One alarm of a video, in seconds."""

    video: str
    start: float
    end: float
    peak: float  # highest score in it
    peak_time: float  # middle of that unit
    contributions: dict[str, float]  # of each modality or term, at the peak
    culprit: Culprit | None = None  # at the peak


class AlarmJoiner:
    """Units of one video in the order of time -> its alarms: score >= threshold, less than `gap`
    seconds apart are one. Field `current`: the alarm that goes on, None without one."""

    def __init__(self, video: str, threshold: float, gap: float = GAP):
        self._video, self._threshold, self._gap = video, threshold, gap
        self.current: Alarm | None = None

    def push(self, unit: UnitScore) -> Alarm | None:
        """The next unit; the alarm that is over with it, where one is."""
        ended = None
        if self.current and unit.start - self.current.end >= self._gap:
            ended = self.finish()
        if unit.score >= self._threshold:
            middle = (unit.start + unit.end) / 2
            peak = (unit.score, middle, dict(unit.contributions), unit.culprit)
            if self.current is None:
                self.current = Alarm(self._video, unit.start, unit.end, *peak)
            elif unit.score > self.current.peak:
                self.current = Alarm(self._video, self.current.start, unit.end, *peak)
            else:
                self.current = self.current._replace(end=unit.end)
        return ended

    def finish(self) -> Alarm | None:
        """The end of the video: the alarm that went on, where one did."""
        ended, self.current = self.current, None
        return ended


def find_alarms(video: VideoScores, threshold: float, gap: float = GAP) -> list[Alarm]:
    """The alarms of a whole video in the order of time."""
    joiner = AlarmJoiner(video.name, threshold, gap)
    above = np.flatnonzero(np.asarray(video.score) >= threshold)
    found = [*(joiner.push(video.unit(int(i))) for i in above), joiner.finish()]
    return [alarm for alarm in found if alarm]
