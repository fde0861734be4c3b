"""What multiple-instance models share: the top units of a video, and cross entropies of shares."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from gfvad.base.types import ConfigError, Output
from gfvad.tasks.fusion.losses import LossInputs
from gfvad.train.loss_terms import SumCount

TINY = 1e-12  # below it logarithms and norms are cut
DIVISOR = 16  # k = n // DIVISOR + 1 of the n units of a video


def number_of(mask: jax.Array) -> jax.Array:
    """Real units [..., N] -> k [...], the number of highest units that stand for a video."""
    return mask.sum(-1) // DIVISOR + 1


def top_weights(values: jax.Array, mask: jax.Array, number: jax.Array) -> jax.Array:
    """[..., N] 1 / k at the k = `number` [...] largest values of real units, else 0; no gradient
    flows through it."""
    order = jnp.argsort(jnp.where(mask, -values, jnp.inf), axis=-1)
    chosen = (jnp.argsort(order, axis=-1) < number[..., None]) & mask
    weights = chosen / jnp.maximum(number, 1)[..., None]
    return jax.lax.stop_gradient(weights.astype(values.dtype))


def top_mean(values: jax.Array, mask: jax.Array, number: jax.Array) -> jax.Array:
    """[..., N] -> [...] mean of the k largest values of real units."""
    return (top_weights(values, mask, number) * jnp.where(mask, values, 0.0)).sum(-1)


def share_entropy(share: jax.Array, target: Any) -> jax.Array:
    """Binary cross entropy of a share in [0, 1] with a target in [0, 1], finite at both ends."""
    log = lambda x: jnp.log(jnp.maximum(x, TINY))
    return -(target * log(share) + (1.0 - target) * log(1.0 - share))


def video_entropy(logits: jax.Array, mask: jax.Array, given: LossInputs) -> jax.Array:
    """[B] cross entropy of the mean of the k highest scores, of logits [B, N], with the label."""
    share = top_mean(jax.nn.sigmoid(logits), mask, number_of(mask))
    return share_entropy(share, given.batch.label)


def mean_of_units(values: jax.Array, mask: jax.Array) -> jax.Array:
    """[B, N] -> [B] mean over real units; 0 without any."""
    return jnp.where(mask, values, 0.0).sum(-1) / jnp.maximum(mask.sum(-1), 1)


def length_of(x: jax.Array) -> jax.Array:
    """[..., D] -> [...] its norm, with a finite gradient at 0."""
    return jnp.sqrt(jnp.square(x).sum(-1) + TINY)


def gathered(tree: Any, axis_name: str | None) -> Any:
    """Leaves [B, ...] of every device, joined; the tree itself on one device."""
    if axis_name is None:
        return tree
    return jax.tree.map(lambda x: jax.lax.all_gather(x, axis_name, tiled=True), tree)


def in_pairs(
    values: Any, normal: jax.Array, abnormal: jax.Array, position: jax.Array
) -> tuple[Any, Any, jax.Array]:
    """Leaves [B, ...] -> (those of normal, those of abnormal videos, bool [B] which pairs there
    are): the i-th normal video with the i-th abnormal one, in the order of the stream."""
    position = jnp.asarray(position)
    place = lambda kind: jnp.argsort(jnp.where(kind, position, jnp.iinfo(position.dtype).max))
    first, second = place(normal), place(abnormal)
    count = jnp.minimum(normal.sum(), abnormal.sum())
    take = lambda index: jax.tree.map(lambda x: jnp.take(x, index, axis=0), values)
    return take(first), take(second), jnp.arange(len(position)) < count


def pairs_of(parts: Any, given: LossInputs) -> tuple[Any, Any, jax.Array]:
    """`in_pairs` of parts of what a model gave on a batch, over all devices."""
    flags = given.normal, given.abnormal, given.batch.position
    parts, flags = gathered((parts, flags), given.axis_name)
    return in_pairs(parts, *flags)


def parts_of(output: Output, name: str) -> dict[str, jax.Array] | None:
    """What a model of this name gave for its losses, 'NAME/PART' of aux; None of another model."""
    start = f"{name}/"
    found = {k.removeprefix(start): x for k, x in output.aux.items() if k.startswith(start)}
    return found or None


def over(values: jax.Array, chosen: jax.Array) -> SumCount:
    """[B] -> (sum over the chosen videos, their number)."""
    return jnp.where(chosen, values, 0.0).sum(), chosen.sum()


def refuse_others(name: str, config: Any) -> None:
    """Raises ConfigError for a filter, which a comparator has none of, and for the loss of the
    video score beside its own."""
    if config.model.filter.modalities:
        raise ConfigError(
            f"config.model.filter.modalities = {config.model.filter.modalities!r}: model {name!r}"
            " has no filter; set it to ()"
        )
    if config.loss.bce:
        raise ConfigError(
            f"config.loss.bce = {config.loss.bce}: model {name!r} learns by a term of its own in"
            f" its place; set it to 0 (the variant {name} does)"
        )
