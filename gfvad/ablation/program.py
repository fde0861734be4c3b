"""A group of settings and seeds as one state and one mapped step: U seeds times K settings, by vmap
inside the map over devices.

Leaves of parameters and optimiser get leading axes [U, K]. What settings of one seed have in common
stays without K: the batch, the random key and so all dropout masks, and with them every value that
depends on no parameter (standardised features, the relations of raw features); what is common to
all (step, constants that no step writes) without either. jax.vmap then computes it once. Seeds have
nothing in common but the program: they are vmapped too, but on CPUs taken one after the other
within it, where the arrays of one seed fit a cache and those of all do not. Each setting and seed
gets the numbers of a run by itself, up to the order of float32 sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfvad.ablation.groups import Group
from gfvad.ablation.varying import bind, varying
from gfvad.base.types import ConfigError
from gfvad.train.optim import Optimiser, make_optimiser
from gfvad.train.parallel import Mapper
from gfvad.train.run import Trainable
from gfvad.train.state import TrainState, is_written, member_axes


class GroupState(NamedTuple):
    """The state of a group. params, opt_state and constants that steps write [U, K, ...], key
    [U, 2], step [], other constants as of one run."""

    state: TrainState
    values: Any  # {varying key: [K, ...]}, see varying.py


class Program:
    """What turns a group into one program, and its state back into those of single runs."""

    def __init__(self, group: Group, tasks: Sequence[Trainable]):
        """tasks: one a setting, of the same structure."""
        self.group, self.config, self.tasks = group, group.config, tasks
        self.varying = varying([setting.config for setting in group.settings])

    def initial(self) -> GroupState:
        """The state before the first step: each setting and seed as its own run starts. Host
        side, numpy."""
        # all in the group's tree: an optimiser has the same arrays in the same order, whatever
        # parts its settings switch on
        values = {key: jnp.asarray(x[0]) for key, x in self.varying.values.items()}
        transform = self._optimiser(self.bind(values)[1]).transform
        states = [task.initial(transform, seed) for seed in self.group.seeds for task in self.tasks]
        first, *fixed = (
            {n: x for n, x in s.constants.items() if not is_written(n)} for s in states
        )
        same = [jax.tree.map(np.array_equal, other, first) for other in fixed]
        if not all(jax.tree.leaves(same)):
            raise ConfigError(
                f"settings {[s.name for s in self.group.settings]}: the model's constants differ"
                " between settings or seeds"
            )
        shape = self.group.shape
        join = lambda *leaves: np.stack(leaves).reshape(*shape, *leaves[0].shape)
        whole = jax.tree.map(join, *states)
        constants, key = {**whole.constants, **first}, whole.key[:, 0]
        whole = whole._replace(step=states[0].step, constants=constants, key=key)
        return GroupState(whole, self.varying.values)

    def bind(self, values: dict[str, jax.Array]) -> tuple[Any, Any]:
        """(model, config) of one setting, from its varying values."""
        return bind(self.tasks[0].model, self.config, values, self.varying)

    def _optimiser(self, config: Any) -> Optimiser:
        return make_optimiser(config.optim, self.config.train.steps)

    def run_state(self, group: GroupState, seed: int, setting: int) -> TrainState:
        """The state of one run (host), as its own training would have it: [U, K, ...] -> [...].
        Args: indices."""
        state = of_runs(lambda x: np.array(x[seed, setting]), group.state)
        init = self._optimiser(self.group.settings[setting].config).transform.init
        own = jax.eval_shape(jax.vmap(init) if state.key.ndim > 2 else init, state.params)
        opt_state = jax.tree.unflatten(jax.tree.structure(own), jax.tree.leaves(state.opt_state))
        return state._replace(opt_state=opt_state, key=np.array(state.key[seed]))

    @staticmethod
    def one_setting(group: GroupState, setting: int) -> GroupState:
        """The part of a group's state (host) that is one setting's: [U, 1, ...]."""
        one = slice(setting, setting + 1)
        state = of_runs(lambda x: x[:, one], group.state)
        return GroupState(state, {key: x[one] for key, x in group.values.items()})

    def mapped_step(self, mapper: Mapper) -> Callable:
        """(GroupState, tuple of U batches) -> (GroupState, metrics [U, K, ...]), over all
        devices."""
        cpu = mapper.devices[0].platform == "cpu"
        step = partial(group_step, program=self, axis_name=mapper.axis_name, one_by_one=cpu)
        return mapper.map_train(step)

    def of_every_run(
        self, function: Callable[..., jax.Array], together: Callable[[Any], int]
    ) -> Callable[[GroupState, Any], jax.Array]:
        """function(state, batch, *, model) -> array, of a device's part of a batch -> the same of a
        group's state, with axes [U, K] behind those of the array. together: batch -> how many
        settings are computed side by side."""

        def of_group(group: GroupState, batch: Any) -> jax.Array:
            before = group.state
            settings = len(jax.tree.leaves(before.params)[0][0])
            at_once = max(1, min(settings, together(batch)))

            def of_seed(inputs: tuple) -> jax.Array:
                params, written, key = inputs

                def of_run(inputs: tuple) -> jax.Array:
                    params, written, values = inputs
                    constants = {**before.constants, **written}
                    state = TrainState(before.step, params, constants, (), key)
                    return function(state, batch, model=self.bind(values)[0])

                per_setting = (params, written, group.values)
                return jax.lax.map(of_run, per_setting, batch_size=at_once)

            found = jax.lax.map(of_seed, (before.params, written_of(before), before.key))
            return jnp.moveaxis(found, (0, 1), (-2, -1))

        return of_group


def group_step(
    group: GroupState,
    batches: Sequence[Any],
    *,
    program: Program,
    axis_name: str | None,
    one_by_one: bool,
) -> tuple[GroupState, dict[str, jax.Array]]:
    """One step of every setting and seed. batches: this device's part of each seed's batch, leaves
    [B, ...]. Metrics get leading [U, K].

    one_by_one: seeds in a loop of the program instead of side by side; same numbers.
    """
    # leaves [U, B, ...]
    batch = jax.tree.map(lambda *x: jnp.stack(x), *batches)

    def of_run(
        state: TrainState, values: dict[str, jax.Array], batch: Any
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        model, config = program.bind(values)
        given = {"optimiser": program._optimiser(config), "loss_cfg": config.loss}
        step = program.tasks[0].train_step
        return step(state, batch, model=model, axis_name=axis_name, **given)

    before = group.state
    of_seeds = member_axes(before)
    of_settings = of_seeds._replace(key=None)  # settings of a seed share their random numbers
    of_seed = jax.vmap(of_run, in_axes=(of_settings, 0, None), out_axes=(of_settings, 0))
    if not one_by_one:
        of_all = jax.vmap(of_seed, in_axes=(of_seeds, None, 0), out_axes=(of_seeds, 0))
        state, metrics = of_all(before, group.values, batch)
        return group._replace(state=state), metrics

    def next_seed(inputs: tuple) -> tuple:
        params, opt_state, written, key, seeds_batch = inputs
        state = TrainState(before.step, params, {**before.constants, **written}, opt_state, key)
        state, metrics = of_seed(state, group.values, seeds_batch)
        return state.params, state.opt_state, written_of(state), metrics

    params, opt_state, written, metrics = jax.lax.map(
        next_seed, (before.params, before.opt_state, written_of(before), before.key, batch)
    )
    constants = {**before.constants, **written}
    state = TrainState(before.step + 1, params, constants, opt_state, before.key)
    return group._replace(state=state), metrics


def of_runs(function: Callable, state: TrainState, *others: TrainState) -> TrainState:
    """A state with function(leaf, that of each other state) in place of what each run has of its
    own but its key."""
    parts = [(s.params, s.opt_state, written_of(s)) for s in (state, *others)]
    params, opt_state, written = jax.tree.map(function, *parts)
    constants = {**state.constants, **written}
    return state._replace(params=params, opt_state=opt_state, constants=constants)


def written_of(state: TrainState) -> dict[str, Any]:
    """The constants that steps write."""
    return {name: x for name, x in state.constants.items() if is_written(name)}
