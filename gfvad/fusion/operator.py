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

from collections.abc import Callable
from functools import partial
from itertools import combinations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from gfvad.base.types import ConfigError
from gfvad.fusion.coefficients import (
    PARAMETRISATIONS,
    STARTS,
    constrained,
    initial,
    starting_values,
)
from gfvad.fusion.forms import CP, FORMS, FULL, OUTER, SINGLE, FusionConfig, form_of
from gfvad.graphs.expansion import EXPANSIONS, ZEROTH, ExpansionConfig, expanded, real_pairs
from gfvad.graphs.row_blocks import require_rows

SELECTIONS = ("all", "random_pair")


class FusionOperator(nn.Module):
    """Fuses the graphs of one video; vmap it over B.

    Its one parameter is described in `fusion/forms.py`. Random stream: 'pair', used in training
    where graphs is random_pair and M > 2. Graphs and parameter may be float32 or float64.
    """

    fusion: FusionConfig  # config.model.fusion
    expansion: ExpansionConfig  # config.model.expansion
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, graphs: jax.Array, mask: jax.Array, *, train: bool) -> jax.Array:
        """graphs [M, N, N], mask bool [N] -> [G, N, N], exactly 0 at padded units. Raises
        ConfigError where the form does not fit M."""
        count = graphs.shape[0]
        coefficients = own_coefficients(self, count, self.fusion, self.expansion, self.param_dtype)
        graphs = prepared(graphs, mask, self.fusion, self.expansion)
        if self.fusion.graphs == "all" or count == 2:
            fused = combined(coefficients, graphs, self.fusion, self.expansion)
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

    def fuse_pair(self, coefficients: jax.Array, graphs: jax.Array, pair: jax.Array) -> jax.Array:
        """Fuses the two graphs of `pair` [2]; a form with factors takes their own, others the
        shared ones. -> [G, N, N]."""
        if FORMS.find(self.fusion.form).factors:
            coefficients = jnp.take(coefficients, pair, axis=-2)
        graphs = jnp.take(graphs, pair, axis=0)
        return combined(coefficients, graphs, self.fusion, self.expansion)


class FusionByRows(nn.Module):
    """The operator for graphs that are made a few rows at once (graphs/row_blocks.py): the same
    parameter, under the same name."""

    fusion: FusionConfig
    expansion: ExpansionConfig

    @nn.compact
    def __call__(self, count: int) -> Callable[[jax.Array], jax.Array]:
        """The function of rows [M, b, N] of `count` graphs -> [G, b, N]. Raises ConfigError where
        a power needs whole graphs, or pairs of graphs are drawn."""
        kind, zeroth, chosen = self.expansion.kind, self.expansion.zeroth, self.fusion.graphs
        require_rows("expansion.kind", kind, by_horner(self.fusion, self.expansion), "hadamard")
        require_rows("expansion.zeroth", zeroth, zeroth == "ones", "ones")
        require_rows("fusion.graphs", chosen, chosen == "all" or count == 2, "all")
        coefficients = own_coefficients(self, count, self.fusion, self.expansion)
        return lambda rows: combined(coefficients, rows, self.fusion, self.expansion)


def own_coefficients(
    module: nn.Module,
    graphs: int,
    fusion: FusionConfig,
    expansion: ExpansionConfig,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """The coefficients [G, ...] of a module, its only parameter, for so many graphs. Raises
    ConfigError where the form does not fit them."""
    check_fusion(fusion, expansion, graphs)
    start = starting_values(fusion, expansion.order, graphs, has_diagonal_zeroth(expansion))
    raw = module.param(form_of(fusion).parameter, lambda key: initial(key, start, fusion, dtype))
    return constrained(raw, fusion)


def prepared(
    graphs: jax.Array, mask: jax.Array, fusion: FusionConfig, expansion: ExpansionConfig
) -> jax.Array:
    """Graphs as a form combines them: [M, N, N], 0 at padded units, where powers follow by
    Horner's rule, else expanded to [M, P + 1, N, N]."""
    graphs = jnp.where(real_pairs(mask), graphs, 0.0)
    if by_horner(fusion, expansion):
        return graphs
    return jax.vmap(lambda r: expanded(r, mask, expansion))(graphs)


def combined(
    coefficients: jax.Array, graphs: jax.Array, fusion: FusionConfig, expansion: ExpansionConfig
) -> jax.Array:
    """Coefficients [G, ...] over `prepared` graphs -> [G, N, N], to be masked."""
    form = form_of(fusion)
    if form.horner is None or not by_horner(fusion, expansion):
        return jax.vmap(form.combine, (0, None))(coefficients, graphs)
    evaluate = form.horner
    if expansion.zeroth != "ones":
        evaluate = partial(_with_diagonal_zeroth, form.horner, form.powers)
    if not form.channelwise:
        return evaluate(coefficients, graphs)
    # a loop over the few channels: each is one fused pass over the graphs
    return jnp.stack([evaluate(c, graphs) for c in coefficients])


def by_horner(fusion: FusionConfig, expansion: ExpansionConfig) -> bool:
    """Whether powers follow by Horner's rule, so that graphs need no expansion."""
    return expansion.kind == "hadamard" and form_of(fusion).horner is not None


def has_diagonal_zeroth(expansion: ExpansionConfig) -> bool:
    """Whether R^(0) is I, and not 1 for every pair of units."""
    return expansion.kind != "hadamard" or expansion.zeroth == "identity"


def check_fusion(fusion: FusionConfig, expansion: ExpansionConfig, graphs: int) -> None:
    """Raises ConfigError, by key, where config.model.fusion and config.model.expansion cannot
    work on that many graphs."""
    form = FORMS.find(fusion.form)
    EXPANSIONS.find(expansion.kind)
    for key, value, valid in (
        ("fusion.parametrisation", fusion.parametrisation, PARAMETRISATIONS),
        ("fusion.graphs", fusion.graphs, SELECTIONS),
        ("fusion.start", fusion.start, STARTS),
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
    powers = not has_diagonal_zeroth(expansion) and expansion.order > 0
    if fusion.start == "minterms" and not (
        form is CP and fusion.parametrisation == "free" and powers
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
    check_orders(fusion, expansion, 2 if form.pair else graphs)
    if graphs < 1:
        raise ConfigError(
            "config.model.fusion: there is no graph to fuse; see config.data.modalities and"
            " config.model.relation.sources"
        )
    if fusion.graphs == "random_pair" and not (form.pair or form.factors):
        raise ConfigError(
            f"config.model.fusion.graphs is 'random_pair', which form {fusion.form!r} does not"
            " take; use 'all'"
        )
    if fusion.graphs == "random_pair" and graphs < 2:
        raise ConfigError(
            "config.model.fusion.graphs is 'random_pair', which draws two graphs, but there is 1;"
            " use 'all' with form 'cp'"
        )
    if fusion.graphs == "all" and form.pair and graphs != 2:
        raise ConfigError(
            f"config.model.fusion.form is {fusion.form!r}, which takes exactly two graphs, but"
            f" there are {graphs}; use form 'cp', or fusion.graphs 'random_pair' with two graphs or"
            " more"
        )


def check_orders(fusion: FusionConfig, expansion: ExpansionConfig, slots: int) -> None:
    """Raises ConfigError where config.model.fusion.orders are not one whole number a slot, each
    from 1 to the order of the expansion, or the form is one from outside."""
    orders, most = tuple(fusion.orders), expansion.order
    whole = all(isinstance(p, int) and 1 <= p <= most for p in orders)
    if orders and (len(orders) != slots or not whole):
        raise ConfigError(
            f"config.model.fusion.orders is {orders}; expected {slots} whole numbers, one for each"
            f" of the graphs that form {fusion.form!r} combines here, each from 1 to"
            f" config.model.expansion.order, {most}; or () for that order in all"
        )
    if orders and form_of(fusion) not in (FULL, CP, OUTER, SINGLE):
        raise ConfigError(
            f"config.model.fusion.orders is {orders}, which form {fusion.form!r} from outside does"
            " not take; use ()"
        )


def _with_diagonal_zeroth(
    evaluate: Callable[[jax.Array, jax.Array], jax.Array],
    powers: tuple[int, ...],
    coefficients: jax.Array,
    graphs: jax.Array,
) -> jax.Array:
    """`evaluate` of coefficients, of a channel or of all, over graphs [S, N, N] where R^(0) = I ->
    [..., N, N].

    I is 1 on the diagonal and 0 beside it: the diagonal is the polynomial with all its terms, and
    off it the terms with a zeroth factor are left out. powers: the axes that range over powers.
    """
    without = coefficients
    for axis in powers:
        without = without.at[(..., 0) + (slice(None),) * (-1 - axis)].set(0.0)
    # [..., N], [..., N, N]
    diagonal = evaluate(coefficients, jnp.diagonal(graphs, axis1=-2, axis2=-1))
    beside = evaluate(without, graphs)
    return jnp.where(jnp.eye(graphs.shape[-1], dtype=bool), diagonal[..., None], beside)
