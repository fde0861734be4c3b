"""The forms of the fusion operator, one entry each: which array of coefficients a form has, where
it starts, how a simplex holds it, and how it combines graphs.

Names used below: G channels, S slots (the graphs that coefficients range over: M, or 2 where one
operator serves drawn pairs), r rank, P order of the expansion. Of the project's own forms, one of
three arrays is the operator's only parameter:

- "A" [G, P + 1, P + 1]: full;
- "a" [G, r, S, P + 1]: cp, and outer (cp of rank 1 on two slots: A = a b^T);
- "c" [G, S, P + 1]: any form without cross terms, where all three become the same sum of S single
  polynomials.

Start (ours): graphs come out near what went in, with diagonal 1 for graphs with diagonal 1, and
every coefficient has a gradient. Under zeroth "ones": full is half the mean of both graphs and half
their product; a CP component is a product of (1 - w) + w R_m^p, each component leaning (w = 3/4, a
power of its own) on another graph, so that no two start alike; c is the mean of the graphs. Where
R^(0) = I, a term with any zeroth factor is diagonal, so A and a start at the product of all graphs
(further components with one graph at a higher power).

Start "minterms" (free cp only): component after component, channel after channel, starts at another
of the 2^S products that hold for each graph either R_m or 1 - R_m. For two graphs: alike in both,
in the first alone, in the second alone, in none. On relations in [0, 1] these are the minterms of
"alike in m", a basis of all multilinear polynomials; row sums of the middle two say where
modalities disagree.

Orders (`fusion.orders`, P and Q of the paper's search): coefficients of powers above a slot's own
order are 0, and have no gradient; the arrays keep their sizes.

Simplex (ours): positive, and the dense tensor sums to 1. For A and c that is a softmax over all
terms. For CP, each factor is a softmax over its powers, and the components share weights w_r that
sum to 1: a softmax over the sum of all logits' normalisers. Every slot carries w_r^(1/n), n the
graphs multiplied at a time (M, or 2 for drawn pairs), so the sum is 1 for whichever pair is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gfvad.base.registry import Registry
from gfvad.base.types import ConfigError
from gfvad.fusion.polynomial import cp_polynomial, full_polynomial

LEAN = 0.75  # initial weight of a component's own graph


class FusionConfig(Protocol):
    """What the operator reads of `config.model.fusion`."""

    form: str  # a name of FORMS
    rank: int  # r of cp
    parametrisation: str  # of coefficients.PARAMETRISATIONS
    start: str  # of coefficients.STARTS
    graphs: str  # all, or random_pair
    cross_terms: bool  # False drops every product of two different graphs
    separate: bool  # without cross terms: channel g is a polynomial of graph g alone
    channels: int  # G
    orders: Sequence[int]  # of each slot, at most P; (): P for all


class Sizes(NamedTuple):
    """What the starting values of one channel depend on."""

    slots: int  # S
    together: int  # n, the graphs that one evaluation combines
    order: int  # P
    rank: int
    diagonal_zeroth: bool  # R^(0) is I and not all ones
    orders: Sequence[int] = ()  # of each slot; (): order for all


class Form(NamedTuple):
    """One form of fusion. Axes are counted from the end."""

    parameter: str  # name of the array among the operator's parameters
    start: Callable[[Sizes], np.ndarray]  # values of one channel, without noise
    # (coefficients of one channel, graphs expanded to [S, P + 1, N, N]) -> [N, N]
    combine: Callable[[jax.Array, jax.Array], jax.Array]
    terms: tuple[int, ...]  # axes of the terms that add up
    pair: bool = False  # whether it takes exactly two graphs
    factors: bool = False  # whether the last axis but one ranges over graphs
    # (coefficients of one channel, graphs [S, ...]) -> [...]: powers by Horner's rule, without a
    # stack; and the axes of coefficients that range over powers
    horner: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    channelwise: bool = True  # False: `horner` takes those of all channels [G, ...] -> [G, ...]
    powers: tuple[int, ...] = (-1,)
    # raw [G, ...], n -> positive coefficients whose dense tensor sums to 1; None: softmax over all
    simplex: Callable[[jax.Array, int], jax.Array] | None = None
    # raw [G, ...], slots -> dense tensor [G, P + 1, ...]; None: it has none
    dense: Callable[[jax.Array, tuple[int, ...]], jax.Array] | None = None


def form_of(fusion: FusionConfig) -> Form:
    """The form that `config.model.fusion` asks for. Raises ConfigError for an unknown one."""
    chosen = FORMS.find(fusion.form)
    return chosen if fusion.cross_terms else SINGLE


def within_orders(fusion: FusionConfig, shape: Sequence[int]) -> np.ndarray | None:
    """Which coefficients of an array [G, ...] are of powers within `fusion.orders`: bool, over the
    last two axes. None where all slots have the one order."""
    if not (orders := tuple(fusion.orders)):
        return None
    allowed = np.arange(shape[-1]) <= np.array(orders)[:, None]  # [S, P + 1]
    if form_of(fusion).parameter != FULL.parameter:
        return allowed
    first, second = allowed
    return first[:, None] & second


def start_full(sizes: Sizes) -> np.ndarray:
    """[P + 1, P + 1], sum 1."""
    A = np.zeros((sizes.order + 1, sizes.order + 1))
    if sizes.order == 0:
        A[0, 0] = 1.0
    elif sizes.diagonal_zeroth:
        A[1, 1] = 1.0
    else:
        A[1, 0] = A[0, 1] = 0.25
        A[1, 1] = 0.5
    return A


def start_factors(sizes: Sizes) -> np.ndarray:
    """[r, S, P + 1]; the factors of any graphs evaluated together multiply to components that
    sum to 1 / r."""
    rank, count = sizes.rank, sizes.slots
    a = np.zeros((rank, count, sizes.order + 1))
    for component in range(rank):
        # the first component is the plain product where R^(0) = I; otherwise each leans on one
        # graph, at ever higher powers
        turn = component + count - 1 if sizes.diagonal_zeroth else component
        leaning, power = turn % count, 1 + turn // count
        if sizes.diagonal_zeroth and component == 0:
            leaning, power = 0, 1
        for m in range(count):
            weight = LEAN if m == leaning else 1.0 - LEAN
            if rank == 1 and count > 1:
                weight = 0.5
            if sizes.diagonal_zeroth:
                weight = 1.0
            most = sizes.orders[m] if sizes.orders else sizes.order
            a[component, m, 0] += 1.0 - weight
            a[component, m, min(power if m == leaning else 1, most)] += weight
    return a * rank ** (-1.0 / sizes.together)


def start_minterms(channels: int, rank: int, slots: int, order: int) -> np.ndarray:
    """[G, r, S, P + 1]; bit m of the component's number says whether graph m stands as 1 - R_m."""
    number = np.arange(channels * rank).reshape(channels, rank, 1) % 2**slots
    negated = (number >> np.arange(slots)) & 1
    a = np.zeros((channels, rank, slots, order + 1))
    a[..., 0], a[..., 1] = negated, 1 - 2 * negated
    return a


def start_single(sizes: Sizes) -> np.ndarray:
    """[S, P + 1]: the mean of the graphs evaluated together."""
    c = np.zeros((sizes.slots, sizes.order + 1))
    c[:, min(1, sizes.order)] = 1.0 / sizes.together
    return c


def simplex_factors(raw: jax.Array, together: int) -> jax.Array:
    """Raw factors [G, r, S, P + 1] -> positive ones whose components' weights sum to 1."""
    # [G, r, S, 1] normalisers of the factors; [G, r, 1, 1] logarithms of the component weights
    normaliser = jax.nn.logsumexp(raw, axis=3, keepdims=True)
    weight = jax.nn.log_softmax(normaliser.sum(2, keepdims=True), axis=1)
    return jnp.exp(raw - normaliser + weight / together)


def simplex_single(raw: jax.Array, together: int) -> jax.Array:
    """Raw single polynomials [G, S, P + 1] -> positive ones."""
    # the mean over pairs holds each slot in n of S cases: the tensor that evaluation uses sums to 1
    return jax.nn.softmax(raw, axis=(1, 2)) * (raw.shape[-2] / together)


def dense_factors(a: jax.Array, kept: tuple[int, ...]) -> jax.Array:
    """a [G, r, S, P + 1] -> sum_r of outer products over the kept slots, [G, P + 1, ...]; the
    others stand at power 0."""
    neutral = jnp.zeros_like(a[:, :, 0]).at[..., 0].set(1.0)
    letters = "abcdefgh"[: a.shape[2]]
    factors = [a[:, :, m] if m in kept else neutral for m in range(a.shape[2])]
    return jnp.einsum(",".join("GR" + letter for letter in letters) + "->G" + letters, *factors)


def dense_single(c: jax.Array, kept: tuple[int, ...]) -> jax.Array:
    """c [G, S, P + 1] -> the kept slots' polynomials along the axes of a dense tensor [G, P + 1,
    ...]; constants add up."""
    channels, count, terms = c.shape
    tensor = jnp.zeros((channels, *[terms] * count), c.dtype)
    for m in kept:
        line = [slice(None)] + [slice(None) if axis == m else 0 for axis in range(count)]
        tensor = tensor.at[tuple(line)].add(c[:, m])
    return tensor


def single_polynomials(c: jax.Array, graphs: jax.Array) -> jax.Array:
    """c [G, S, P + 1], graphs [S, ...] -> sum_m sum_p c[:, m, p] R_m^p [G, ...]."""
    terms = (cp_polynomial(c[:, None, m : m + 1], (R,)) for m, R in enumerate(graphs))
    return sum(terms)  # pyright: ignore[reportReturnType]


FULL = Form(
    "A",
    start_full,
    lambda A, graphs: jnp.einsum("pq,pij,qij->ij", A, graphs[0], graphs[1]),
    terms=(-2, -1),
    pair=True,
    horner=lambda A, graphs: full_polynomial(A, graphs[0], graphs[1]),
    channelwise=False,
    powers=(-1, -2),
    dense=lambda A, kept: A,
)
CP = Form(
    "a",
    start_factors,
    lambda a, graphs: reduce(jnp.multiply, jnp.einsum("rmp,mpij->mrij", a, graphs)).sum(0),
    terms=(-1,),
    factors=True,
    horner=cp_polynomial,
    channelwise=False,
    simplex=simplex_factors,
    dense=dense_factors,
)
OUTER = CP._replace(
    start=lambda sizes: start_factors(sizes._replace(rank=1)), pair=True, factors=False
)
# any form without cross terms
SINGLE = Form(
    "c",
    start_single,
    lambda c, graphs: jnp.einsum("mp,mpij->ij", c, graphs),
    terms=(-2, -1),
    horner=single_polynomials,
    channelwise=False,
    simplex=simplex_single,
    dense=dense_single,
)


def adopted(form: Form | Callable[..., jax.Array]) -> Form:
    """A form from outside: a Form, or its function `combine` with its `start` as an attribute."""
    if isinstance(form, Form):
        return form
    if not callable(getattr(form, "start", None)):
        raise ConfigError(
            f"config.model.fusion.form: {form!r} is no form; expected what gfvad.register_fusion"
            " takes, as combine(coefficients, graphs) with combine.start = start(graphs, order)"
        )
    return Form("own", lambda sizes: form.start(sizes.slots, sizes.order), form, terms=())


FORMS: Registry[Form] = Registry(
    "model.fusion.form", {"full": FULL, "outer": OUTER, "cp": CP}, adopted
)
