"""Weights of the score's terms, chosen on held-out normal video with synthetic events in it: no test label takes part."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gfvad.eval.metrics import roc_auc
from gfvad.eval.terms import combine

GRID = (0.0, 0.25, 0.5, 1.0)
LEAST_GAIN = 2e-3  # of AUC: a smaller one is not worth leaving the equal weights for
ROUNDS = 4


class Chosen(NamedTuple):
    """Weights and what they were chosen by."""

    weights: dict[str, float]
    auc: float  # of the chosen weights on the synthetic events
    alone: dict[str, float]  # AUC of each term by itself on them


def choose(videos: Sequence[tuple[Mapping[str, np.ndarray], np.ndarray]]) -> Chosen:
    """Coordinate ascent over GRID from equal weights. videos: (calibrated terms {name: [T]}, labels [T]) each.

    The scale of the weights is fixed by the first round's largest staying what it is; where no event separates anything, weights stay equal.
    """
    names = list(videos[0][0])
    terms = {name: np.concatenate([v[0][name] for v in videos]) for name in names}
    labels = np.concatenate([v[1] for v in videos])
    weights = dict.fromkeys(names, 1.0)
    alone = {name: float(roc_auc(x, labels)) for name, x in terms.items()}
    best = float(roc_auc(combine(terms, weights), labels))
    for _ in range(ROUNDS):
        before = best
        for name in sorted(names, key=lambda n: alone[n]):
            trials = {w: float(roc_auc(combine(terms, weights | {name: w}), labels)) for w in GRID if w or sum(weights.values()) > weights[name]}
            found = max(trials, key=trials.get)
            if trials[found] > best + LEAST_GAIN:
                weights[name], best = found, trials[found]
        if best <= before:
            break
    return Chosen(weights, best, alone)
