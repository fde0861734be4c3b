"""What a score of fused feature sets comes from (measure/explained.py), exactly.

Head `branches`. With z_bj the evidence of branch b at unit j, W the row-normalised fused graph and
K = ((1 - mix) I + mix (W + D)) ((1 - whole) I + whole mean), D what keeps rows at 1, the logit of
unit i is linear in evidence: l_i = bias + sum_j K_ij (sum_b gate_b z_bj + bank_j). Rows of K sum to
1, so with z0 what the model says of a unit of which nothing is known (every feature set absent)

    l_i = [bias + sum_j K_ij (sum_b gate_b z0_bj + bank0)]
          + sum_b gate_b sum_j K_ij (z_bj - z0_bj) + sum_j K_ij (bank_j - bank0)

and both sums fall into parts of feature sets, of units of this video, and of units of the bank.

Other heads and models: Shapley values over the feature sets (Shapley 1953), every subset scored
with the others absent; they add up to the logit too. A unit's part is what the logit loses without
it, which need not add up.
"""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any, NamedTuple

import numpy as np

from gfvad.fusion import words
from gfvad.measure.explained import Cause, Relation
from gfvad.tasks.fusion import registry, video_bank
from gfvad.tasks.fusion.heads import ROW_EPSILON
from gfvad.tasks.fusion.probe import (
    Probe,
    Seen,
    Window,
    is_sum,
    mean_logit,
    without_sets,
    without_units,
)
from gfvad.tasks.fusion.training import FUSION

BASE = "of a unit that nothing is known of"
SPREAD = "members of the ensemble, or crops, that differ"
OWN = "this video"
BANK = "what was said of like training units"
EVENTS = "relation to events in words"
NAMES = {
    "gnn": "messages along the fused graph",
    "graph": "how a unit is related to the others (degrees of the fused graph)",
}
TIME = {"temporal": "nearness in time", "temporal in seconds": "nearness in seconds"}
MOST_UNITS = 64  # near the moment, that are taken away one by one


class Parts(NamedTuple):
    """What the logit of one unit is made of."""

    value: float
    sets: dict[str, float]  # add up to value; the first one is BASE
    units: np.ndarray  # float64 [N] parts of the units of the window
    weights: np.ndarray  # float64 [N] K_i; NaN where units are taken away one by one
    bank: np.ndarray  # float64 [K] parts of the units of the bank; [0] without one
    bank_weights: np.ndarray  # float64 [K]


def logit_parts(probe: Probe, window: Window, place: int) -> Parts:
    """What the logit of the unit at a place of a window is made of."""
    return (
        of_sum(probe, window, place) if is_sum(probe.config) else of_subsets(probe, window, place)
    )


def evidence_weights(graph: np.ndarray, mask: np.ndarray, place: int, head: Any) -> np.ndarray:
    """float64 [N]: K_i, how much each unit's evidence counts at a place; sums to 1. graph: fused,
    [G, N, N]."""
    strength = np.where(mask, np.abs(graph[:, place]), 0.0)  # [G, N]
    row = (strength / (strength.sum(-1, keepdims=True) + ROW_EPSILON)).mean(0)
    own = np.zeros(len(mask))
    own[place] = 1.0
    row = (1.0 - head.mix) * own + head.mix * (row + (1.0 - row.sum()) * own)
    return (1.0 - head.whole) * row + head.whole * row.sum() * mask / max(mask.sum(), 1)


def of_sum(probe: Probe, window: Window, place: int) -> Parts:
    """`logit_parts` of a head that adds branches up, in float64 over what the model said."""
    config, head = probe.config, probe.config.model.head
    seen = probe.see(window)
    unknown = probe.see(without_sets(window, config.data.modalities))
    gates = tuple(head.gates) or (1.0,) * len(seen.branches)
    readings = len(seen.logits)
    rows = np.stack([evidence_weights(g, window.mask, place, head) for g in seen.graph])  # [R, N]
    biases = np.repeat(
        [float(p["head"]["bias"]) for p in probe.members], readings // len(probe.members)
    )
    base, sets, units = biases.mean(), {}, np.zeros(rows.shape[1])
    for gate, (name, z) in zip(gates, seen.branches.items(), strict=True):
        found = (gate * rows * (z - unknown.branches[name])).mean(0)
        base += float((gate * rows * unknown.branches[name]).sum(1).mean())
        sets[NAMES.get(name, name)] = float(found.sum())
        units += found
    bank, bank_weights = np.zeros(0), np.zeros(0)
    if "bank_says" in seen.told:
        silent, bank, bank_weights = of_bank(probe, seen, unknown, rows)
        base += silent
        sets[f"{config.model.bank.modality}: {BANK}"] = float(bank.sum())
    if "events_say" in seen.told:
        found = (rows * seen.told["events_say"]).mean(0)
        sets[f"{config.model.events.modality}: {EVENTS}"] = float(found.sum())
        units += found
    value = mean_logit(seen.logits[:, place])
    told = {BASE: float(base), **sets}
    if readings > 1:
        told[SPREAD] = value - float(seen.logits[:, place].mean())
    return Parts(value, told, units, rows.mean(0), bank, bank_weights)


def of_bank(
    probe: Probe, seen: Seen, unknown: Seen, rows: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """(what the bank adds to the logit of a unit that nothing is known of, float64 [K] parts of the
    units of the bank, [K] their weights). rows: K_i [R, N]."""
    cfg, kept = probe.config.model.bank, probe.constants(video_bank.COLLECTION)
    repeat = len(rows) // len(kept["known"])
    silent, parts, weights = [], [], []
    for r, row in enumerate(rows):
        keys, values, known = (kept[n][r // repeat] for n in ("keys", "values", "known"))
        nothing = float(unknown.told["bank_says"][r][0]) if known.any() else 0.0
        described = seen.told["described"][r] > 0
        power = cfg.sharpness * (seen.told["bank_keys"][r][described] @ keys.T)  # [n, K]
        power = np.where(known > 0, power, -np.inf)
        like = np.exp(power - power.max(-1, keepdims=True, initial=-1e30)) * known
        like /= np.maximum(like.sum(-1, keepdims=True), video_bank.TINY)
        weight = cfg.share * row[described] @ like if known.any() else np.zeros(len(known))
        silent.append(cfg.share * nothing)
        parts.append(weight * (values - nothing))
        weights.append(weight)
    return float(np.mean(silent)), np.mean(parts, 0), np.mean(weights, 0)


def of_subsets(probe: Probe, window: Window, place: int) -> Parts:
    """`logit_parts` of any model: Shapley values of the feature sets."""
    names = list(probe.config.data.modalities)
    count, worth = len(names), {}
    for size in range(count + 1):
        for kept in combinations(range(count), size):
            gone = [n for k, n in enumerate(names) if k not in kept]
            worth[frozenset(kept)] = probe.logit(without_sets(window, gone), place)
    sets = dict.fromkeys(names, 0.0)
    for kept, value in worth.items():
        for k in (k for k in range(count) if k not in kept):
            share = factorial(len(kept)) * factorial(count - len(kept) - 1) / factorial(count)
            sets[names[k]] += share * (worth[kept | {k}] - value)
    value = worth[frozenset(range(count))]
    units = np.zeros(len(window.mask))
    real = np.flatnonzero(window.mask)
    for j in real[np.argsort(np.abs(real - place), kind="stable")[:MOST_UNITS]]:
        units[j] = value - probe.logit(without_units(window, [j]), place)
    told = {BASE: worth[frozenset()], **sets}
    return Parts(value, told, units, np.full(len(units), np.nan), np.zeros(0), np.zeros(0))


def relations_of(probe: Probe, window: Window) -> list[Relation]:
    """The fusion operator's coefficients in words, weighed on the graphs of a window; [] for models
    without an operator."""
    members = [params[FUSION] for params in probe.members if FUSION in params]
    if not members or probe.config.model.name != "graph_fusion":
        return []
    model, graphs = probe.config.model, probe.see(window).told["graphs"]
    first = graphs[:: len(graphs) // len(members)]  # one crop of each member
    names = registry.graph_names(model, probe.config.data.modalities)
    names = [TIME.get(name, name) for name in names]
    terms = words.in_words(members, first, window.mask, names, model)
    several = model.fusion.channels > 1
    where = lambda t: f"{t.words} (graph {t.channel + 1})" if several else t.words
    return [Relation(where(t), t.weight, t.share) for t in terms]


def causes_of(parts: Parts, window: Window, name: str, starts: np.ndarray) -> list[Cause]:
    """The units of the video itself that a logit comes from, the largest part first; nothing of
    those without any. starts [n + 1]: seconds at which units start."""
    order = np.argsort(-np.abs(parts.units), kind="stable")
    return [
        Cause(
            name,
            float(starts[window.start + j]),
            float(starts[window.start + j + 1]),
            float(parts.units[j]),
            float(parts.weights[j]),
            OWN,
            int(j),
        )
        for j in order
        if window.mask[j] and parts.units[j]
    ]
