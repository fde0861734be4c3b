"""Which axis of a parameter is cut over the model axis of a mesh (gfvad/train/parallel.py), for
models that outgrow one chip.

The rule looks at names and shapes alone, so that an optimiser's moments, which are named and shaped
as their parameters, lie where these do.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from gfvad.base.types import DataError

MODEL_AXIS = "model"
# Smaller arrays are whole on every device: cutting them saves nothing and costs a message
LEAST = 256
EXPERTS = ("scale", "shift", "w_in", "b_in", "w_out", "b_out")  # of nn/experts.py: [E', ...]


def cut_axis(path: tuple, shape: tuple[int, ...], parts: int) -> int | None:
    """The axis of an array that is cut into `parts`, None where it stays whole.

    Stacked experts are cut by expert. Of anything else the last axis that divides is cut (of a
    Dense kernel its outputs), or the one before it, and so on. Arrays of less than LEAST values
    stay whole, and so does one without an axis that divides.
    Args: path: of jax.tree_util, the array's place in its tree.
    """
    if parts == 1 or np.prod(shape, dtype=np.int64) < LEAST:
        return None
    last = str(getattr(path[-1], "key", path[-1])) if path else ""
    axes = list(range(len(shape)))[::-1]
    if last in EXPERTS and len(shape) > 1:
        axes = sorted(axes, key=lambda axis: axis != len(shape) - expert_rank(last))
    return next((axis for axis in axes if shape[axis] % parts == 0), None)


def expert_rank(name: str) -> int:
    """Axes of an array of experts, without those of members in front."""
    return 3 if name.startswith("w_") else 2


def cut_specs(tree: Any, parts: int) -> Any:
    """jax.sharding.PartitionSpec of every leaf of a tree of arrays (or of their shapes)."""

    def spec(path: tuple, leaf: Any) -> jax.sharding.PartitionSpec:
        axis = cut_axis(path, np.shape(leaf), parts)
        return jax.sharding.PartitionSpec(*[] if axis is None else [None] * axis + [MODEL_AXIS])

    return jax.tree_util.tree_map_with_path(spec, tree)


def check_batches(config: Any, parts: int) -> None:
    """Raises DataError unless batches divide into `parts` (Mapper.n_global)."""
    train, evaluation = config.train.batch_size, config.data.eval_batch_size
    for key, size in (("train.batch_size", train), ("data.eval_batch_size", evaluation)):
        if size % parts:
            raise DataError(
                f"config.{key} = {size}: expected a multiple of the {parts} copies of the model;"
                " set it or config.parallel.devices"
            )
