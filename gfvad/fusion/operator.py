"""The learnable graph fusion operator: M relationship graphs of one video -> G fused graphs.

Paper ("Learnable Expansion of Graph Operators", ICLR 2025): G = sum_pq A[p, q] Ra^(p) . Rb^(q), A
full or a b^T, two of the M graphs drawn at each training step. Ours: all M graphs at once in CP
form, sum_r prod_m sum_p a[r, m, p] R_m^(p); constraints on A; channels; the ablation without cross
terms. The operator acts edge by edge, so it commutes with any permutation of units.

What the paper leaves open and is decided here:
- random_pair: a pair is unordered, its slots follow the order of the modalities. full and outer
  hold one A for every pair; cp holds factors for each graph, and those of the graphs left out are
  replaced by the neutral factor 1. Without training, the fused graph is the mean over all pairs.
  Where the pair key is shared by a batch, so is the pair, as in the paper; where it is folded per
  video, each video draws its own.
- without cross terms: no product of two graphs remains, only single polynomials, G = sum_m sum_p
  c[m, p] R_m^(p), for every form. The factor of the other graphs is 1, not their R^(0), which would
  leave diagonals only where R^(0) = I.
"""

from __future__ import annotations

from functools import reduce
from itertools import combinations
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.base.types import ConfigError
from gfvad.fusion.coefficients import (
    FORMS,
    PARAMETRISATIONS,
    STARTS,
    constrained,
    dense_coefficients,
    initial,
    parameter_name,
)
from gfvad.fusion.polynomial import cp_polynomial, full_polynomial
from gfvad.graphs.expansion import KINDS, ZEROTH, diffusion, real_pairs, walk

__all__ = ["FusionOperator", "check_fusion", "dense_coefficients"]
SELECTIONS = ("all", "random_pair")


class FusionOperator(nn.Module):
    """Fuses the graphs of one video; vmap it over B.

    Its one parameter is described in `fusion/coefficients.py`. Random stream: 'pair', used in
    training where graphs is random_pair and M > 2. Graphs and parameter may be float32 or float64.
    """

    fusion: Any  # config.model.fusion
    expansion: Any  # config.model.expansion
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, graphs: jax.Array, mask: jax.Array, *, train: bool) -> jax.Array:
        """graphs [M, N, N], mask bool [N] -> [G, N, N], exactly 0 at padded units. Raises
        ConfigError where the form does not fit M."""
        count = graphs.shape[0]
        check_fusion(self.fusion, self.expansion, count)
        name, diagonal_zeroth = (
            parameter_name(self.fusion),
            self.expansion.kind != "hadamard" or self.expansion.zeroth == "identity",
        )
        start = lambda key: initial(
            key, self.fusion, self.expansion.order, count, diagonal_zeroth, self.param_dtype
        )
        coefficients = constrained(self.param(name, start), self.fusion)
        # hadamard: [M, N, N], powers follow by Horner's rule; otherwise the expanded family [M, P +
        # 1, N, N]
        graphs = self.expand(jnp.where(real_pairs(mask), graphs, 0.0), mask)

        if self.fusion.graphs == "all" or count == 2:
            fused = self.fuse(coefficients, graphs)
        elif train:
            pairs = jnp.array(list(combinations(range(count), 2)))
            fused = self.fuse_pair(
                coefficients, graphs, jax.random.choice(self.make_rng("pair"), pairs)
            )
        else:
            pairs = list(combinations(range(count), 2))
            fused = sum(
                self.fuse_pair(coefficients, graphs, jnp.array(pair)) for pair in pairs
            ) / len(pairs)
        return jnp.where(real_pairs(mask), fused, 0.0)

    def expand(self, graphs: jax.Array, mask: jax.Array) -> jax.Array:
        """[M, N, N] as it is for hadamard, else [M, P + 1, N, N]."""
        cfg = self.expansion
        if cfg.kind == "hadamard":
            return graphs
        if cfg.kind == "walk":
            return jax.vmap(lambda r: walk(r, mask, cfg.order))(graphs)
        return jax.vmap(lambda r: diffusion(r, mask, cfg.order, cfg.restart))(graphs)

    def fuse_pair(self, coefficients: jax.Array, graphs: jax.Array, pair: jax.Array) -> jax.Array:
        """Fuses the two graphs of `pair` [2]; cp takes their own factors, full and outer the
        shared ones. -> [G, N, N]."""
        if self.fusion.form == "cp":
            coefficients = jnp.take(coefficients, pair, axis=-2)
        return self.fuse(coefficients, jnp.take(graphs, pair, axis=0))

    def fuse(self, coefficients: jax.Array, graphs: jax.Array) -> jax.Array:
        """Coefficients [G, ...] over graphs [S, N, N] (hadamard) or [S, P + 1, N, N] -> [G, N,
        N]."""
        name = parameter_name(self.fusion)
        if self.expansion.kind != "hadamard":
            return jax.vmap(STACKED[name], (0, None))(coefficients, graphs)
        # a loop over the few channels: each is one fused pass over the graphs
        channels = [_hadamard(name, c, graphs, self.expansion.zeroth) for c in coefficients]
        return jnp.stack(channels)


def check_fusion(fusion: Any, expansion: Any, graphs: int) -> None:
    """Raises ConfigError, by key, where config.model.fusion and config.model.expansion cannot
    work on that many graphs."""
    for key, value, valid in (
        ("fusion.form", fusion.form, FORMS),
        ("fusion.parametrisation", fusion.parametrisation, PARAMETRISATIONS),
        ("fusion.graphs", fusion.graphs, SELECTIONS),
        ("fusion.start", fusion.start, STARTS),
        ("expansion.kind", expansion.kind, KINDS),
        ("expansion.zeroth", expansion.zeroth, ZEROTH),
    ):
        if value not in valid:
            raise ConfigError(f"config.model.{key} is {value!r}; valid: {', '.join(valid)}")
    least_values = (
        ("fusion.rank", fusion.rank, 1),
        ("fusion.channels", fusion.channels, 1),
        ("expansion.order", expansion.order, 0),
    )
    for key, value, least in least_values:
        if value < least:
            raise ConfigError(f"config.model.{key} is {value}; expected {least} or more")
    diagonal = expansion.kind != "hadamard" or expansion.zeroth != "ones"
    if fusion.start == "minterms" and (
        fusion.form != "cp" or fusion.parametrisation != "free" or diagonal or expansion.order < 1
    ):
        raise ConfigError(
            "config.model.fusion.start is 'minterms', which needs fusion.form 'cp',"
            " fusion.parametrisation 'free', expansion.kind 'hadamard' with zeroth 'ones' and an"
            " order of 1 or more; change those or use start 'mean'"
        )
    if not 0.0 <= expansion.restart <= 1.0:
        raise ConfigError(
            f"config.model.expansion.restart is {expansion.restart}; expected a probability, 0 to 1"
        )
    if graphs < 1:
        raise ConfigError(
            "config.model.fusion: there is no graph to fuse; see config.data.modalities and"
            " config.model.relation.sources"
        )
    if fusion.graphs == "random_pair" and graphs < 2:
        raise ConfigError(
            "config.model.fusion.graphs is 'random_pair', which draws two graphs, but there is 1;"
            " use 'all' with form 'cp'"
        )
    if fusion.graphs == "all" and fusion.form != "cp" and graphs != 2:
        raise ConfigError(
            f"config.model.fusion.form is {fusion.form!r}, which takes exactly two graphs, but"
            f" there are {graphs}; use form 'cp', or fusion.graphs 'random_pair' with two graphs or"
            " more"
        )


def _single_polynomials(c: jax.Array, graphs: jax.Array) -> jax.Array:
    """c [S, P + 1], graphs [S, ...] -> sum_m sum_p c[m, p] R_m^p [...]."""
    return sum(cp_polynomial(c[None, m : m + 1], graphs[m : m + 1]) for m in range(len(c)))


HORNER = {
    "A": lambda A, graphs: full_polynomial(A, graphs[0], graphs[1]),
    "a": cp_polynomial,
    "c": _single_polynomials,
}
# graphs expanded to [S, P + 1, N, N]
STACKED = {
    "A": lambda A, graphs: jnp.einsum("pq,pij,qij->ij", A, graphs[0], graphs[1]),
    "a": lambda a, graphs: reduce(jnp.multiply, jnp.einsum("rmp,mpij->mrij", a, graphs)).sum(0),
    "c": lambda c, graphs: jnp.einsum("mp,mpij->ij", c, graphs),
}


def _hadamard(name: str, coefficients: jax.Array, graphs: jax.Array, zeroth: str) -> jax.Array:
    """Coefficients of one channel over graphs [S, N, N] -> [N, N], by Horner's rule.

    R^(0) = I is 1 on the diagonal and 0 beside it: the diagonal is the polynomial with all its
    terms, and off it the terms with a zeroth factor are left out.
    """
    evaluate = HORNER[name]
    if zeroth == "ones":
        return evaluate(coefficients, graphs)
    without = coefficients.at[..., 0].set(0.0)
    if name == "A":
        without = without.at[0].set(0.0)
    # [N], [N, N]
    diagonal, beside = (
        evaluate(coefficients, jnp.diagonal(graphs, axis1=-2, axis2=-1)),
        evaluate(without, graphs),
    )
    return jnp.where(jnp.eye(graphs.shape[-1], dtype=bool), diagonal[:, None], beside)
