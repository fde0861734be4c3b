"""Coefficients of the fusion operator: how they start, how a constraint holds them, and what they
are as one dense tensor.

Names used below: G channels, S slots (the graphs that coefficients range over: M, or 2 where one
operator serves drawn pairs), r rank. One of three arrays is the operator's only parameter, by form:

- "A" [G, P + 1, P + 1]: form full;
- "a" [G, r, S, P + 1]: forms cp and outer (outer is cp of rank 1 on two slots: A = a b^T);
- "c" [G, S, P + 1]: any form without cross terms, where all three become the same sum of S single
  polynomials.

Constraints (ours; the paper's A is free): nonneg is softplus entry by entry; simplex makes the
dense tensor positive with sum 1. For A and c that is a softmax over all terms. For CP, each factor
is a softmax over its powers, and the components share weights w_r that sum to 1: a softmax over the
sum of all logits' normalisers. Every slot carries w_r^(1/n), n the graphs multiplied at a time (M,
or 2 for drawn pairs), so the sum is 1 for whichever pair is drawn.

Start (ours): graphs come out near what went in, with diagonal 1 for graphs with diagonal 1, and
every coefficient has a gradient. Under zeroth "ones": full is half the mean of both graphs and half
their product; a CP component is a product of (1 - w) + w R_m^p, each component leaning (w = 3/4, a
power of its own) on another graph, so that no two start alike; c is the mean of the graphs. Where
R^(0) = I, a term with any zeroth factor is diagonal, so A and a start at the product of all graphs
(further components with one graph at a higher power). A little noise tells channels apart. Under a
constraint, a quarter of the weight is spread evenly.

fusion.start "minterms" (free cp only): component after component, channel after channel, starts at
another of the 2^S products that hold for each graph either R_m or 1 - R_m. For two graphs: alike in
both, in the first alone, in the second alone, in none. On relations in [0, 1] these are the
minterms of "alike in m", a basis of all multilinear polynomials; row sums of the middle two say
where modalities disagree.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gfvad.base.types import ConfigError

FORMS = ("full", "outer", "cp")
STARTS = ("mean", "minterms")
PARAMETRISATIONS = ("free", "nonneg", "simplex")
# of the initial weight, over all terms alike, under a constraint: log 0 has no gradient
EVEN_SHARE = 0.25
# deviation of the initial noise: on logarithms under a constraint, of the sum of all terms where
# free
NOISE = 0.1
LEAN = 0.75  # initial weight of a component's own graph


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


def parameter_name(fusion: Any) -> str:
    """Which of the three arrays this form has: A, a or c."""
    if not fusion.cross_terms:
        return "c"
    return "A" if fusion.form == "full" else "a"


def slots(fusion: Any, graphs: int) -> int:
    """S: how many graphs the coefficients range over, of the M given."""
    return graphs if fusion.form == "cp" else 2


def together(fusion: Any, count: int) -> int:
    """n: how many of the S graphs one evaluation combines."""
    return 2 if fusion.graphs == "random_pair" else count


def initial(
    key: jax.Array, fusion: Any, order: int, graphs: int, diagonal_zeroth: bool, dtype=jnp.float32
) -> jax.Array:
    """Unconstrained starting values, shaped as `parameter_name` says. diagonal_zeroth: R^(0) is
    I and not all ones."""
    name, count = parameter_name(fusion), slots(fusion, graphs)
    if name == "A":
        target, axes = _start_full(order, diagonal_zeroth), (0, 1)
    elif name == "a" and fusion.start == "minterms":
        # [G, r, S, P + 1]
        target, axes = _start_minterms(fusion.channels, fusion.rank, count, order), (3,)
    elif name == "a":
        rank = fusion.rank if fusion.form == "cp" else 1
        target, axes = (
            _start_factors(rank, count, together(fusion, count), order, diagonal_zeroth),
            (2,),
        )
    else:
        target, axes = _start_single(count, together(fusion, count), order), (0, 1)
    terms = np.prod([target.shape[axis] for axis in axes])
    shape = target.shape if target.ndim == 4 else (fusion.channels, *target.shape)
    noise = NOISE * jax.random.normal(key, shape, dtype)
    if fusion.parametrisation == "free":
        return target.astype(dtype) + noise / terms
    target = (1.0 - EVEN_SHARE) * target + EVEN_SHARE * target.sum(axes, keepdims=True) / terms
    raw = np.log(target) if fusion.parametrisation == "simplex" else np.log(np.expm1(target))
    return raw.astype(dtype) + noise


def constrained(raw: jax.Array, fusion: Any) -> jax.Array:
    """The coefficients that a parameter array stands for, under
    config.model.fusion.parametrisation; same shape.

    With fusion.separate (no cross terms), channel g is left with graph g mod S alone: the ablation
    in which no statistic sees two graphs.
    """
    chosen, raw = fusion.parametrisation, jnp.asarray(raw)
    if isinstance(chosen, Choice):
        values = jax.lax.select_n(
            chosen.index, *(_constrained(raw, fusion, name) for name in chosen.names)
        )
    else:
        values = _constrained(raw, fusion, chosen)
    if parameter_name(fusion) != "c" or not fusion.separate:
        return values
    # [G, S, 1]
    own = jnp.arange(values.shape[0])[:, None] % values.shape[1] == jnp.arange(values.shape[1])
    return jnp.where(own[..., None], values, 0.0)


def _constrained(raw: jax.Array, fusion: Any, parametrisation: str) -> jax.Array:
    if parametrisation == "free":
        return raw
    if parametrisation == "nonneg":
        return jax.nn.softplus(raw)
    count = raw.shape[-2]
    if parameter_name(fusion) == "A":
        return jax.nn.softmax(raw, axis=(1, 2))
    if parameter_name(fusion) == "c" and fusion.separate:
        return jax.nn.softmax(raw, axis=2)
    if parameter_name(fusion) == "c":
        # the mean over pairs holds each slot in n of S cases: the tensor that evaluation uses sums
        # to 1
        return jax.nn.softmax(raw, axis=(1, 2)) * (count / together(fusion, count))
    # [G, r, S, 1] normalisers of the factors; [G, r, 1, 1] logarithms of the component weights
    normaliser = jax.nn.logsumexp(raw, axis=3, keepdims=True)
    weight = jax.nn.log_softmax(normaliser.sum(2, keepdims=True), axis=1)
    return jnp.exp(raw - normaliser + weight / together(fusion, count))


def dense_coefficients(params: Mapping[str, jax.Array], fusion: Any) -> jax.Array:
    """The operator's parameters as one dense tensor per channel, [G, P + 1, ...] with one axis a
    slot, for figures and logs.

    params: the fusion operator's own parameters; fusion: config.model.fusion. Where pairs of three
    graphs are drawn from CP factors, this is the mean over pairs that evaluation uses, with a
    left-out graph's neutral factor 1 counted as its zeroth term.
    Raises ConfigError for more than 3 slots, whose tensor is no picture.
    """
    name = parameter_name(fusion)
    x = constrained(params[name], fusion)
    if name == "A":
        return x
    count = x.shape[-2]
    if count > 3:
        raise ConfigError(
            f"dense_coefficients: the operator fuses {count} graphs; a dense tensor is given for 3"
            " at most"
        )
    chosen = (
        list(combinations(range(count), 2))
        if fusion.graphs == "random_pair"
        else [tuple(range(count))]
    )
    tensors = [
        _dense_factors(x, kept) if name == "a" else _dense_single(x, kept) for kept in chosen
    ]
    return jnp.stack(tensors).mean(0)


def _dense_factors(a: jax.Array, kept: tuple[int, ...]) -> jax.Array:
    """a [G, r, S, P + 1] -> sum_r of outer products over the kept slots, [G, P + 1, ...]; the
    others stand at power 0."""
    neutral = jnp.zeros_like(a[:, :, 0]).at[..., 0].set(1.0)
    letters = string.ascii_lowercase[: a.shape[2]]
    factors = [a[:, :, m] if m in kept else neutral for m in range(a.shape[2])]
    return jnp.einsum(",".join("GR" + letter for letter in letters) + "->G" + letters, *factors)


def _dense_single(c: jax.Array, kept: tuple[int, ...]) -> jax.Array:
    """c [G, S, P + 1] -> the kept slots' polynomials along the axes of a dense tensor [G, P + 1,
    ...]; constants add up."""
    channels, count, terms = c.shape
    tensor = jnp.zeros((channels, *[terms] * count), c.dtype)
    for m in kept:
        line = [slice(None)] + [slice(None) if axis == m else 0 for axis in range(count)]
        tensor = tensor.at[tuple(line)].add(c[:, m])
    return tensor


def _start_full(order: int, diagonal_zeroth: bool) -> np.ndarray:
    """[P + 1, P + 1], sum 1."""
    A = np.zeros((order + 1, order + 1))
    if order == 0:
        A[0, 0] = 1.0
    elif diagonal_zeroth:
        A[1, 1] = 1.0
    else:
        A[1, 0] = A[0, 1] = 0.25
        A[1, 1] = 0.5
    return A


def _start_factors(
    rank: int, count: int, together: int, order: int, diagonal_zeroth: bool
) -> np.ndarray:
    """[r, S, P + 1]; the factors of any graphs evaluated together multiply to components that
    sum to 1 / r."""
    a = np.zeros((rank, count, order + 1))
    for component in range(rank):
        # the first component is the plain product where R^(0) = I; otherwise each leans on one
        # graph, at ever higher powers
        turn = component + count - 1 if diagonal_zeroth else component
        own, power = turn % count, 1 + turn // count
        if diagonal_zeroth and component == 0:
            own, power = 0, 1
        for m in range(count):
            weight = (
                1.0
                if diagonal_zeroth
                else 0.5
                if rank == 1 and count > 1
                else LEAN
                if m == own
                else 1.0 - LEAN
            )
            a[component, m, 0] += 1.0 - weight
            a[component, m, min(power if m == own else 1, order)] += weight
    return a * rank ** (-1.0 / together)


def _start_minterms(channels: int, rank: int, count: int, order: int) -> np.ndarray:
    """[G, r, S, P + 1]; bit m of the component's number says whether graph m stands as 1 - R_m."""
    number = np.arange(channels * rank).reshape(channels, rank, 1) % 2**count
    negated = (number >> np.arange(count)) & 1
    a = np.zeros((channels, rank, count, order + 1))
    a[..., 0], a[..., 1] = negated, 1 - 2 * negated
    return a


def _start_single(count: int, together: int, order: int) -> np.ndarray:
    """[S, P + 1]: the mean of the graphs evaluated together."""
    c = np.zeros((count, order + 1))
    c[:, min(1, order)] = 1.0 / together
    return c
