"""What a training run is at one moment: everything a step reads and writes, as one tree of arrays."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax


class TrainState(NamedTuple):
    """Host side: numpy; device side: one replica a device."""

    step: Any  # int32 [] steps taken so far
    params: Any  # tree of float32, what is learnt
    constants: Any  # {collection: tree}, what a model keeps but does not learn (feature statistics)
    opt_state: Any  # the optimiser's tree
    key: Any  # uint32 [2] data of the run's random key; never changes, every step folds what it needs from it


def init_state(model: Any, transform: optax.GradientTransformation, features: Mapping[str, np.ndarray], seed: int) -> TrainState:
    """The state before the first step, as numpy arrays; equal on every process.

    Args: model: detector of one video; features: one example {modality: [N, D_m]} for its shapes.
    """
    mask = np.ones(len(next(iter(features.values()))), bool)
    return init_from(model, transform, (dict(features), mask), seed)


def init_from(model: Any, transform: optax.GradientTransformation, inputs: tuple, seed: int) -> TrainState:
    """The same for a model that is called with `inputs`."""
    init_key, run_key = jax.random.split(jax.random.key(seed))
    names = ("params", "dropout", "pair")
    keys = dict(zip(names, jax.random.split(init_key, len(names))))
    variables = dict(starter(model)(keys, *inputs))
    params = variables.pop("params", {})
    state = TrainState(np.zeros((), np.int32), params, variables, jax.jit(transform.init)(params), jax.random.key_data(run_key))
    return jax.tree.map(np.array, state)


def starter(model: Any) -> Callable:
    """The compiled program that makes a model's variables from keys and inputs; compiled once for equal models, as several seeds of one are."""
    try:
        return _starter(model)
    except TypeError:  # a model that cannot be hashed
        return _starter.__wrapped__(model)


@lru_cache(maxsize=8)
def _starter(model: Any) -> Callable:
    return jax.jit(partial(model.init, train=False))


def parameter_count(state: TrainState) -> int:
    """Number of learnt values."""
    return sum(int(np.size(x)) for x in jax.tree.leaves(state.params))
