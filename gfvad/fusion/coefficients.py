"""Coefficients of the fusion operator: their starting noise, how a constraint holds them, and what
they are as one dense tensor. What they are in each form stands in `forms.py`.

Constraints (ours; the paper's A is free): nonneg is softplus entry by entry; simplex makes the
dense tensor positive with sum 1. A little noise at the start tells channels apart. Under a
constraint, a quarter of the starting weight is spread evenly.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gfvad.base.types import ConfigError
from gfvad.fusion.forms import (
    FORMS,
    SINGLE,
    FusionConfig,
    Sizes,
    form_of,
    start_minterms,
    within_orders,
)

STARTS = ("mean", "minterms")
PARAMETRISATIONS = ("free", "nonneg", "simplex")
MOST_DENSE = 3  # slots of a dense tensor that is still a picture
# of the initial weight, over all terms alike, under a constraint: log 0 has no gradient
EVEN_SHARE = 0.25
# deviation of the initial noise: on logarithms under a constraint, of the sum of all terms where
# free
NOISE = 0.1


class Choice(str):
    """A name that is chosen while the program runs, among `names` by `index` (int32 [], may be
    traced).

    As a string it is one of them, so that checks by name pass; only `constrained` knows more of it.
    It lets settings that differ in fusion.parametrisation share a program (gfvad/ablation).
    """

    names: tuple[str, ...]
    index: Any

    def __new__(cls, name: str, names: tuple[str, ...], index: Any) -> Choice:
        choice = super().__new__(cls, name)
        choice.names, choice.index = names, index
        return choice


def together(fusion: FusionConfig, slots: int) -> int:
    """n: how many of the S graphs one evaluation combines."""
    return 2 if fusion.graphs == "random_pair" else slots


def starting_values(
    fusion: FusionConfig, order: int, graphs: int, diagonal_zeroth: bool
) -> np.ndarray:
    """[G, ...] coefficients at the start, before noise and constraint. diagonal_zeroth: R^(0) is I
    and not all ones."""
    slots = 2 if FORMS.find(fusion.form).pair else graphs
    if fusion.start == "minterms" and fusion.cross_terms:
        return start_minterms(fusion.channels, fusion.rank, slots, order)
    joined = together(fusion, slots)
    sizes = Sizes(slots, joined, order, fusion.rank, diagonal_zeroth, tuple(fusion.orders))
    channel = np.asarray(form_of(fusion).start(sizes), float)
    return np.broadcast_to(channel, (fusion.channels, *channel.shape))


def initial(key: jax.Array, start: np.ndarray, fusion: FusionConfig, dtype=jnp.float32):
    """Unconstrained starting parameter [G, ...] for `starting_values`."""
    axes = form_of(fusion).terms or tuple(range(1, start.ndim))
    terms = np.prod([start.shape[axis] for axis in axes])
    noise = NOISE * jax.random.normal(key, start.shape, dtype)
    if fusion.parametrisation == "free":
        return start.astype(dtype) + noise / terms
    allowed = within_orders(fusion, start.shape)
    if allowed is not None:
        terms = np.broadcast_to(allowed, start.shape).sum(axes, keepdims=True)
    even = start.sum(axes, keepdims=True) / terms
    target = (1.0 - EVEN_SHARE) * start + EVEN_SHARE * even
    raw = np.log(target) if fusion.parametrisation == "simplex" else np.log(np.expm1(target))
    return raw.astype(dtype) + noise


def constrained(raw: ArrayLike, fusion: FusionConfig) -> jax.Array:
    """The coefficients that a parameter array stands for, under
    config.model.fusion.parametrisation; same shape.

    With fusion.separate (no cross terms), channel g is left with graph g mod S alone: the ablation
    in which no statistic sees two graphs. With fusion.orders, powers above a slot's order have 0.
    """
    chosen, raw = fusion.parametrisation, jnp.asarray(raw)
    if isinstance(chosen, Choice):
        values = jax.lax.select_n(
            chosen.index, *(_constrained(raw, fusion, name) for name in chosen.names)
        )
    else:
        values = _constrained(raw, fusion, chosen)
    if form_of(fusion) is not SINGLE or not fusion.separate:
        return values
    # [G, S, 1]
    own = jnp.arange(values.shape[0])[:, None] % values.shape[1] == jnp.arange(values.shape[1])
    return jnp.where(own[..., None], values, 0.0)


def _constrained(raw: jax.Array, fusion: FusionConfig, parametrisation: str) -> jax.Array:
    allowed = within_orders(fusion, raw.shape)
    if parametrisation in ("free", "nonneg"):
        values = raw if parametrisation == "free" else jax.nn.softplus(raw)
        return values if allowed is None else jnp.where(allowed, values, 0.0)
    if allowed is not None:  # the others share the whole weight
        raw = jnp.where(allowed, raw, -jnp.inf)
    form = form_of(fusion)
    if form is SINGLE and fusion.separate:
        return jax.nn.softmax(raw, axis=2)
    if form.simplex is None:
        return jax.nn.softmax(raw, axis=tuple(range(1, raw.ndim)))
    return form.simplex(raw, together(fusion, raw.shape[-2]))


def is_pictured(fusion: FusionConfig, graphs: int) -> bool:
    """Whether the coefficients of so many graphs are a dense tensor that a picture shows."""
    return form_of(fusion).dense is not None and graphs <= MOST_DENSE


def dense_coefficients(params: Mapping[str, jax.Array], fusion: FusionConfig) -> jax.Array:
    """The operator's parameters as one dense tensor per channel, [G, P + 1, ...] with one axis a
    slot, for figures and logs.

    params: the fusion operator's own parameters; fusion: config.model.fusion. Where pairs of three
    graphs are drawn from CP factors, this is the mean over pairs that evaluation uses, with a
    left-out graph's neutral factor 1 counted as its zeroth term.
    Raises ConfigError for a form without one, or more than 3 slots, whose tensor is no picture.
    """
    form = form_of(fusion)
    if form.dense is None:
        raise ConfigError(f"dense_coefficients: form {fusion.form!r} has no dense tensor")
    x = constrained(params[form.parameter], fusion)
    slots = 2 if FORMS.find(fusion.form).pair else x.shape[-2]
    if slots > MOST_DENSE:
        raise ConfigError(
            f"dense_coefficients: the operator fuses {slots} graphs; a dense tensor is given for"
            f" {MOST_DENSE} at most"
        )
    chosen = combinations(range(slots), together(fusion, slots))
    return jnp.stack([form.dense(x, kept) for kept in chosen]).mean(0)
