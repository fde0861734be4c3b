"""What any weakly supervised model must beat on its own test split: a logistic regression on the
means of feature sets, and scores that look at no feature at all. Scores are of units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from gfvad.base.types import ScoredVideo
from gfvad.measure import untrained
from gfvad.measure.metrics import roc_auc
from gfvad.tasks.fusion.evidence import Linear

PENALTY = 1e-3  # C
MOST = 2000  # training videos, evenly chosen: so many say what a linear model can
ALL = "all sets"
ALONE = "this model, {} alone"
REGRESSION = "logistic regression on the means of {}"
LABEL, LENGTH = "the video's own label", "minus log of its length"
CENTRE, MEAN = "centre of the video", "this model's mean of the video"
Units = Mapping[str, np.ndarray]  # video -> unit scores [N]


class Means(NamedTuple):
    """Feature sets of videos as means over their units."""

    x: Mapping[str, np.ndarray]  # set -> [V, D]
    labels: np.ndarray  # [V]


def logistic_regression(x: np.ndarray, labels: np.ndarray, penalty: float = PENALTY) -> Linear:
    """scikit-learn's LogisticRegression(C=penalty) on standardised columns of x [V, D], as a
    function of x: the least of penalty sum_v loss_v + |w|^2 / 2 over w and a constant."""
    x = np.asarray(x, np.float64)
    mean, deviation = x.mean(0), x.std(0)
    scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1.0), 1.0)
    left, lengths, right = np.linalg.svd((x - mean) * scale, full_matrices=False)
    z, sign = left * lengths, np.where(np.asarray(labels) > 0, 1.0, -1.0)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (z @ w[:-1] + w[-1])
        pull = -penalty * sign * expit(-margin)
        value = -penalty * log_expit(margin).sum() + w[:-1] @ w[:-1] / 2
        return float(value), np.append(pull @ z + w[:-1], pull.sum())

    start = np.zeros(z.shape[1] + 1)
    exact = {"ftol": 1e-12, "gtol": 1e-9, "maxiter": 10_000}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=exact).x
    weight = (found[:-1] @ right) * scale
    return Linear(weight, float(weight @ mean - found[-1]))


def mean_of(features: np.ndarray) -> np.ndarray:
    """[C, N, D] or [N, D] -> [D], the mean over crops and over the units that are not all zero; of
    none zeros."""
    x = np.asarray(features, np.float64).reshape(-1, np.shape(features)[-1])
    there = x.any(1)
    return x[there].mean(0) if there.any() else np.zeros(x.shape[1])


def means_of(records: Any, indices: Sequence[int] | np.ndarray) -> Means:
    """Of some videos of a split, MOST of them at most."""
    chosen = np.asarray(indices, int)
    if len(chosen) > MOST:
        chosen = chosen[np.linspace(0, len(chosen) - 1, MOST).round().astype(int)]
    rows: dict[str, list[np.ndarray]] = {m: [] for m in records.dims}
    for i in chosen:
        for m, x in records[int(i)].features.items():
            rows[m].append(mean_of(x))
    return Means({m: np.stack(x) for m, x in rows.items()}, np.asarray(records.labels)[chosen])


def fitted(training: Means) -> dict[str, Mapping[str, Linear]]:
    """{name of a floor: {set: its part of the score}} for each set by itself and, where there are
    several, all side by side."""
    labels, floors = training.labels, {}
    for m, x in training.x.items():
        floors[REGRESSION.format(m)] = {m: logistic_regression(x, labels)}
    if len(training.x) > 1:
        joined = logistic_regression(np.concatenate(list(training.x.values()), 1), labels)
        parts, start = {}, 0
        for m, x in training.x.items():
            part = joined.weight[start : start + x.shape[1]]
            # a constant moves no ranking: the first part has it
            parts[m] = Linear(part, joined.offset if start == 0 else 0.0)
            start += x.shape[1]
        floors[REGRESSION.format(ALL)] = parts
    return floors


def regressions(floors: Mapping[str, Mapping[str, Linear]], test: Any) -> dict[str, Units]:
    """Unit scores of a test split. Every unit of a video wholly of one kind has the score of the
    video's means, and every other one its own: a split of such videos is judged by whole videos."""
    whole = whole_videos(test)
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in floors}
    for i, name in enumerate(test.names):
        features = test[i].features
        count = int(test.lengths[i])
        seen = {
            m: np.tile(mean_of(x), (count, 1)) if whole else np.asarray(x, np.float64).mean(0)
            for m, x in features.items()
        }
        for floor, parts in floors.items():
            scores = sum(seen[m] @ part.weight - part.offset for m, part in parts.items())
            found[floor][name] = np.asarray(scores)
    return dict(found)


def whole_videos(test: Any) -> bool:
    """Whether each video of a split is wholly normal or wholly abnormal."""
    return all(
        int((v.spans[:, 1] - v.spans[:, 0]).sum()) in (0, v.num_frames)
        for v in map(test.meta, range(len(test)))
    )


def constants(test: Any) -> dict[str, Units]:
    """Unit scores that look at no feature: the centre of the video (1 in the middle, 0 at both
    ends), minus the logarithm of its length, and its own label, where the label of a video does not
    say all (an abnormal one has normal frames)."""
    count = [max(int(n), 1) for n in test.lengths]
    bump = lambda n: 1 - np.abs(2 * (np.arange(n) + 0.5) / n - 1)
    metas = [test.meta(i) for i in range(len(test))]
    found = {
        CENTRE: {v.name: bump(n) for v, n in zip(metas, count)},
        LENGTH: {v.name: np.full(n, -np.log(v.num_frames)) for v, n in zip(metas, count)},
    }
    if not whole_videos(test):
        found[LABEL] = {v.name: np.full(n, float(v.label)) for v, n in zip(metas, count)}
    return dict(found)


def means_of_videos(videos: Sequence[ScoredVideo], test: Any) -> dict[str, Units]:
    """{MEAN: the mean of this model's scores of each video, for all of its units}: what is left of
    it where it does not find when. {} where each video is wholly of one kind."""
    if whole_videos(test):
        return {}
    lengths = dict(zip(test.names, test.lengths))
    mean = {v.name: np.full(max(int(lengths[v.name]), 1), v.scores.mean()) for v in videos}
    return {MEAN: mean}


def of_splits(train: Any, test: Any) -> dict[str, Units]:
    """Unit scores of the test split by all floors that look at no model; train: None where there is
    none to learn from."""
    found = constants(test)
    if train is not None:
        chosen = np.flatnonzero(np.asarray(train.labels) >= 0)
        found |= regressions(fitted(means_of(train, chosen)), test)
    return found


def singles(
    videos: Sequence[ScoredVideo], alone: Mapping[str, Linear], test: Any
) -> dict[str, dict[str, np.ndarray]]:
    """Frame scores by the linear branch of each set alone, 'this model, SET alone'; {} of one."""
    if len(alone) < 2:
        return {}
    units = regressions({ALONE.format(m): {m: branch} for m, branch in alone.items()}, test)
    frames = untrained.of_frames(videos, units)
    return {name.removeprefix("floor/"): scores for name, scores in frames.items()}


def compared(
    videos: Sequence[ScoredVideo],
    units: Mapping[str, Units],
    truths: Mapping[str, Mapping[str, np.ndarray]],
    test: Any,
) -> dict[str, Any]:
    """As `untrained.beside` {'named', 'tables'}, with AUC of whole videos by their peaks where each
    is wholly of one kind ('floor, auc_video/NAME'), and 'floor_commands'."""
    found = untrained.beside(videos, units, truths)
    if whole_videos(test):
        found["named"] |= of_clips(untrained.of_frames(videos, units), videos)
    sets = {REGRESSION.format(m): m for m in test.dims}
    train = {name: f"train with --config.data.modalities={m}" for name, m in sets.items()}
    kinds = ("floor/", "floor, auc_video/")
    commands = {f"{kind}{name}": command for name, command in train.items() for kind in kinds}
    return found | {"floor_commands": commands}


def of_clips(
    floors: Mapping[str, Mapping[str, np.ndarray]], videos: Sequence[ScoredVideo]
) -> dict[str, float]:
    """{'floor, auc_video/NAME': AUC of whole videos by their peaks} of frame scores {'floor/NAME':
    {video: [T]}}, where both kinds are there."""
    labels = np.array([bool(v.labels.any()) for v in videos])
    if labels.all() or not labels.any():
        return {}
    peaks = lambda scores: np.array([scores[v.name].max() for v in videos])
    named = {name.removeprefix("floor/"): peaks(scores) for name, scores in floors.items()}
    return {f"floor, auc_video/{name}": float(roc_auc(x, labels)) for name, x in named.items()}
