"""Mistakes that are common in published evaluations, and what each would add to given scores.

Each is made on purpose and measured beside the plain value (micro, raw): the difference is not
skill. What is made:

- min-max a video: `score_shapes.min_max`; it needs the whole video, and makes the highest frame of
  every normal video as high as any
- smoothing with the width of WIDTHS that is best on the test labels
- both, as many programs do
- the checkpoint that is best on the test labels. Of several score files: the best of them less the
  last one. Of one file nothing says how checkpoints differ; CHECKPOINTS of them are then simulated
  that differ by chance alone (each video's scores, as ranks in (0, 1) and on the logit scale, are
  moved by a random offset of OFFSET times the deviation of the videos' means), and the best of them
  is held against their mean
- labels one snippet early or late: a ground truth made for other features
- average precision by the trapezoid rule in the place of the step-wise one
- the mean of each video's own AUC (macro) in the place of all frames
- abnormal videos alone: normal ones left out
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logit
from scipy.stats import rankdata

from gfvad.base.types import ScoredVideo
from gfvad.measure.frames import compress
from gfvad.measure.protocols import macro, micro, one_class_each, transform

WIDTHS = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0)  # of Gaussians, in frames
CHECKPOINTS, OFFSET = 10, 0.25
SNIPPET = 16  # frames
HEADER = ["mistake", "AUC", "it adds", "AP", "it adds"]


class Mistake(NamedTuple):
    """What one mistake makes of the scores."""

    name: str
    auc: float  # NaN where it does not touch it, or cannot be made
    ap: float
    # what it is held against: the plain values, or of several checkpoints other ones
    plain_auc: float
    plain_ap: float


def values(videos: Sequence[ScoredVideo]) -> tuple[float, float]:
    """(AUC, AP), micro, of scored videos."""
    found = micro([compress(v.scores, v.labels) for v in videos], 0, 0)
    return found["auc"][0], found["ap"][0]


def reshaped(
    videos: Sequence[ScoredVideo], normalisation: str, sigma: float = 0.0
) -> list[ScoredVideo]:
    """Normalised, then smoothed (sigma 0: not)."""
    smoothing = ("gaussian", sigma) if sigma else ("none", 0.0)
    return [v._replace(scores=transform(v.scores, normalisation, smoothing)) for v in videos]


def shifted(videos: Sequence[ScoredVideo], frames: int) -> list[ScoredVideo]:
    """Labels that come later by so many frames (earlier where negative); the first or last label
    fills up."""
    place = lambda n: np.clip(np.arange(n) - frames, 0, n - 1)
    return [v._replace(labels=v.labels[place(len(v.labels))]) for v in videos]


def simulated_checkpoints(videos: Sequence[ScoredVideo], seed: int = 0) -> list[list[ScoredVideo]]:
    """CHECKPOINTS versions of the scores that differ by chance alone; see the top of this file."""
    ends = np.cumsum([len(v.scores) for v in videos])
    ranks = rankdata(np.concatenate([v.scores for v in videos]))
    scores = np.split(logit(ranks / (len(ranks) + 1)), ends[:-1])
    spread = OFFSET * np.std([x.mean() for x in scores])
    moves = np.random.default_rng(seed).normal(0, spread, (CHECKPOINTS, len(videos)))
    return [
        [v._replace(scores=x + move) for v, x, move in zip(videos, scores, row)] for row in moves
    ]


def all_of(
    videos: Sequence[ScoredVideo], checkpoints: Sequence[Sequence[ScoredVideo]] = ()
) -> list[Mistake]:
    """Every mistake on the scores of V labelled videos, those that can be made on them.

    checkpoints: scores of several checkpoints in their order, where there are several.
    """
    plain = values(videos)
    inside, many = not one_class_each(videos), len(videos) > 1
    against = lambda name, found, base=plain: Mistake(name, *found, *base)
    best = lambda tried: tuple(max(pair) for pair in zip(*tried))
    smoothed = lambda shape: best([values(reshaped(videos, shape, s)) for s in (0.0, *WIDTHS)])
    rows = []
    if many and inside:
        rows.append(against("min-max a video", values(reshaped(videos, "minmax"))))
    rows.append(against("smoothing, its width chosen on test", smoothed("none")))
    if many and inside:
        rows.append(
            against("smoothing after min-max, its width chosen on test", smoothed("minmax"))
        )
    if checkpoints:
        found = [values(c) for c in checkpoints]
        name = f"best of {len(found)} score files on test, against the last"
        rows.append(against(name, best(found), found[-1]))
    elif many:
        found = [values(c) for c in simulated_checkpoints(videos)]
        mean = tuple(float(np.mean(column)) for column in zip(*found))
        name = f"best of {CHECKPOINTS} simulated checkpoints on test, against their mean"
        rows.append(against(name, best(found), mean))
    for frames, when in ((-SNIPPET, "early"), (SNIPPET, "late")):
        if inside:
            name = f"labels one snippet ({SNIPPET} frames) too {when}"
            rows.append(against(name, values(shifted(videos, frames))))
    runs = [compress(v.scores, v.labels) for v in videos]
    trapezoid = micro(runs, 0, 0)["pr_trapezoid"][0]
    rows.append(against("AP by the trapezoid rule", (np.nan, trapezoid)))
    if many and inside:
        mean_of = macro(runs, 0, 0)
        found = (mean_of["auc"][0], mean_of["ap"][0])
        rows.append(against("mean over videos (macro) for all frames", found))
        abnormal = [v for v in videos if v.labels.any()]
        if len(abnormal) < len(videos):
            rows.append(against("normal videos left out", values(abnormal)))
    return rows


def signs(videos: Sequence[ScoredVideo]) -> list[str]:
    """What the scores themselves give away: lines to print, [] where nothing is odd."""
    found = []
    low = np.array([v.scores.min() for v in videos])
    high = np.array([v.scores.max() for v in videos])
    at_the_ends = (low == low[0]).all() and (high == high[0]).all() and high[0] > low[0]
    if len(videos) > 1 and at_the_ends:
        found.append(
            f"every video reaches exactly {low[0]:g} and {high[0]:g}: these scores look normalised"
            " by each video's own extremes, which no running system can do; give the raw ones"
        )
    auc, _ = values(videos)
    if auc < 0.5:
        found.append(
            f"AUC {auc:.4f} is below chance: a higher score must mean more abnormal; are these"
            " regularity or normality scores? Turn their sign then"
        )
    if distinct := _few(videos):
        found.append(
            f"only {distinct} different values in all: were the scores rounded or thresholded?"
            " Ranking metrics need them as they come"
        )
    return found


def _few(videos: Sequence[ScoredVideo], least: int = 10) -> int:
    """Number of different scores where it is odd that there are so few, else 0."""
    units = sum(len(np.flatnonzero(np.diff(v.scores))) + 1 for v in videos)
    distinct = len(np.unique(np.concatenate([v.scores for v in videos])))
    return distinct if distinct < least < units else 0


def shown_table(rows: Sequence[Mistake]) -> dict[str, object]:
    """The table of results.md."""
    shown: Callable[[float], str] = lambda x: "-" if np.isnan(x) else f"{x:.4f}"
    gain: Callable[[float], str] = lambda x: "-" if np.isnan(x) else f"{x:+.4f}"
    cells = [
        [r.name, shown(r.auc), gain(r.auc - r.plain_auc), shown(r.ap), gain(r.ap - r.plain_ap)]
        for r in rows
    ]
    title = "what common mistakes would add to these scores; none of it is skill"
    return {"title": title, "header": HEADER, "rows": cells}
