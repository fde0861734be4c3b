"""Expansion of a relationship graph into a family of graphs: R^(p + 1) = R^(p) * R. r [N, N], mask
[N] -> [order + 1, N, N].

Paper ("Learnable Expansion of Graph Operators", ICLR 2025): `hadamard` in its final version, `walk`
in its first; `diffusion` is ours. Rows and columns of padded units are 0 in every term. The fusion
operator evaluates hadamard terms by Horner's rule instead (`fusion/polynomial.py`); the stacks here
serve walk and diffusion, figures and tests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from gfvad.base.registry import Registry
from gfvad.base.types import ConfigError

ZEROTH = ("ones", "identity")


class ExpansionConfig(Protocol):
    """What an expansion reads of `config.model.expansion`."""

    kind: str  # a name of EXPANSIONS
    order: int  # P; a graph has P + 1 terms
    zeroth: str  # R^(0) of hadamard: ones or identity
    restart: float  # a of the diffusion


def hadamard(r: jax.Array, mask: jax.Array, order: int, zeroth: str = "ones") -> jax.Array:
    """Element-wise powers r_ij^p (paper, final version). r [N, N], mask [N] -> [order + 1, N, N].

    zeroth "ones": R^(0) = 1 for every pair of real units, the monomial reading. "identity": R^(0) =
    I on real units and R^(1) = R; the recurrence starts at R, since I . R would leave the diagonal
    only. Raises ConfigError for another `zeroth`.
    """
    if zeroth not in ZEROTH:
        raise ConfigError(
            f"config.model.expansion.zeroth is {zeroth!r}; valid: {', '.join(ZEROTH)}"
        )
    pairs = real_pairs(mask)
    r = jnp.where(pairs, r, 0.0)
    terms = [pairs.astype(r.dtype) if zeroth == "ones" else identity(mask, r.dtype), r]
    for _ in range(order - 1):
        terms.append(terms[-1] * r)
    return jnp.stack(terms[: order + 1])


def walk(r: jax.Array, mask: jax.Array, order: int) -> jax.Array:
    """Matrix powers of the normalised graph: relations over p hops (paper, first version), R^(0)
    = I. -> [order + 1, N, N]."""
    step = normalised(r, mask)
    terms = [identity(mask, step.dtype)]
    for _ in range(order):
        terms.append(_matmul(terms[-1], step))
    return jnp.stack(terms)


def diffusion(r: jax.Array, mask: jax.Array, order: int, restart: float) -> jax.Array:
    """Personalised-PageRank recurrence S <- (1 - a) R S + a I from S = I, R normalised as in `walk`
    (ours). -> [order + 1, N, N].

    restart: a in [0, 1]; 0 is `walk`, 1 the identity.
    """
    step = normalised(r, mask)
    start = identity(mask, step.dtype)
    terms = [start]
    for _ in range(order):
        terms.append((1.0 - restart) * _matmul(step, terms[-1]) + restart * start)
    return jnp.stack(terms)


def settings_of(expansion: Callable[..., jax.Array], cfg: Any) -> dict[str, Any]:
    """The settings of `config.model.expansion` that an expansion has parameters for."""
    return {name: getattr(cfg, name) for name in list(signature(expansion).parameters)[2:]}


def masked(expansion: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """An expansion from outside, held to the rules: [P + 1, N, N], and 0 at padded units. Raises
    ConfigError where it takes other settings than there are."""
    known = ("order", "zeroth", "restart")
    if not {*list(signature(expansion).parameters)[2:]} <= {*known}:
        raise ConfigError(
            f"expansion {expansion.__name__!r} has the parameters {signature(expansion)}; expected"
            f" (r, mask) and settings of {', '.join(known)}"
        )

    @wraps(expansion)
    def terms(r: jax.Array, mask: jax.Array, **settings: Any) -> jax.Array:
        found = jnp.asarray(expansion(r, mask, **settings))
        if found.ndim != 3 or found.shape[1:] != r.shape:
            raise ConfigError(
                f"expansion {expansion.__name__!r} gives {found.shape} for a graph {r.shape};"
                " expected [order + 1, N, N]"
            )
        return jnp.where(real_pairs(mask), found, 0.0)

    return terms


# name -> (r [N, N], mask [N], settings by their names in config.model.expansion) -> [P + 1, N, N].
# The zeroth term of all but hadamard is taken to be I on real units.
EXPANSIONS: Registry[Callable[..., jax.Array]] = Registry(
    "model.expansion.kind", {"hadamard": hadamard, "walk": walk, "diffusion": diffusion}, masked
)


def expanded(r: jax.Array, mask: jax.Array, cfg: ExpansionConfig) -> jax.Array:
    """The family of graphs that `config.model.expansion` asks for: [N, N] -> [P + 1, N, N]."""
    expansion = EXPANSIONS.find(cfg.kind)
    return expansion(r, mask, **settings_of(expansion, cfg))


def normalised(r: jax.Array, mask: jax.Array) -> jax.Array:
    """D^-1/2 R D^-1/2 with D_i = sum_j |r_ij| -> [N, N]; eigenvalues in [-1, 1], so powers stay
    bounded.

    The degree counts absolute relations, since cosines may be negative; for non-negative graphs it
    is the usual one. A unit of degree 0 keeps a zero row, with gradient 0.
    """
    r = jnp.where(real_pairs(mask), r, 0.0)
    degree = jnp.abs(r).sum(-1)
    connected = degree > 0
    scale = jnp.where(connected, jax.lax.rsqrt(jnp.where(connected, degree, 1.0)), 0.0)
    return scale[:, None] * r * scale


def identity(mask: jax.Array, dtype=jnp.float32) -> jax.Array:
    """I on real units, 0 elsewhere; mask [N] -> [N, N]."""
    return jnp.diag(jnp.asarray(mask, dtype))


def real_pairs(mask: jax.Array) -> jax.Array:
    """mask [N] -> bool [N, N], True where both units are real."""
    mask = jnp.asarray(mask, bool)
    return mask[:, None] & mask


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
