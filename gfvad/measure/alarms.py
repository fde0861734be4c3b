"""Alarms: runs of units whose score reaches the threshold, joined over short gaps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gfvad.measure.score_result import VideoScores

GAP = 1.0  # seconds below the threshold that do not end an alarm


class Alarm(NamedTuple):
    """One alarm of a video, in seconds."""

    video: str
    start: float
    end: float
    peak: float  # highest score in it
    peak_time: float  # middle of that unit
    contributions: dict[str, float]  # of each modality or term, at the peak


def find_alarms(video: VideoScores, threshold: float, gap: float = GAP) -> list[Alarm]:
    """The alarms of a video in the order of time: score >= threshold, less than `gap` seconds
    apart are one."""
    spans: list[list[int]] = []  # first and last unit
    for i in np.flatnonzero(np.asarray(video.score) >= threshold):
        if spans and video.start[i] - video.end[spans[-1][1]] < gap:
            spans[-1][1] = int(i)
        else:
            spans.append([int(i), int(i)])
    found = []
    for first, last in spans:
        peak = first + int(np.argmax(video.score[first : last + 1]))
        parts = {name: float(x[peak]) for name, x in video.contributions.items()}
        middle = (video.start[peak] + video.end[peak]) / 2
        found.append(
            Alarm(
                video.name,
                float(video.start[first]),
                float(video.end[last]),
                float(video.score[peak]),
                float(middle),
                parts,
            )
        )
    return found
