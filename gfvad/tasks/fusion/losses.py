"""Training losses on batched detector outputs: each term is one function, registered under its name
(`register_loss`), whose weight is `config.loss.NAME`; see gfvad/train/loss_terms.py.

Shapes: logits [B, N], graph [B, G, N, N], mask bool [B, N], label [B] (1 abnormal, 0 normal, -1
unknown), valid bool [B]. Examples with valid False or label -1 count nowhere; padded units neither,
whatever they hold. A term without an example that it concerns is 0 with gradient 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gfvad.base.types import Batch, Output
from gfvad.data.glances import GLANCE
from gfvad.tasks.fusion.glance_targets import placed
from gfvad.train.loss_terms import Bounded, LossTerms, SumCount, across, is_alone

LOSSES = LossTerms()
register_loss = LOSSES.register


class LossInputs(NamedTuple):
    """What every term may look at: this device's part of a batch, and what the model gave on it."""

    output: Output  # of the model, leading B
    batch: Batch
    cfg: Any  # config.loss; any number but topk_divisor may be an array, variance_k a `Bounded`
    axis_name: str | None
    mask: jax.Array  # bool [B, N]; an example that counts nowhere has no units
    known: jax.Array  # bool [B]: examples that count
    normal: jax.Array  # bool [B]
    abnormal: jax.Array  # bool [B]
    step: Any = 0  # how many were taken before this one
    steps: int = 1  # of the whole training

    @property
    def progress(self) -> Any:
        """Share of the steps of training that were taken, below 1."""
        return self.step / self.steps


def total_loss(
    output: Output,
    batch: Batch,
    cfg: Any,
    axis_name: str | None = None,
    step: Any = 0,
    steps: int = 1,
) -> tuple[jax.Array, Mapping[str, jax.Array]]:
    """Weighted sum of all active terms over the global batch.

    Args: output batched over B; cfg = config.loss (a term of weight 0, or that the model does not
    feed, is left out); axis_name of the device mapping, None on one device; step: how many were
    taken, of how many `steps`, for what fades out and for what comes later.
    Returns: (scalar, {term: its unweighted global value}), both equal on every device.
    """
    inputs = inputs_of(output, batch, cfg, axis_name, step, steps)
    return LOSSES.total(inputs, cfg, axis_name, step)


def inputs_of(
    output: Output, batch: Batch, cfg: Any, axis_name: str | None, step: Any, steps: int
) -> LossInputs:
    """What every term may look at. Args: as those of `total_loss`."""
    known = batch.valid & (batch.label >= 0)
    # an example that counts nowhere has no units either, so that nothing it holds reaches a
    # gradient
    mask = batch.mask & known[:, None]
    normal, abnormal = known & (batch.label < 0.5), known & (batch.label > 0.5)
    return LossInputs(output, batch, cfg, axis_name, mask, known, normal, abnormal, step, steps)


def fade(step: Any, steps: Any) -> Any:
    """Factor of a term that fades out linearly over `steps` steps, 1 at step 0; 1 for ever where
    steps is 0."""
    if isinstance(steps, jax.Array):
        return jnp.where(steps > 0, jnp.clip(1.0 - step / jnp.maximum(steps, 1.0), 0.0, 1.0), 1.0)
    return jnp.clip(1.0 - step / steps, 0.0, 1.0) if steps > 0 else 1.0


@register_loss("bce", default=1.0)
def video_bce(given: LossInputs) -> SumCount:
    """Multiple-instance cross entropy of the fused score."""
    return bce_of(given.output.logits, given)


def bce_of(logits: jax.Array, given: LossInputs) -> SumCount:
    """Multiple-instance cross entropy of logits [B, N]."""
    shape = given.cfg.topk_divisor, given.cfg.label_smoothing
    return multiple_instance_bce(logits, given.mask, given.batch.label, given.known, *shape)


@register_loss("branch")
def branch_bce(given: LossInputs) -> Mapping[str, SumCount]:
    """The same of each branch of the head "branches" by itself."""
    return {name: bce_of(logits, given) for name, logits in branches(given.output).items()}


def branches(output: Output) -> dict[str, jax.Array]:
    """Logits [B, N] of each branch, by name."""
    return {name: z for name, z in output.aux.items() if name.startswith("branch/")}


def multiple_instance_bce(
    logits, mask, label, counted, topk_divisor: int, label_smoothing: float = 0.0
) -> SumCount:
    """Binary cross entropy of the video score, the mean score of the top max(1, n // topk_divisor)
    of a video's n units.

    The mean is over sigmoid scores, as the video score is defined (multiple-instance learning after
    Sultani et al., 2018); both logarithms are logsumexp of log-sigmoids, so the loss is finite and
    exact however large the logits are.
    Args: counted bool [B]. Returns (sum over counted videos, their number).
    """
    largest = max(1, logits.shape[1] // topk_divisor)
    # [B, K]: the top units; K covers the longest video, `kept` cuts it to each one's own number
    top, _ = jax.lax.top_k(jnp.where(mask, logits, -jnp.inf), largest)
    number = jnp.maximum(mask.sum(1) // topk_divisor, 1)
    kept = jnp.arange(largest) < number[:, None]
    # the inner where keeps the gradient finite in a video without units
    top = jnp.where(kept & mask.any(1, keepdims=True), top, 0.0)
    # [B]
    log_score = jax.nn.logsumexp(jax.nn.log_sigmoid(top), axis=1, where=kept) - jnp.log(number)
    log_complement = jax.nn.logsumexp(jax.nn.log_sigmoid(-top), axis=1, where=kept)
    log_complement = log_complement - jnp.log(number)
    target = label * (1.0 - label_smoothing) + 0.5 * label_smoothing
    loss = -target * log_score - (1.0 - target) * log_complement
    return jnp.where(counted, loss, 0.0).sum(), counted.sum()


@register_loss("unit_normal")
def normal_units(given: LossInputs) -> SumCount:
    """`unit_cross_entropy` of normal videos."""
    return unit_cross_entropy(given.output, given.mask, given.normal, -1)


@register_loss("unit_abnormal", factor=lambda cfg, step: fade(step, cfg.unit_abnormal_steps))
def abnormal_units(given: LossInputs) -> SumCount:
    """`unit_cross_entropy` of abnormal videos, which may fade out."""
    return unit_cross_entropy(given.output, given.mask, given.abnormal, 1)


def unit_cross_entropy(output: Output, mask: jax.Array, chosen: jax.Array, sign: int) -> SumCount:
    """Cross entropy of every unit of some videos with their video's label: sign -1 normal, 1
    abnormal (ours).

    Of the logits and of those of each branch, added. A normal video's label is true of each of its
    units. An abnormal one's is true of few; as a small term it orders units by how much more often
    their like is found in abnormal videos, and so decides early which units the top-k of
    multiple-instance learning then sharpens; left to chance, that can be the units beside the
    event.
    Args: chosen bool [B]. Returns (sum over real units of the chosen videos, their number).
    """
    taken = mask & chosen[:, None]
    logits = [output.logits, *branches(output).values()]
    each = [-jax.nn.log_sigmoid(sign * jnp.where(taken, z, 0.0)) for z in logits]
    return jnp.asarray(sum(jnp.where(taken, x, 0.0).sum() for x in each)), taken.sum()


@register_loss("consistency")
def consistency(given: LossInputs) -> SumCount:
    """Each branch learns, unit by unit, what all branches together say of abnormal videos (ours;
    after co-training, Blum and Mitchell 1998).

    Cross entropy of a branch's units with the fused score as a fixed target, summed over branches:
    a modality that finds the event teaches the others when it is. Returns (sum over real units of
    abnormal videos, their number); a model without branches gives 0.
    """
    taken = given.mask & given.abnormal[:, None]
    target = jax.lax.stop_gradient(jax.nn.sigmoid(jnp.where(taken, given.output.logits, 0.0)))
    logits = [jnp.where(taken, z, 0.0) for z in branches(given.output).values()]
    sides = lambda z: (jax.nn.log_sigmoid(z), jax.nn.log_sigmoid(-z))
    losses = [-target * yes - (1.0 - target) * no for yes, no in map(sides, logits)]
    return sum((jnp.where(taken, x, 0.0).sum() for x in losses), jnp.zeros(())), taken.sum()


@register_loss("glance", default=0.1)
def glance(given: LossInputs) -> SumCount | None:
    """Cross entropy with 1 of the units that glances say are abnormal, as
    gfvad/tasks/fusion/glance_targets.py places them by the fused scores; of the logits and of those
    of each branch, added.

    Units far from a glance are left to multiple-instance learning: an event may have gone on there.
    Returns (sum over real units of abnormal videos, number of units with a glance); None without
    glances.
    """
    marks = given.batch.features.get(GLANCE)
    if marks is None:
        return None
    taken = given.mask & given.abnormal[:, None]
    scores = jax.nn.sigmoid(jnp.where(taken, given.output.logits, 0.0))
    of_video = lambda m, s, real: placed(m, s, real, given.cfg.glance_width)
    # [B, N]
    weight = jax.vmap(of_video)(marks[..., 0], jax.lax.stop_gradient(scores), taken)
    logits = [given.output.logits, *branches(given.output).values()]
    each = [-weight * jax.nn.log_sigmoid(jnp.where(taken, z, 0.0)) for z in logits]
    return jnp.asarray(sum(x.sum() for x in each)), weight.sum()


def degrees(graph: jax.Array, mask: jax.Array, alpha: float) -> jax.Array:
    """Weighted degree above alpha, d_i = sum_j G_ij [G_ij >= alpha]: [B, G, N, N] -> [B, G, N];
    0 at padded units (Eq. 7)."""
    pairs = (mask[:, :, None] & mask[:, None, :])[:, None]
    return jnp.where(pairs & (graph >= alpha), graph, 0.0).sum(-1)


@register_loss("variance")
def degree_variance(given: LossInputs) -> SumCount | None:
    """(Var(d | normal videos) - Var(top-k d | abnormal videos))^2 over the global batch (Learnable
    Expansion of Graph Operators, Eq. 7), averaged over graph channels.

    Both variances pool units of all videos of all devices: mean first, then squared deviations,
    each summed over devices, so that the value is that of the whole batch and does not cancel in
    float32. A video shorter than k gives all its units.
    Degrees are not divided by N, as in the paper: lambda belongs to a length.
    Returns (value, 1), or (0, 0) where the global batch has no normal or no abnormal video; None
    for a model without graphs.
    """
    graph, mask, normal, abnormal = given.output.graph, given.mask, given.normal, given.abnormal
    if not graph.shape[1]:
        return None
    alpha, k = given.cfg.variance_alpha, given.cfg.variance_k
    # [B, G, N]
    d = degrees(graph, mask, alpha)
    taken_normal = jnp.broadcast_to((mask & normal[:, None])[:, None], d.shape)
    # [B, G, K]
    largest = min(k.most if isinstance(k, Bounded) else k, d.shape[-1])
    top, _ = jax.lax.top_k(jnp.where(mask[:, None], d, -jnp.inf), largest)
    taken_top = (jnp.arange(largest) < mask.sum(1)[:, None]) & abnormal[:, None]
    if isinstance(k, Bounded):  # the ranks beyond k of these largest ones count nowhere
        taken_top &= jnp.arange(largest) < k.value
    taken_top = jnp.broadcast_to(taken_top[:, None], top.shape)
    # [G] each
    pools = (d, taken_normal), (top, taken_top)
    (spread_normal, n_normal), (spread_top, n_top) = global_variances(pools, given.axis_name)
    both = (n_normal > 0) & (n_top > 0)
    value = jnp.where(both, jnp.square(spread_normal - spread_top), 0.0).mean()
    return value, both.all().astype(jnp.int32)


def global_variances(
    pools: Sequence[tuple[jax.Array, jax.Array]], axis_name: str | None
) -> list[tuple[jax.Array, jax.Array]]:
    """Of each pool, (values [B, G, K], which are taken): (population variance over all devices, per
    channel [G]; their number [G]); 0 of none.

    Two all-reduces for all pools. Over devices the mean's gradient, which is 0, is not taken.
    """
    several = not is_alone(axis_name)
    kept = [(jnp.where(taken, values, 0.0), taken) for values, taken in pools]
    number = lambda taken: taken.sum((0, 2), pools[0][0].dtype if several else jnp.int32)
    sums = [(values.sum((0, 2)), number(taken)) for values, taken in kept]
    sums = across(jax.lax.stop_gradient(sums) if several else sums, axis_name)
    spreads = []
    for (values, taken), (total, count) in zip(kept, sums):
        mean = total / jnp.maximum(count, 1)
        deviation = jnp.where(taken, values - mean[:, None], 0.0)
        spreads.append(jnp.square(deviation).sum((0, 2)))
    spreads = across(spreads, axis_name)
    return [(spread / jnp.maximum(n, 1), n) for spread, (_, n) in zip(spreads, sums)]


@register_loss("smoothness")
def smoothness(given: LossInputs) -> SumCount:
    """sum_t (s_t - s_{t-1})^2 of the scores of abnormal videos, over pairs of real neighbours in
    time (RTFM; weight 8e-4).

    Returns (sum over abnormal videos, their number).
    """
    mask, abnormal = given.mask, given.abnormal
    score = jax.nn.sigmoid(jnp.where(mask, given.output.logits, 0.0))
    pairs = mask[:, 1:] & mask[:, :-1] & abnormal[:, None]
    return jnp.where(pairs, jnp.square(score[:, 1:] - score[:, :-1]), 0.0).sum(), abnormal.sum()


@register_loss("sparsity")
def sparsity(given: LossInputs) -> SumCount:
    """sum_t |s_t| of the scores of abnormal videos: events are rare (RTFM; weight 8e-3). Returns
    as `smoothness`."""
    score = jax.nn.sigmoid(jnp.where(given.mask, given.output.logits, 0.0))
    taken = given.mask & given.abnormal[:, None]
    return jnp.where(taken, score, 0.0).sum(), given.abnormal.sum()


@register_loss("balance")
def balance(given: LossInputs) -> SumCount | None:
    """Expert balance, per video [B] as the filters give it (SFN-VAD; weight 0.001): (sum over
    counted videos, their number)."""
    if "balance" not in given.output.aux:
        return None
    return jnp.where(given.known, given.output.aux["balance"], 0.0).sum(), given.known.sum()


@register_loss("reconstruction")
def reconstruction(given: LossInputs) -> SumCount | None:
    """Filtered features predict the raw ones on normal videos only, so that a filter refuses what
    is abnormal (ours): squared error of a unit.

    Returns (sum over real units of normal videos, their number).
    """
    if "reconstruction" not in given.output.aux:
        return None
    taken = given.mask & given.normal[:, None]
    return jnp.where(taken, given.output.aux["reconstruction"], 0.0).sum(), taken.sum()


@register_loss("own", default=1.0)
def own(given: LossInputs) -> Mapping[str, SumCount]:
    """What a model learns by besides: each `aux["loss/NAME"]`, a value a video [B], the mean over
    videos that count."""
    known = given.known
    return {
        name.removeprefix("loss/"): (jnp.where(known, value, 0.0).sum(), known.sum())
        for name, value in given.output.aux.items()
        if name.startswith("loss/")
    }
