"""What each feature set says of whole training videos, judged on sources that took no part: which
sets help, how much each counts, and a linear branch for each.

A set's branch is a logistic regression of a video's mean features with a penalty on its weights;
sources and classes count alike in it, and it has no constant of its own, so that it says nothing
of a video that lies between the classes. Each source is left out once (leave one source out); the
scores that sources get from the branches of the others

- choose the penalty (PENALTIES), one a set;
- leave out the sets that are not above chance by more than their standard error over sources;
- choose how the others are weighed: from the strongest alone, over by evidence, to all alike
  (MIXES);
- bring the sum to the scale of a logit (Platt 1999).

All choices are made on the same folds, a few values each, so the estimates are slightly too good.
Everything here is numpy in float64; V videos, D features of a set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from gfvad.measure.metrics import roc_auc

PENALTIES = (1.0, 3.0, 10.0, 30.0)  # C of scikit-learn's LogisticRegression, times D / V
MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)  # 0: the strongest alone; 0.5: by evidence; 1: all alike
WORTH = 0.005  # AUC that a mix must gain over the strongest set alone
FOLDS = 40  # at most: further sources join in folds
RESAMPLES = 400  # of sources, for standard errors
ROUNDS = 4  # of choosing the units that an abnormal video is judged by
SMALL = 1e-6


class Videos(NamedTuple):
    """Units of V training videos."""

    units: Mapping[str, np.ndarray]  # set -> [U, D]; a row of zeros where it is absent
    video: np.ndarray  # int [U], which video a unit is of
    labels: np.ndarray  # int [V], 0 or 1
    sources: np.ndarray  # int [V]


class Linear(NamedTuple):
    """score(x) = sum_d weight_d x_d - offset."""

    weight: np.ndarray  # [D]
    offset: float


class Set(NamedTuple):
    """What is known of one feature set."""

    auc: float  # on held-out sources, alone
    error: float  # its standard error over sources
    penalty: float
    weight: float  # in the sum of all; 0: left out
    without: float  # AUC of all kept sets but this one; NaN where none would be left


class Evidence(NamedTuple):
    """What `judge` finds: branches whose sum is a logit, but for a constant that is learnt."""

    branches: Mapping[str, Linear]  # of the sets that are kept, scaled and weighed
    alone: Mapping[str, Linear]  # of every set, as it would be by itself
    sets: Mapping[str, Set]
    auc: float  # of the sum, on held-out sources
    error: float
    sources: int


def balanced(labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Weights [V] that sum to 1: half a class; in a class a source of n videos counts sqrt(n)."""
    weights = np.zeros(len(labels))
    for label in (0, 1):
        own = np.flatnonzero(labels == label)
        _, place, count = np.unique(sources[own], return_inverse=True, return_counts=True)
        weights[own] = 1 / np.sqrt(count[place])
        weights[own] /= 2 * max(weights[own].sum(), SMALL)
    return weights


def linear_branch(x: np.ndarray, labels: np.ndarray, weights: np.ndarray, penalty: float) -> Linear:
    """The branch of x [V, D]: the least of penalty V sum_v weights_v loss_v + |w|^2 / 2 over w, of
    standardised x / sqrt(D) (means and deviations under `weights`), as a function of x whose
    deviation over the videos is 1.

    Solved in the span of the videos, where there are fewer of them than features.
    """
    mean = weights @ x
    deviation = np.sqrt(weights @ np.square(x - mean))
    scale = np.where(deviation > SMALL, 1 / np.maximum(deviation, SMALL), 0.0) / np.sqrt(x.shape[1])
    left, lengths, right = np.linalg.svd((x - mean) * scale, full_matrices=False)
    z, sign = left * lengths, np.where(labels > 0, 1.0, -1.0)
    share = penalty * len(x) * weights

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (z @ w)
        slope = -share * sign * expit(-margin)
        return float(-share @ log_expit(margin) + w @ w / 2), slope @ z + w

    found = minimize(objective, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B").x
    weight = (found @ right) * scale
    size = np.sqrt(weights @ np.square((x - mean) @ weight))
    weight = weight / size if size > SMALL else weight * 0.0
    return Linear(weight, float(weight @ mean))


def means(x: np.ndarray, video: np.ndarray, count: int, kept: np.ndarray) -> np.ndarray:
    """Means of the kept units [U] of each video, [U, D] -> [count, D]; NaN of none."""
    number = np.bincount(video[kept], minlength=count)
    total = np.zeros((count, x.shape[1]))
    np.add.at(total, video[kept], x[kept])
    return np.where(number[:, None] > 0, total / np.maximum(number, 1)[:, None], np.nan)


def present(x: np.ndarray) -> np.ndarray:
    """Which units [U] of x [U, D] are there: a feature is not 0."""
    return np.asarray(x.any(axis=1))


def highest(scores: np.ndarray, video: np.ndarray, kept: np.ndarray, divisor: int) -> np.ndarray:
    """Which of the kept units are among their video's max(1, n // divisor) highest: bool [U]."""
    order = np.lexsort((-scores, video))
    order = order[kept[order]]
    _, first, count = np.unique(video[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, count)
    found = np.zeros(len(video), bool)
    found[order] = rank < np.repeat(np.maximum(count // divisor, 1), count)
    return found


class Fitting(NamedTuple):
    """One set's units, and how its branch is made from some of the videos."""

    x: np.ndarray  # [U, D]
    videos: Videos
    divisor: int  # a video is judged by the mean of its n // divisor highest units

    def branch(self, chosen: np.ndarray, penalty: float) -> Linear:
        """From the videos chosen bool [V]. With a divisor above 1 the units that a video is judged
        by are those that the branch before puts highest (multiple-instance learning)."""
        labels, video = self.videos.labels, self.videos.video
        there = present(self.x)
        kept, found = there, Linear(np.zeros(self.x.shape[1]), 0.0)
        for _ in range(ROUNDS if self.divisor > 1 else 1):
            x = means(self.x, video, len(labels), kept)
            own = np.flatnonzero(chosen & np.isfinite(x[:, 0]))
            if len(np.unique(labels[own])) < 2:
                return found
            weights = balanced(labels[own], self.videos.sources[own])
            found = linear_branch(x[own], labels[own], weights, penalty)
            kept = highest(self.x @ found.weight, video, there, self.divisor)
        return found

    def scores(self, branch: Linear) -> np.ndarray:
        """Of all videos [V]; 0, which says nothing, where the set is absent."""
        video, there = self.videos.video, present(self.x)
        units = self.x @ branch.weight - branch.offset
        kept = highest(units, video, there, self.divisor)
        found = means(units[:, None], video, len(self.videos.labels), kept)[:, 0]
        return np.nan_to_num(found)


def folds(sources: np.ndarray) -> list[np.ndarray]:
    """Which videos are held out together, bool [V] each: a source a fold, and where there are more
    than FOLDS of them, the smallest ones together."""
    numbers, counts = np.unique(sources, return_counts=True)
    order = numbers[np.argsort(-counts, kind="stable")]
    return [np.isin(sources, order[k::FOLDS]) for k in range(min(FOLDS, len(order)))]


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """AUC of videos, NaN where all are of one kind."""
    return float(roc_auc(scores, labels)) if len(np.unique(labels)) > 1 else float("nan")


def auc_error(scores: np.ndarray, labels: np.ndarray, sources: np.ndarray) -> float:
    """Standard error of the AUC, over sources drawn with replacement."""
    rng, numbers = np.random.default_rng(0), np.unique(sources)
    inside, drawn = [np.flatnonzero(sources == s) for s in numbers], []
    for _ in range(RESAMPLES):
        own = np.concatenate([inside[k] for k in rng.integers(0, len(numbers), len(numbers))])
        drawn.append(auc(scores[own], labels[own]))
    return float(np.nanstd(drawn)) if not np.isnan(drawn).all() else float("nan")


def mixed(aucs: Sequence[float], mix: float) -> np.ndarray:
    """Weights of sets that sum to 1, by their AUC alone: 0 the strongest, 0.5 in proportion to the
    square of what they are above chance, 1 all alike, and what lies between."""
    above = np.maximum(np.asarray(aucs) - 0.5, 0.0) ** 2
    strongest = np.eye(len(above))[int(np.argmax(aucs))]
    by_evidence = above / above.sum() if above.sum() > 0 else strongest
    alike = np.full(len(above), 1 / len(above))
    ends = (strongest, by_evidence) if mix <= 0.5 else (by_evidence, alike)
    share = 2 * mix if mix <= 0.5 else 2 * mix - 1
    return (1 - share) * ends[0] + share * ends[1]


def platt(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Slope (not below 0) and constant of the logistic regression of held-out scores, with a slight
    penalty on the slope, so that scores that tell all apart stay finite."""
    sign = np.where(labels > 0, 1.0, -1.0)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (w[0] * scores + w[1])
        pull = -weights * sign * expit(-margin)
        value = -weights @ log_expit(margin) + w[0] ** 2 / (2 * len(scores))
        return float(value), np.array([pull @ scores + w[0] / len(scores), pull.sum()])

    bounds = [(0.0, None), (None, None)]
    slope, constant = minimize(objective, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(slope), float(constant)


def judge(videos: Videos, divisor: int = 1) -> Evidence:
    """Branches, weights and held-out estimates of all sets; see above. There must be videos of both
    kinds; where all are of one source, each video is held out by itself."""
    labels, sources = videos.labels, videos.sources
    if len(np.unique(sources)) < 2:
        sources = np.arange(len(labels))
        videos = videos._replace(sources=sources)
    every = np.ones(len(labels), bool)
    held_out, branches, found = {}, {}, {}
    for name, x in videos.units.items():
        fitting = Fitting(np.asarray(x, np.float64), videos, divisor)
        tried = {p: out_of_fold(fitting, p) for p in PENALTIES}
        penalty = max(PENALTIES, key=lambda p: round(auc(tried[p], labels), 6))
        held_out[name], branches[name] = tried[penalty], fitting.branch(every, penalty)
        error = auc_error(held_out[name], labels, sources)
        found[name] = Set(auc(held_out[name], labels), error, penalty, 0.0, float("nan"))
    kept = [m for m, s in found.items() if s.auc - np.nan_to_num(s.error) > 0.5]
    kept = kept or [max(found, key=lambda m: found[m].auc)]
    weigh = lambda names, mix: dict(zip(names, mixed([found[m].auc for m in names], mix)))
    total = lambda weights: np.sum([w * held_out[m] for m, w in weights.items()], axis=0)
    best = best_mix(kept, lambda mix: auc(total(weigh(kept, mix)), labels))
    weights = weigh(kept, best)
    for m in (m for m in kept if len(kept) > 1):
        rest = [other for other in kept if other != m]
        without = auc(total(weigh(rest, best)), labels)
        found[m] = found[m]._replace(weight=float(weights[m]), without=without)
    if len(kept) == 1:
        found[kept[0]] = found[kept[0]]._replace(weight=1.0)
    fused = total(weights)
    slope, _ = platt(fused, labels, balanced(labels, sources))
    scaled = lambda m: Linear(*(slope * weights[m] * part for part in branches[m]))
    if slope <= 0:  # what was learnt says the opposite on other sources: nothing is known
        found = {m: s._replace(weight=0.0) for m, s in found.items()}
    error = auc_error(fused, labels, sources)
    count = len(np.unique(sources))
    kept_branches = {m: scaled(m) for m in kept if found[m].weight > 0}
    return Evidence(kept_branches, branches, found, auc(fused, labels), error, count)


def best_mix(kept: Sequence[str], value: Callable[[float], float]) -> float:
    """The mix of MIXES with the highest AUC; the strongest set alone where none gains WORTH."""
    gains = {mix: value(mix) for mix in MIXES} if len(kept) > 1 else {0.0: 0.0}
    best = max(gains, key=lambda mix: gains[mix])
    return best if gains[best] > gains[0.0] + WORTH else 0.0


def out_of_fold(fitting: Fitting, penalty: float) -> np.ndarray:
    """Scores [V] of videos by branches that saw nothing of their source."""
    scores = np.zeros(len(fitting.videos.labels))
    for held in folds(fitting.videos.sources):
        scores[held] = fitting.scores(fitting.branch(~held, penalty))[held]
    return scores
