"""The coefficients of the fusion operator in words: every term of the sum as a product of powers of
graphs, with its weight and its share of the fused graph (ours).

Weights of different powers are on different scales: R^3 is far below R where relations are below 1.
A term is therefore weighed by what it does, the mean of |weight x product of powers| over pairs of
different units of some video; shares are of the sum of all terms and channels. Of an ensemble both
are means over its members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gfvad.fusion.coefficients import constrained, together
from gfvad.fusion.forms import FORMS, SINGLE, FusionConfig, form_of
from gfvad.fusion.operator import has_diagonal_zeroth
from gfvad.graphs.expansion import ExpansionConfig, expanded

MOST_TERMS = 20_000  # of a channel: more are not told apart
MOST_PAIRS = 2_000  # of units, evenly chosen, that a term's effect is the mean over
POWERS = {1: "{}", 2: "the square of {}"}

Powers = tuple[int | None, ...]  # of each graph; None: the graph has no part in the term


class Term(NamedTuple):
    """One term of the fused graph."""

    channel: int
    powers: Powers
    weight: float
    share: float  # of the effect of all terms of all channels, 0 to 1
    words: str  # 'product of rgb and the square of audio'


def polynomial(
    coefficients: np.ndarray, fusion: FusionConfig, graphs: int, diagonal_zeroth: bool
) -> list[dict[Powers, float]]:
    """Constrained coefficients [G, ...] as polynomials, one a channel: powers -> weight.

    Where pairs of graphs are drawn in training, the mean over pairs that evaluation uses.
    diagonal_zeroth: R^(0) is I; where it is 1 for every pair, it is left out of a term.
    """
    form = form_of(fusion)
    if form.dense is None:
        return []
    x, own = np.asarray(coefficients, np.float64), FORMS.find(fusion.form)
    chosen = list(combinations(range(graphs), min(together(fusion, graphs), graphs)))
    found: list[dict[Powers, float]] = [{} for _ in x]
    for kept in chosen:
        slots = list(kept) if own.factors else list(range(len(kept)))
        for channel, terms in zip(x, found):
            for at, weight in dense_terms(channel, form is SINGLE, slots, form.parameter == "A"):
                powers: list[int | None] = [None] * graphs
                for graph, power in zip(kept, at):
                    powers[graph] = power if power or diagonal_zeroth else None
                key = tuple(powers)
                terms[key] = terms.get(key, 0.0) + float(weight) / len(chosen)
    return found


def dense_terms(channel: np.ndarray, single: bool, slots: Sequence[int], full: bool):
    """(power of each slot, weight) of one channel's coefficients; None: the slot has no part."""
    if single:  # [S, P + 1]
        for place, slot in enumerate(slots):
            for power, weight in enumerate(channel[slot]):
                at: list[int | None] = [None] * len(slots)
                at[place] = power
                yield tuple(at), weight
        return
    if full:  # [P + 1, P + 1]
        yield from np.ndenumerate(channel)
        return
    factors = channel[:, slots]  # [r, S, P + 1]
    terms = factors.shape[-1]
    if terms ** len(slots) > MOST_TERMS:
        return
    for powers in product(range(terms), repeat=len(slots)):
        yield powers, factors[:, np.arange(len(slots)), np.array(powers)].prod(1).sum()


def pair_powers(graphs: np.ndarray, mask: np.ndarray, expansion: ExpansionConfig) -> np.ndarray:
    """Powers of graphs [M, N, N] at pairs of different real units (at most MOST_PAIRS, evenly
    chosen; of a lone unit its own pair): float64 [M, P + 1, pairs]."""
    real_units = jnp.asarray(mask)
    powers = np.stack([np.asarray(expanded(r, real_units, expansion), np.float64) for r in graphs])
    real = mask[:, None] & mask[None]
    others = real & ~np.eye(len(mask), dtype=bool)
    places = np.flatnonzero(others if others.any() else real)
    even = np.linspace(0, len(places) - 1, min(len(places), MOST_PAIRS)).round().astype(int)
    return powers.reshape(*powers.shape[:2], -1)[..., places[np.unique(even)]]


def effects(terms: Mapping[Powers, float], powers: np.ndarray) -> dict[Powers, float]:
    """Mean of |weight x product of powers| over pairs, of each term. powers: of `pair_powers`."""
    found = {}
    for key, weight in terms.items():
        value = np.ones(powers.shape[-1])
        for graph, power in enumerate(key):
            if power is not None:
                value = value * powers[graph, power]
        found[key] = float(np.abs(weight * value).mean())
    return found


def in_words(
    members: Sequence[Mapping[str, Any]],
    graphs: Sequence[np.ndarray] | np.ndarray,
    mask: np.ndarray,
    names: Sequence[str],
    model: Any,
) -> list[Term]:
    """All terms with an effect, the largest share first; [] for a form without a dense tensor.

    Args: members: the operator's own parameters of each member of an ensemble; graphs: what it
    fuses, [M, N, N] of each member; mask bool [N]; names: of the M graphs; model: config.model.
    """
    fusion, expansion = model.fusion, model.expansion
    diagonal = has_diagonal_zeroth(expansion)
    weights: dict[tuple[int, Powers], float] = {}
    shares: dict[tuple[int, Powers], float] = {}
    for params, own in zip(members, graphs, strict=True):
        form = form_of(fusion)
        x = np.asarray(constrained(params[form.parameter], fusion))
        powers = pair_powers(np.asarray(own), np.asarray(mask, bool), expansion)
        for channel, terms in enumerate(polynomial(x, fusion, len(names), diagonal)):
            for key, effect in effects(terms, powers).items():
                at = channel, key
                weights[at] = weights.get(at, 0.0) + terms[key] / len(members)
                shares[at] = shares.get(at, 0.0) + effect
    total = sum(shares.values()) or 1.0
    found = [
        Term(channel, key, weights[channel, key], share / total, said(key, names, expansion.kind))
        for (channel, key), share in shares.items()
        if share > 0
    ]
    return sorted(found, key=lambda term: -term.share)


def said(powers: Powers, names: Sequence[str], kind: str = "hadamard") -> str:
    """'product of rgb and the square of audio'; kind: of expansion."""
    factors = [
        power_said(name, power, kind) for name, power in zip(names, powers) if power is not None
    ]
    if not factors:
        return "every pair alike"
    return factors[0] if factors[0] not in names and len(factors) == 1 else product_said(factors)


def product_said(factors: Sequence[str]) -> str:
    """'product of a, b and c'; 'a alone'."""
    if len(factors) == 1:
        return f"{factors[0]} alone"
    return f"product of {', '.join(factors[:-1])} and {factors[-1]}"


def power_said(name: str, power: int, kind: str) -> str:
    """A power of one graph: hadamard's is of each relation, others' are steps along relations."""
    if power == 0:
        return f"each unit with itself by {name}"
    if kind == "hadamard" or power == 1:
        return POWERS.get(power, "{} to the power " + str(power)).format(name)
    return f"{name} over {power} steps"
