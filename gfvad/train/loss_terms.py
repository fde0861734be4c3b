"""Terms of a loss by name: the weight of a term NAME is `config.loss.NAME`, and every term is a
(sum, count) pair, divided once, over all devices.

Over devices: with `axis_name` each device returns the same scalar, that of the global batch. Inside
a mapped function psum transposes to psum, so a device's gradient is that of the *sum* of all
devices' (equal) scalars with respect to its own copy of the parameters, and the mean of the
gradients over devices (`pmean`) is exactly the gradient of the global scalar. That needs pmap,
vmap(axis_name) or shard_map(check_vma=False); checked shard_map transposes psum otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfvad.base.errors import ConfigError
from gfvad.train.layout import MODEL_AXIS
from gfvad.train.optim import switched_on

SumCount = tuple[jax.Array, jax.Array]
# What a function of a term gives: one pair, several under names of their own, or None where the
# model does not feed it
Given = SumCount | Mapping[str, SumCount] | None


class Bounded(NamedTuple):
    """A whole number that is known only while the program runs, with the most that it can be
    (which decides shapes)."""

    value: jax.Array  # int32 []
    most: int


class Term(NamedTuple):
    """A term of a loss."""

    function: Callable[[Any], Given]  # of what the task's `total_loss` hands to all terms
    default: float  # weight where config.loss has no key of its name
    factor: Callable[[Any, Any], Any] | None  # (config.loss, steps taken) -> factor on its weight
    always: bool  # also where its weight is 0: it is logged then


class LossTerms(dict[str, Term]):
    """The terms of a task, in the order that they are summed in."""

    def register(
        self,
        name: str,
        default: float = 0.0,
        factor: Callable[[Any, Any], Any] | None = None,
        always: bool = False,
    ) -> Callable[[Callable[[Any], Given]], Callable[[Any], Given]]:
        """Decorates the function of a new term. Args: as the fields of `Term`. Raises ConfigError
        for a name that another function has."""

        def add(function: Callable[[Any], Given]) -> Callable[[Any], Given]:
            if name in self and self[name].function.__qualname__ != function.__qualname__:
                raise ConfigError(f"loss {name!r} is registered already; expected a new name")
            self[name] = Term(function, default, factor, always)
            return function

        return add

    def total(
        self, inputs: Any, cfg: Any, axis_name: str | None, step: Any = 0
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Weighted sum of all active terms over the global batch.

        Args: inputs: what every function of a term is called with; cfg = config.loss (its numbers
        may be arrays); step: how many were taken. Returns (scalar, {term: its unweighted global
        value}), both equal on every device.
        """
        weights, own = {}, {}
        for name, term in self.items():
            weight = getattr(cfg, name, term.default)
            if not (term.always or switched_on(weight)):
                continue
            if term.factor:
                weight = weight * term.factor(cfg, step)
            given = term.function(inputs)
            pairs = given if isinstance(given, Mapping) else {} if given is None else {name: given}
            for part, pair in pairs.items():
                weights[part], own[part] = weight, pair
        values = joined_means(own, axis_name)
        return jnp.asarray(sum(weights[name] * values[name] for name in values)), values


def across(tree: Any, axis_name: str | None) -> Any:
    """Sum over devices; the tree itself on one device.

    Leaves of one type leave as one array, by one message: the compiler joins only some by itself.
    Where a model axis cuts parameters they leave as they lie, for joining would gather them.
    """
    leaves, structure = jax.tree.flatten(tree)
    if axis_name is None or not leaves:
        return tree
    if jax.sharding.get_abstract_mesh().shape.get(MODEL_AXIS, 1) > 1:
        return jax.lax.psum(tree, axis_name)
    found = [jnp.asarray(x) for x in leaves]
    for kind in dict.fromkeys(x.dtype for x in found):
        places = [i for i, x in enumerate(found) if x.dtype == kind]
        parts = [found[i] for i in places]
        whole = jax.lax.psum(jnp.concatenate([x.reshape(-1) for x in parts]), axis_name)
        ends = np.cumsum([x.size for x in parts])[:-1]
        for i, x, part in zip(places, parts, jnp.split(whole, ends)):
            found[i] = part.reshape(x.shape)
    return jax.tree.unflatten(structure, found)


def is_alone(axis_name: str | None) -> bool:
    """Whether there is no other device to sum over."""
    return axis_name is None or jax.lax.axis_size(axis_name) == 1


def divide(total: jax.Array, count: jax.Array) -> jax.Array:
    """total / count, and 0 (with gradient 0) where nothing was counted."""
    return jnp.where(count > 0, total / jnp.maximum(count, 1), 0.0)


def joined_means(pairs: Mapping[str, SumCount], axis_name: str | None) -> dict[str, jax.Array]:
    """sum / count of each pair over devices, by one all-reduce, and none in the backward pass.

    The gradient is that of this device's own part of the sum, times the number of devices, so that
    their mean is the gradient of the global value; counts have none.
    """
    if is_alone(axis_name):
        return {name: divide(*across(pair, axis_name)) for name, pair in pairs.items()}
    devices = jax.lax.axis_size(axis_name)
    plain = {
        name: tuple(jnp.asarray(x, pair[0].dtype) for x in pair) for name, pair in pairs.items()
    }
    whole = across(jax.lax.stop_gradient(plain), axis_name)

    def mean(own: jax.Array, total: jax.Array, count: jax.Array) -> jax.Array:
        share = devices * divide(own, count)
        return divide(total, count) + (share - jax.lax.stop_gradient(share))

    return {name: mean(plain[name][0], *pair) for name, pair in whole.items()}


def sum_over(values: jax.Array, valid: jax.Array) -> SumCount:
    """(sum over this device's valid examples, their number): [B, ...], bool [B] -> [...], []."""
    chosen = jnp.where(valid.reshape(-1, *[1] * (values.ndim - 1)), values, 0.0).sum(0)
    return chosen, valid.sum()


def mean_over(values: jax.Array, valid: jax.Array, axis_name: str | None) -> jax.Array:
    """Mean over the valid examples of the global batch: [B, ...], bool [B] -> [...]."""
    return joined_means({"": sum_over(values, valid)}, axis_name)[""]
