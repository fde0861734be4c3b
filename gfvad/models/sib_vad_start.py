"""Where the training of SIB-VAD starts: torch's own start of each layer, as the authors' program
leaves it. The description says nothing of the class token: normal, deviation 0.02."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gfvad.models.sib_vad_weights import Sizes, as_tree, shapes_of

TOKEN_DEVIATION = 0.02
KERNELS = {"b_in": "w_in", "b_out": "w_out"}  # of experts: bias -> its kernel

Draw = Callable[[tuple[int, ...]], jax.Array]


def initial(sizes: Sizes, key: jax.Array) -> dict[str, Any]:
    """Parameters before training, float32: kernels and biases uniform within 1 / sqrt(inputs),
    norms 1 and 0, gammas 0."""
    shapes = zeros_of(sizes)
    numbers, token = jax.random.split(key)
    total = sum(x.size for x in jax.tree.leaves(shapes))
    drawn, used = jax.random.uniform(numbers, (total,), minval=-1.0), 0

    def draw(shape: tuple[int, ...]) -> jax.Array:
        nonlocal used
        used += math.prod(shape)
        return drawn[used - math.prod(shape) : used].reshape(shape)

    tree = started(shapes, draw)
    encoder = tree["motion_encoder"]
    shape = encoder["cls_token"].shape
    return tree | {
        "motion_encoder": encoder | {"cls_token": TOKEN_DEVIATION * jax.random.normal(token, shape)}
    }


def started(group: Mapping[str, Any], draw: Draw) -> dict[str, Any]:
    """The arrays of a group of parameters, given by arrays of their shapes."""
    return {
        name: started(x, draw) if isinstance(x, Mapping) else started_leaf(name, group, draw)
        for name, x in sorted(group.items())
    }


def started_leaf(name: str, group: Mapping[str, Any], draw: Draw) -> jax.Array:
    """One of them."""
    shape, kernel = group[name].shape, KERNELS.get(name, "kernel" if name == "bias" else name)
    if kernel in KERNELS.values():
        return draw(shape) / math.sqrt(group[kernel].shape[1])
    if kernel == "kernel" and kernel in group:
        return draw(shape) / math.sqrt(math.prod(group[kernel].shape[:-1]))
    return jnp.full(shape, float(name == "scale"))


@lru_cache(maxsize=8)
def zeros_of(sizes: Sizes) -> dict[str, Any]:
    """Parameters of these sizes, all 0."""
    return as_tree({n: np.zeros(shape, np.float32) for n, shape in shapes_of(sizes).items()})
