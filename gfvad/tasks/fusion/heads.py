"""Heads: from fused graphs to one anomaly logit a unit. sigmoid(logit) is the unit's score.

Shapes, for one video: graphs [G, N, N], mask bool [N] -> logits [N]. Padded units never influence a
real one, whatever they hold, and have logit 0. `degree` and `gnn` serve any N with the same
parameters; `row` is bound to one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.base.types import ConfigError
from gfvad.graphs.largest import mean_of_largest
from gfvad.graphs.row_blocks import RowBlocks
from gfvad.graphs.tuples import propagate

SPREAD_EPSILON = 1e-6  # keeps the gradient of a standard deviation finite at 0
# of the graph branch: degree statistics of different units differ by a few hundredths
STATISTIC_SCALE = 20.0
ROW_EPSILON = 1e-3  # bounds the gradient of a row's normalisation


def real_pairs(mask: jax.Array) -> jax.Array:
    """bool [N] -> bool [N, N], True where both units are real."""
    return mask[:, None] & mask[None, :]


def degree_statistics(
    graphs: jax.Array | RowBlocks, mask: jax.Array, alpha: float, topk: int
) -> jax.Array:
    """Size-free statistics of each row of each graph: [G, N, N] -> [N, 8 G]; 0 at padded units
    (ours, after Eq. 7's degree).

    Per channel: weighted degree above alpha over the number n of real units (sum_j G_ij [G_ij >=
    alpha] / n), mean of the row, mean of its min(topk, n - 1) largest entries to *other* units,
    standard deviation of the row; and the same four minus their mean over the video's units, since
    what is odd in one video is usual in another.
    """
    n = jnp.maximum(mask.sum(), 1)
    if isinstance(graphs, RowBlocks):
        use = lambda rows, pairs, others: row_statistics(rows, pairs, others, n, alpha, topk)
        rows = graphs.each(use, mask)
    else:
        pairs = real_pairs(mask)
        others = pairs & ~jnp.eye(mask.shape[0], dtype=bool)
        rows = row_statistics(graphs, pairs, others, n, alpha, topk)
    # [G, N, 4] -> [G, N, 8]
    rows = jnp.where(mask[:, None], rows, 0.0)
    relative = jnp.where(mask[:, None], rows - rows.sum(1, keepdims=True) / n, 0.0)
    rows = jnp.concatenate([rows, relative], -1)
    return jnp.moveaxis(rows, 0, 1).reshape(mask.shape[0], -1)


def row_statistics(
    graphs: jax.Array, pairs: jax.Array, others: jax.Array, n: jax.Array, alpha: float, topk: int
) -> jax.Array:
    """The four statistics of some rows: graphs [G, b, N]; which entries join real units, and
    different ones, bool [b, N]; n real units -> [G, b, 4]."""
    # [G, b, N]
    graphs = jnp.where(pairs, graphs, 0.0)
    # [G, b] each
    degree = jnp.where(graphs >= alpha, graphs, 0.0).sum(-1) / n
    mean = graphs.sum(-1) / n
    deviation = jnp.where(pairs, graphs - mean[..., None], 0.0)
    spread = jnp.sqrt(jnp.square(deviation).sum(-1) / n + SPREAD_EPSILON)
    return jnp.stack([degree, mean, neighbour_mean(graphs, others, topk), spread], -1)


def neighbour_mean(graphs: jax.Array, others: jax.Array, topk: int) -> jax.Array:
    """Mean of the largest min(topk, n - 1) entries of a row to other real units (others bool [b,
    N]), [G, b, N] -> [G, b]; 0 for a lone unit."""
    counts = jnp.broadcast_to(jnp.minimum(others.sum(-1), topk), graphs.shape[:-1])
    return mean_of_largest(jnp.where(others, graphs, -jnp.inf), counts, topk)


class RowHead(nn.Module):
    """The paper's head: two dense layers N -> N -> 1 with ReLU on each row of G (G N -> N -> 1 with
    G channels).

    Its parameters are bound to `units`, so every video must be given as that many segments.
    """

    units: int  # N

    @nn.compact
    def __call__(self, graphs: jax.Array, mask: jax.Array) -> jax.Array:
        """graphs [G, N, N], mask bool [N] -> logits [N]. Raises ConfigError where N is not
        `units`."""
        if mask.shape[0] != self.units:
            raise ConfigError(
                f"the row head was built for {self.units} units (data.train_units), "
                f"found {mask.shape[0]}: use data.eval_mode = 'segments'"
            )
        # [N, G N]
        rows = jnp.moveaxis(jnp.where(real_pairs(mask), graphs, 0.0), 0, 1).reshape(self.units, -1)
        # [N, N] -> [N]
        hidden = nn.relu(nn.Dense(self.units, name="hidden")(rows))
        logits = nn.Dense(1, name="logit")(hidden)[:, 0]
        return jnp.where(mask, logits, 0.0)


class DegreeHead(nn.Module):
    """Size-free statistics of each row of each fused graph, then a small perceptron (ours). It
    sees graphs only."""

    hidden: int = 32
    alpha: float = 0.5  # edges below do not count in the weighted degree
    topk: int = 8
    scale: float = 1.0  # on the statistics, which differ by a few hundredths between units

    @nn.compact
    def __call__(self, graphs: jax.Array, mask: jax.Array) -> jax.Array:
        """graphs [G, N, N], mask bool [N] -> logits [N]."""
        # [N, 8 G]
        statistics = self.scale * degree_statistics(graphs, mask, self.alpha, self.topk)
        hidden = nn.relu(nn.Dense(self.hidden, name="hidden")(statistics))
        logits = nn.Dense(1, name="logit")(hidden)[:, 0]
        return jnp.where(mask, logits, 0.0)


class GnnHead(nn.Module):
    """Message passing over the fused graphs with unit features (ours; size-free).

    A unit starts from its content and its degree statistics. In each round it gathers its
    neighbours' states over every channel, weighted by the rows of |G| normalised to sum 1, and adds
    what a dense layer makes of both; LayerNorm follows.
    """

    hidden: int = 32
    layers: int = 1  # rounds
    alpha: float = 0.5  # of the weighted degree
    topk: int = 8
    dropout: float = 0.0  # on every update

    @nn.compact
    def __call__(
        self, graphs: jax.Array, content: jax.Array, mask: jax.Array, *, train: bool
    ) -> jax.Array:
        """graphs [G, N, N], content [N, C], mask bool [N] -> logits [N]; rng 'dropout' when
        training."""
        real = mask[:, None]
        # [N, C + 8 G] -> [N, H]
        seen = jnp.where(real, content, 0.0)
        statistics = degree_statistics(graphs, mask, self.alpha, self.topk)
        start = jnp.concatenate([seen, statistics], -1)
        state = nn.Dense(self.hidden, name="embed")(start)
        # [G, N, N]
        weights = row_normalised(graphs, mask)
        for layer in range(self.layers):
            # [G, N, H] -> [N, G H]
            messages = [propagate(w, state, mask, normalise=False) for w in weights]
            messages = jnp.stack(messages, 1).reshape(mask.shape[0], -1)
            update = nn.Dense(self.hidden, name=f"update_{layer}")
            update = nn.gelu(update(jnp.concatenate([state, messages], -1)))
            update = nn.Dropout(self.dropout, deterministic=not train)(update)
            state = nn.LayerNorm(name=f"norm_{layer}")(state + update)
        logits = nn.Dense(1, name="logit")(state)[:, 0]
        return jnp.where(mask, logits, 0.0)


class BranchHead(nn.Module):
    """Evidence side by side: each branch makes a logit of its own, and the gated sum of all
    diffuses over the fused graph (ours; size-free).

    Branches, in this order: one a modality (a dense layer on its unit embedding); `gnn` where
    layers > 0 (GnnHead on all embeddings); `graph` where relations is True (DegreeHead). logits =
    (1 - mix) z + mix W z with z = sum_b gate_b z_b + bias and W the mean over channels of the
    row-normalised |G|. Each branch is trained by a loss of its own too (loss.branch), so that the
    one that learns fastest does not keep the others from learning; with `detach` by nothing else.
    """

    hidden: int = 32
    layers: int = 1
    alpha: float = 0.5
    topk: int = 8
    dropout: float = 0.0
    relations: bool = True
    gates: tuple[float, ...] = ()  # one a branch; () is 1 for all
    detach: bool = False
    mix: float = 0.5
    # where a modality's branch starts without evidence: the share of units taken to be abnormal
    prior: float = 0.5
    # score that a modality's branch gives a unit that does not count in it; 0: the branch's own
    # learnt constant
    absent: float = 0.0
    # share of a unit's evidence that is the mean over its video's units
    whole: float = 0.0
    # whether evidence spreads in training too; else it does where it is scored alone
    spread_trained: bool = True

    @nn.compact
    def __call__(
        self,
        graphs: jax.Array,
        content: dict[str, jax.Array],
        mask: jax.Array,
        counts: Mapping[str, jax.Array] | None = {},
        beside: jax.Array | float = 0.0,
        *,
        train: bool,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """graphs [G, N, N], content {branch: [N, H]}, mask bool [N], counts {modality: [N]} (what a
        unit counts there, 1 where not given; None: content holds logits [N]), beside [N] (evidence
        that is added to the sum)
        -> (logits [N], {branch: logits [N]}); rng 'dropout' when training.

        Raises ConfigError where the gates are not as many as the branches.
        """
        if counts is None:
            branches = dict(content)
        else:
            branches = branch_logits(content, counts, self.prior, self.absent)
        if self.layers > 0:
            gnn = GnnHead(self.hidden, self.layers, self.alpha, self.topk, self.dropout, name="gnn")
            branches["gnn"] = gnn(
                graphs, jnp.concatenate(list(content.values()), -1), mask, train=train
            )
        if self.relations:
            branches["graph"] = DegreeHead(
                self.hidden, self.alpha, self.topk, STATISTIC_SCALE, name="graph"
            )(graphs, mask)
        branches = {name: jnp.where(mask, z, 0.0) for name, z in branches.items()}
        gates = self.gates or (1.0,) * len(branches)
        if len(gates) != len(branches):
            raise ConfigError(
                f"config.model.head.gates = {self.gates}: expected one a branch"
                f" ({', '.join(branches)}), or () for 1 each"
            )
        parts = jax.lax.stop_gradient(branches) if self.detach else branches
        # [N]
        z = sum(gate * x for gate, x in zip(gates, parts.values())) + self.param(
            "bias", nn.initializers.zeros, ()
        )
        z = z + beside
        if train and not self.spread_trained:
            return jnp.where(mask, z, 0.0), branches
        if self.whole > 0:
            mean = jnp.where(mask, z, 0.0).sum() / jnp.maximum(mask.sum(), 1)
            z = (1.0 - self.whole) * z + self.whole * mean
        if isinstance(self.mix, (int, float)) and self.mix == 0:
            return jnp.where(mask, z, 0.0), branches
        weights = row_normalised(graphs, mask).mean(0)
        # a unit without relations keeps its own evidence
        diffused = weights @ jnp.where(mask, z, 0.0) + (1.0 - weights.sum(-1)) * z
        return jnp.where(mask, (1.0 - self.mix) * z + self.mix * diffused, 0.0), branches


def branch_logits(
    content: Mapping[str, jax.Array], counts: Mapping[str, jax.Array], prior: float, absent: float
) -> dict[str, jax.Array]:
    """A logit a branch from a dense layer on its embedding, {branch: [N, H]} -> {branch: [N]}; call
    it inside a compact module.

    An embedding is 0 where its modality is absent, and fades to 0 with c [N], what the unit counts
    there (content.embed_content). With absent > 0 the logit fades to that of a fixed score, z = c
    (w h + b) + (1 - c) logit(absent); else z = c w h + b.
    """
    start, out = nn.initializers.constant(logit_of(prior)), {}
    for name, x in content.items():
        dense = nn.Dense(1, bias_init=start, name=f"branch_{name}")
        out[name] = dense(x)[:, 0]
        if absent > 0 and name in counts:
            out[name] += (1.0 - counts[name]) * (logit_of(absent) - dense(jnp.zeros_like(x))[:, 0])
    return out


def logit_of(probability: float) -> float:
    """log(p / (1 - p))."""
    return math.log(probability / (1.0 - probability))


def row_normalised(graphs: jax.Array, mask: jax.Array) -> jax.Array:
    """|G| with rows that sum to 1 (up to ROW_EPSILON), 0 at padded units: [G, N, N]; a row of
    zeros stays zero."""
    strength = jnp.where(real_pairs(mask), jnp.abs(graphs), 0.0)
    return strength / (strength.sum(-1, keepdims=True) + ROW_EPSILON)
