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


# The collection that no step writes and no seed decides. Of every other one each member of an
# ensemble, and each run of a group, has its own
FIXED = "constants"


def is_written(collection: str) -> bool:
    """Whether steps may write to a collection of constants, or the seed decides what it holds."""
    return collection != FIXED


def member_axes(state: TrainState) -> TrainState:
    """in_axes and out_axes of a vmap over the members of an ensemble: they lie along a leading axis
    of what differs between them; the step count and fixed constants are of all."""
    constants = {name: 0 if is_written(name) else None for name in state.constants}
    return TrainState(step=None, params=0, constants=constants, opt_state=0, key=0)


def init_state(
    model: Any,
    transform: optax.GradientTransformation,
    features: Mapping[str, np.ndarray],
    seed: int,
    members: int = 1,
) -> TrainState:
    """`init_from` for a detector of one video: features is one example {modality: [N, D_m]}."""
    mask = np.ones(len(next(iter(features.values()))), bool)
    return init_from(model, transform, (dict(features), mask), seed, members)


def init_from(
    model: Any,
    transform: optax.GradientTransformation,
    inputs: tuple,
    seed: int,
    members: int = 1,
) -> TrainState:
    """The state before the first step, as numpy arrays; equal on every process.

    Args: model: called with `inputs`, an example; members: of an ensemble, each with parameters and
    random numbers of its own: leaves of params, opt_state, key and written constants get a leading
    [members]. The first is the run without an ensemble.
    """
    first = jax.random.key(seed)
    keys = [first, *(jax.random.fold_in(first, member) for member in range(1, members))]
    states = [jax.tree.map(np.array, _init(model, transform, inputs, key)) for key in keys]
    return states[0] if members == 1 else _join(states, np.stack)


def shapes_from(
    model: Any, transform: optax.GradientTransformation, inputs: tuple, members: int = 1
) -> TrainState:
    """The shapes of `init_from` alone (jax.ShapeDtypeStruct), to restore into: nothing is
    compiled."""
    shapes = jax.eval_shape(lambda: _init(model, transform, inputs, jax.random.key(0)))
    if members == 1:
        return shapes
    stacked = lambda leaves: jax.ShapeDtypeStruct((members, *leaves[0].shape), leaves[0].dtype)
    return _join([shapes] * members, stacked)


def _join(states: list[TrainState], stack: Callable) -> TrainState:
    whole, first = jax.tree.map(lambda *leaves: stack(leaves), *states), states[0]
    constants = {n: (whole if is_written(n) else first).constants[n] for n in first.constants}
    return whole._replace(step=first.step, constants=constants)


def is_ensemble(state: TrainState) -> bool:
    """True where a state holds the members of an ensemble."""
    return state.key.ndim > 1


def first_member(tree: Any, state: TrainState) -> Any:
    """`tree`, a part of state.params, of the first member of an ensemble; as it is without one."""
    return jax.tree.map(lambda x: x[0], tree) if is_ensemble(state) else tree


def member(state: TrainState, index: int) -> TrainState:
    """The state of one member of an ensemble; as it is without one."""
    take = lambda axis, tree: tree if axis is None else jax.tree.map(lambda x: x[index], tree)
    if not is_ensemble(state):
        return state
    constants = {n: take(a, state.constants[n]) for n, a in member_axes(state).constants.items()}
    params, opt_state, key = take(0, (state.params, state.opt_state, state.key))
    return TrainState(state.step, params, constants, opt_state, key)


def mean_of_members(function: Callable[[TrainState], Any], state: TrainState) -> Any:
    """function(state of one model) -> arrays; of an ensemble their means over its members (deep
    ensembles, Lakshminarayanan et al., 2017)."""
    if not is_ensemble(state):
        return function(state)
    return jax.tree.map(lambda x: x.mean(0), of_each_member(function, state))


def of_each_member(function: Callable[[TrainState], Any], state: TrainState) -> Any:
    """function(state of one model) -> arrays, with a leading axis [members], 1 without an
    ensemble."""
    if not is_ensemble(state):
        return jax.tree.map(lambda x: x[None], function(state))
    return jax.vmap(function, in_axes=(member_axes(state),))(state)


def _init(
    model: Any, transform: optax.GradientTransformation, inputs: tuple, key: jax.Array
) -> TrainState:
    init_key, run_key = jax.random.split(key)
    names = ("params", "dropout", "pair")
    keys = dict(zip(names, jax.random.split(init_key, len(names))))
    variables = dict(starter(model)(keys, *inputs))
    params = variables.pop("params", {})
    opt_state, data = jax.jit(transform.init)(params), jax.random.key_data(run_key)
    return TrainState(np.zeros((), np.int32), params, variables, opt_state, data)


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
