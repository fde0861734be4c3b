"""Weights of the score's terms, chosen on held-out normal video with synthetic events in it: no test label takes part."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from gfvad.eval.metrics import roc_auc
from gfvad.eval.terms import combine

GRID = (0.0, 0.25, 0.5, 1.0)
TIE = 1e-9  # of AUC


class Chosen(NamedTuple):
    """Weights and what they were chosen by."""

    weights: dict[str, float]
    auc: float  # of the chosen weights on the synthetic events
    alone: dict[str, float]  # AUC of each term by itself on them


def choose(videos: Sequence[tuple[Mapping[str, np.ndarray], np.ndarray]]) -> Chosen:
    """The best of all weights on GRID, the largest of them 1. videos: (calibrated terms {name: [T]}, labels [T]) each.

    Of equally good ones the nearest to equal weights; so where no event separates anything, weights stay equal.
    """
    names = list(videos[0][0])
    terms = {name: np.concatenate([v[0][name] for v in videos]) for name in names}
    labels = np.concatenate([v[1] for v in videos])
    alone = {name: float(roc_auc(x, labels)) for name, x in terms.items()}
    candidates = sorted((w for w in product(GRID, repeat=len(names)) if max(w) == max(GRID)), key=lambda w: (-sum(w), w))
    best, chosen = float("nan"), candidates[0]
    for candidate in candidates:
        auc = float(roc_auc(combine(terms, dict(zip(names, candidate))), labels))
        if not auc <= best + TIE:
            best, chosen = auc, candidate
        if np.isnan(auc):
            break
    return Chosen(dict(zip(names, chosen)), best, alone)
