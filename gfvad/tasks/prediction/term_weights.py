"""Weights of the score's terms, chosen on held-out normal video with synthetic events in it: no
test label takes part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from gfvad.measure.metrics import roc_auc
from gfvad.tasks.prediction.score_terms import combine

GRID = (0.0, 0.25, 0.5, 1.0)
AS_GOOD = 0.005  # of AUC


class Chosen(NamedTuple):
    """Weights and what they were chosen by."""

    weights: dict[str, float]
    auc: float  # of the chosen weights on the synthetic events
    alone: dict[str, float]  # AUC of each term by itself on them


def choose(videos: Sequence[tuple[Mapping[str, np.ndarray], np.ndarray]]) -> Chosen:
    """The mean of all weights on GRID, the largest of them 1, that are as good as the best. videos:
    (calibrated terms {name: [T]}, labels [T]) each.

    As good is an AUC within AS_GOOD of the best: where many weights do, their middle is less of an
    accident of these few events than the best one. So where no event separates anything, weights
    are equal.
    """
    names = list(videos[0][0])
    terms = {name: np.concatenate([v[0][name] for v in videos]) for name in names}
    labels = np.concatenate([v[1] for v in videos])
    alone = {name: float(roc_auc(x, labels)) for name, x in terms.items()}
    candidates = np.array([w for w in product(GRID, repeat=len(names)) if max(w) == max(GRID)])
    found = np.array([roc_auc(combine(terms, dict(zip(names, w))), labels) for w in candidates])
    good = candidates if np.isnan(found).any() else candidates[found >= found.max() - AS_GOOD]
    middle = good.mean(0) / good.mean(0).max()
    chosen = {name: round(float(w), 4) for name, w in zip(names, middle)}
    return Chosen(chosen, float(roc_auc(combine(terms, chosen), labels)), alone)
