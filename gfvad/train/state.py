"""What a training run is at one moment: everything a step reads and writes, as one tree of
arrays."""

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
    # uint32 [2] ([members, 2]) data of the run's random key; never changes, every step folds what
    # it needs from it
    key: Any


# Members of an ensemble lie along a leading axis of what differs between them; the step count and
# the constants are of all. in_axes and out_axes of a vmap over members
MEMBERS = TrainState(step=None, params=0, constants=None, opt_state=0, key=0)


def init_state(
    model: Any,
    transform: optax.GradientTransformation,
    features: Mapping[str, np.ndarray],
    seed: int,
    members: int = 1,
) -> TrainState:
    """The state before the first step, as numpy arrays; equal on every process.

    Args: model: detector of one video; features: one example {modality: [N, D_m]} for its shapes;
    members: of an ensemble, each with
    parameters and dropout of its own: leaves of params, opt_state and key get a leading [members].
    The first is the run without an ensemble.
    """
    mask = np.ones(len(next(iter(features.values()))), bool)
    keys = [
        jax.random.key(seed),
        *(jax.random.fold_in(jax.random.key(seed), member) for member in range(1, members)),
    ]
    states = [
        jax.tree.map(np.array, _init(model, transform, (dict(features), mask), key)) for key in keys
    ]
    if members == 1:
        return states[0]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
    return stacked._replace(step=states[0].step, constants=states[0].constants)


def is_ensemble(state: TrainState) -> bool:
    """True where a state holds the members of an ensemble."""
    return state.key.ndim > 1


def first_member(tree: Any, state: TrainState) -> Any:
    """`tree`, a part of state.params, of the first member of an ensemble; as it is without one."""
    return jax.tree.map(lambda x: x[0], tree) if is_ensemble(state) else tree


def init_from(
    model: Any, transform: optax.GradientTransformation, inputs: tuple, seed: int
) -> TrainState:
    """The same, without members, for a model that is called with `inputs`."""
    return jax.tree.map(np.array, _init(model, transform, inputs, jax.random.key(seed)))


def shapes_from(model: Any, transform: optax.GradientTransformation, inputs: tuple) -> TrainState:
    """The shapes of `init_from` alone (jax.ShapeDtypeStruct), to restore into: nothing is
    compiled."""
    return jax.eval_shape(lambda: _init(model, transform, inputs, jax.random.key(0)))


def _init(
    model: Any, transform: optax.GradientTransformation, inputs: tuple, key: jax.Array
) -> TrainState:
    init_key, run_key = jax.random.split(key)
    names = ("params", "dropout", "pair")
    keys = dict(zip(names, jax.random.split(init_key, len(names))))
    variables = dict(starter(model)(keys, *inputs))
    params = variables.pop("params", {})
    return TrainState(
        np.zeros((), np.int32),
        params,
        variables,
        jax.jit(transform.init)(params),
        jax.random.key_data(run_key),
    )


def starter(model: Any) -> Callable:
    """The compiled program that makes a model's variables from keys and inputs; compiled once
    for equal models, as several seeds of one are."""
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
