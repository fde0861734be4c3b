"""A threshold by the false alarms an hour that somebody accepts, from scores of held-out normal
video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import genpareto

from gfvad.measure.alarms import GAP

ENOUGH = 3  # false alarms that the video must be long enough for, to go by it alone
TAIL = 30  # highest events that the tail is fitted to, where there are as many
LASTING = 300  # seconds that each alarm that is asked for may be on, on average
MOST_ON = 0.5  # share of the time that alarms may be on, whatever is asked for
HALVINGS = 40
OUTLYING = 3  # times the rate that is asked for, as which a video counts at most
STEPS = 200  # quantiles that a threshold is looked for between


class Normal(NamedTuple):
    """Frame scores of a normal video."""

    scores: np.ndarray  # float64 [T]
    fps: float

    @property
    def hours(self) -> float:
        """How long it is."""
        return len(self.scores) / self.fps / 3600


class Rate(NamedTuple):
    """A threshold, and how it was made."""

    threshold: float
    rule: str


class Measured(NamedTuple):
    """False alarms of normal video that the threshold was not made from."""

    alarms: int
    hours: float
    asked: float  # an hour
    share: float  # of the time, that an alarm is on

    @property
    def an_hour(self) -> float:
        """False alarms an hour; NaN of no video."""
        return self.alarms / self.hours if self.hours else float("nan")

    def __str__(self) -> str:
        return (
            f"{self.an_hour:.3g} false alarms an hour ({self.alarms} in {self.hours:.3g} hours,"
            f" on for {100 * self.share:.2g} % of the time), {self.asked:g} asked for"
        )


def crossed(videos: Sequence[Normal], an_hour: float, gap_seconds: float) -> Measured:
    """What `for_rate` is worth on video that it has not seen: the threshold of every second video
    is tried on the other ones, and theirs on those; one video alone is cut in two. Arguments as
    `for_rate`."""
    if len(videos) == 1:
        scores, fps = videos[0]
        middle = len(scores) // 2
        videos = [Normal(scores[:middle], fps), Normal(scores[middle:], fps)]
    halves = videos[::2], videos[1::2]
    alarms, frames = 0, 0
    for made_from, tried_on in (halves, halves[::-1]):
        at = for_rate(made_from, an_hour, gap_seconds).threshold
        found = [spans(v, at, gap_seconds) for v in tried_on]
        alarms += sum(map(len, found))
        frames += sum(int((s[:, 1] - s[:, 0]).sum()) for s in found)
    share = frames / max(1, sum(len(v.scores) for v in videos))
    return Measured(alarms, sum(v.hours for v in videos), an_hour, share)


def spans(video: Normal, threshold: float, gap_seconds: float) -> np.ndarray:
    """int64 [K, 2] first frame and the one after the last of the alarms of one video: runs of
    scores at or above a threshold, joined where at most `gap_seconds` are between them."""
    above = np.flatnonzero(video.scores >= threshold)
    if not len(above):
        return np.zeros((0, 2), np.int64)
    ends = np.flatnonzero(np.diff(above) > round(gap_seconds * video.fps) + 1)
    first, last = above[np.r_[0, ends + 1]], above[np.r_[ends, len(above) - 1]]
    return np.stack([first, last + 1], 1)


def events(video: Normal, threshold: float, gap_seconds: float) -> np.ndarray:
    """Peaks of the alarms of one video, as `spans` has them."""
    found = spans(video, threshold, gap_seconds)
    return np.array([video.scores[first:end].max() for first, end in found])


def for_rate(videos: Sequence[Normal], an_hour: float, gap_seconds: float) -> Rate:
    """The lowest threshold from which on normal videos give at most `an_hour` alarms an hour.

    Nor are they on for longer than LASTING seconds each, on average: as a threshold falls, alarms
    run into each other, and few that never end are worth nothing.
    A single video that is unlike all others (a night among days) alarms without end, and would set
    the threshold for all: none counts for more than OUTLYING times what is asked for, or one alarm.
    Where the videos are too short to show as few as ENOUGH of them, the tail of the peaks is fitted
    by a generalised Pareto distribution (Coles, 2001) and the threshold is read off it; the rule
    says so. There peaks more than a second apart are told apart whatever the gap, so that few
    minutes have enough of them: never too few alarms are counted.

    Args: videos: held-out ones; gap_seconds: alarms closer than that are one.
    """
    hours = sum(v.hours for v in videos)
    pooled = np.concatenate([*(v.scores for v in videos), np.zeros(0)])
    if not len(pooled):
        raise ValueError("no normal video to make a threshold from")

    length = np.array([v.hours for v in videos])
    most = np.maximum(1.0, OUTLYING * an_hour * length)
    # hours of alarm in all, and of one video
    longest = hours * min(an_hour * LASTING / 3600, MOST_ON)
    each = OUTLYING * longest * length / hours

    def counts(threshold: float, gap: float) -> np.ndarray:
        return np.array([len(spans(v, threshold, gap)) for v in videos])

    def few_enough(threshold: float) -> bool:
        found = [spans(v, threshold, gap_seconds) for v in videos]
        number = np.minimum([len(s) for s in found], most).sum()
        on = [(s[:, 1] - s[:, 0]).sum() / v.fps / 3600 for s, v in zip(found, videos, strict=True)]
        return number <= wanted and np.minimum(on, each).sum() <= longest

    said = f"{an_hour:g} false alarms an hour of {hours:.2g} hours of held-out normal video"
    wanted = an_hour * hours
    if wanted >= ENOUGH:
        return Rate(lowest(pooled, few_enough), said)
    apart = min(gap_seconds, GAP)
    start = lowest(pooled, lambda u: counts(u, apart).sum() <= TAIL)
    peaks = np.concatenate([events(v, start, apart) for v in videos])
    excess = peaks - start
    if len(excess) < 5 or not excess.max():
        return Rate(float(np.nextafter(pooled.max(), np.inf)), f"{said}, which had none")
    shape, _, scale = genpareto.fit(excess, floc=0)
    shape = float(np.clip(shape, -0.5, 0.5))  # a heavier tail than the few peaks can show
    further = genpareto.isf(min(wanted / len(excess), 1.0), shape, 0, max(scale, 1e-9))
    return Rate(
        float(start + further),
        f"{said}; too little for so few: from the tail of its {len(excess)} highest peaks"
        f" (generalised Pareto, shape {shape:.2f})",
    )


def lowest(scores: np.ndarray, holds: Callable[[float], Any]) -> float:
    """The lowest threshold that `holds` with all higher ones.

    Alarms do not grow steadily as a threshold falls: far down they run into each other, until a
    whole video is one. So it is looked for from above, over quantiles of the scores, then halved.
    """
    shares = np.geomspace(1 / len(scores), 1, STEPS)
    high = float(np.nextafter(scores.max(), np.inf))
    low = high
    for candidate in np.quantile(scores, 1 - shares):
        low = float(candidate)
        if not holds(low):
            break
        high = low
    for _ in range(HALVINGS if low < high else 0):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
