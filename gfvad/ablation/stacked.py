"""A group of settings and seeds as one state and one mapped step: U seeds times K settings, by vmap
inside the map over devices.

Leaves of parameters and optimiser get leading axes [U, K]. What settings of one seed have in common
stays without K: the batch, the random key and so all dropout masks, and with them every value that
depends on no parameter (standardised features, the relations of raw features); what is common to
all (step, constants) without either. jax.vmap then computes it once. Seeds have nothing in common
but the
program: they are vmapped too, but on CPUs taken one after the other within it, where the arrays of
one seed fit a cache and those of all do not. Each setting and seed gets the numbers of a run by
itself, up to the order of float32 sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfvad.ablation.groups import Group, with_seed
from gfvad.ablation.traced import bind, varying
from gfvad.base.types import Batch, ConfigError
from gfvad.data import pipeline, streams
from gfvad.tasks.fusion import registry
from gfvad.tasks.fusion import step as step_lib
from gfvad.tasks.fusion.evaluate import Evaluator
from gfvad.train.optim import Optimiser, make_optimiser
from gfvad.train.parallel import Mapper
from gfvad.train.state import TrainState, init_state

# vmap over K settings of a seed
SETTINGS_AXES = TrainState(step=None, params=0, constants=None, opt_state=0, key=None)
# vmap over U seeds
SEEDS_AXES = TrainState(step=None, params=0, constants=None, opt_state=0, key=0)
# entries of the N x N graphs of all settings that are evaluated together: memory
EVALUATED_AT_ONCE = 1 << 22


class Stacked(NamedTuple):
    """The state of a group. params and opt_state [U, K, ...], key [U, 2], step [], constants as
    of one run."""

    state: TrainState
    values: Any  # {traced key: [K, ...]}, see traced.py


class Stack:
    """What turns a group into one program, and its state back into those of single runs."""

    def __init__(self, group: Group, dims: dict[str, int], stats: Any):
        """dims, stats: of the features, as `registry.build_model` takes them."""
        self.group, self.config = group, group.config
        self.varying = varying([setting.config for setting in group.settings])
        self.models = [
            registry.build_model(setting.config, dims, stats) for setting in group.settings
        ]
        self._features = streams.example_features(dims, self.config.data)

    def initial(self) -> Stacked:
        """The state before the first step: each setting and seed as its own run starts. Host
        side, numpy."""
        # all in the group's tree: an optimiser has the same arrays in the same order, whatever
        # parts its settings switch on
        transform = self.optimiser(
            {key: jnp.asarray(x[0]) for key, x in self.varying.values.items()}
        ).transform
        rows = [
            [
                init_state(model, transform, self._features, seed, self.config.train.members)
                for model in self.models
            ]
            for seed in self.group.seeds
        ]
        flat = [state for row in rows for state in row]
        for one in flat[1:]:
            same = jax.tree.map(np.array_equal, one.constants, flat[0].constants)
            if not all(jax.tree.leaves(same)):
                raise ConfigError(
                    f"settings {[s.name for s in self.group.settings]}: the model's constants"
                    " differ between settings or seeds"
                )
        join = lambda *xs: np.stack(xs)  # noqa: E731
        columns = [jax.tree.map(join, *row) for row in rows]
        whole = jax.tree.map(join, *columns)
        key = np.stack([row[0].key for row in rows])
        return Stacked(
            whole._replace(step=flat[0].step, constants=flat[0].constants, key=key),
            self.varying.values,
        )

    def optimiser(self, values: dict[str, jax.Array]) -> Optimiser:
        """Of one setting, from its traced values."""
        return make_optimiser(
            bind(self.models[0], self.config, values, self.varying)[1].optim,
            self.config.train.steps,
        )

    def member(self, stacked: Stacked, seed: int, setting: int) -> TrainState:
        """The state of one run (host), as `gfvad.main` of its config would have it: [U, K, ...]
        -> [...]. Args: indices."""
        state, config = stacked.state, self.group.settings[setting].config
        params, opt_state = jax.tree.map(
            lambda x: np.array(x[seed, setting]), (state.params, state.opt_state)
        )
        transform = make_optimiser(config.optim, config.train.steps).transform
        inner = jax.eval_shape(
            jax.vmap(transform.init) if self.is_ensemble(state) else transform.init, params
        )
        opt_state = jax.tree.unflatten(jax.tree.structure(inner), jax.tree.leaves(opt_state))
        return TrainState(state.step, params, state.constants, opt_state, np.array(state.key[seed]))

    @staticmethod
    def is_ensemble(state: TrainState) -> bool:
        """True where each run is an ensemble (config.train.members)."""
        return state.key.ndim > 2

    def mapped_step(self, mapper: Mapper) -> Any:
        """(Stacked, tuple of U batches) -> (Stacked, metrics [U, K, ...]), over all devices."""
        one_by_one = mapper.devices[0].platform == "cpu"
        return mapper.map_train(
            partial(stacked_step, stack=self, axis_name=mapper.axis_name, one_by_one=one_by_one)
        )

    def evaluator(self, mapper: Mapper) -> StackedEvaluator:
        """Scores videos by all settings and seeds, in one program."""
        return StackedEvaluator(mapper, self)


def stacked_step(
    stacked: Stacked,
    batches: Sequence[Batch],
    *,
    stack: Stack,
    axis_name: str | None,
    one_by_one: bool,
) -> tuple[Stacked, dict[str, jax.Array]]:
    """One step of every setting and seed. batches: this device's part of each seed's batch, leaves
    [B, ...]. Metrics get leading [U, K].

    one_by_one: seeds in a loop of the program instead of side by side; same numbers.
    """
    # leaves [U, B, ...]
    batch = jax.tree.map(lambda *x: jnp.stack(x), *batches)

    def one(
        state: TrainState, values: dict[str, jax.Array], batch: Batch
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        model, config = bind(stack.models[0], stack.config, values, stack.varying)
        optimiser = make_optimiser(config.optim, config.train.steps)
        return step_lib.train_step(
            state,
            batch,
            model=model,
            optimiser=optimiser,
            loss_cfg=config.loss,
            axis_name=axis_name,
        )

    of_a_seed = jax.vmap(one, in_axes=(SETTINGS_AXES, 0, None), out_axes=(SETTINGS_AXES, 0))
    if not one_by_one:
        of_all = jax.vmap(of_a_seed, in_axes=(SEEDS_AXES, None, 0), out_axes=(SEEDS_AXES, 0))
        state, metrics = of_all(stacked.state, stacked.values, batch)
        return stacked._replace(state=state), metrics
    before = stacked.state

    def of_one(inputs: tuple) -> tuple:
        params, opt_state, key, own = inputs
        state, metrics = of_a_seed(
            before._replace(params=params, opt_state=opt_state, key=key), stacked.values, own
        )
        return state.params, state.opt_state, metrics

    params, opt_state, metrics = jax.lax.map(
        of_one, (before.params, before.opt_state, before.key, batch)
    )
    return (
        stacked._replace(
            state=before._replace(step=before.step + 1, params=params, opt_state=opt_state)
        ),
        metrics,
    )


def stacked_scores(stacked: Stacked, batch: Batch, *, stack: Stack) -> jax.Array:
    """Unit scores [B, N, U, K] of a device's part of an evaluation batch by every setting and
    seed; 0 at padded units."""
    state = stacked.state
    settings = len(jax.tree.leaves(state.params)[0][0])
    together = max(
        1, min(settings, EVALUATED_AT_ONCE // (batch.mask.shape[0] * batch.mask.shape[1] ** 2))
    )

    def of_a_seed(inputs: tuple) -> jax.Array:
        params, key = inputs

        def one(inputs: tuple) -> jax.Array:
            params, values = inputs
            model, _ = bind(stack.models[0], stack.config, values, stack.varying)
            return step_lib.eval_step(
                TrainState(state.step, params, state.constants, (), key), batch, model=model
            )

        return jax.lax.map(one, (params, stacked.values), batch_size=together)

    # [U, K, B, N]
    scores = jax.lax.map(of_a_seed, (state.params, state.key))
    return jnp.moveaxis(scores, (0, 1), (2, 3))


class StackedEvaluator(Evaluator):
    """`Evaluator.unit_scores` by all settings and seeds at once: index -> [N, U, K]. Makes no
    fused graphs for figures."""

    def __init__(self, mapper: Mapper, stack: Stack):
        super().__init__(mapper, stack.models[0], stack.config)
        self._scores = self.mapper.map_eval(partial(stacked_scores, stack=stack))

    def stacked_scores(
        self, stacked: Stacked, records: Any, indices: Sequence[int], config: Any = None
    ) -> dict[int, np.ndarray]:
        """Index -> float32 [N, U, K]. config: whose data is evaluated, where it is not the
        group's."""
        before, self.config = self.config, config or self.config
        try:
            return self.unit_scores(
                stacked._replace(state=stacked.state._replace(opt_state=())), records, indices
            )
        finally:
            self.config = before


def of_run(scores: dict[int, np.ndarray], seed: int, setting: int) -> dict[int, np.ndarray]:
    """The scores of one run, index -> [N], out of all runs' [N, U, K]."""
    return {index: np.ascontiguousarray(x[:, seed, setting]) for index, x in scores.items()}


def one_setting(stacked: Stacked, setting: int) -> Stacked:
    """The part of a group's state (host) that is one setting's: [U, 1, ...]."""
    cut = lambda x: x[:, setting : setting + 1]  # noqa: E731
    params, opt_state = jax.tree.map(cut, (stacked.state.params, stacked.state.opt_state))
    values = {key: x[setting : setting + 1] for key, x in stacked.values.items()}
    return Stacked(stacked.state._replace(params=params, opt_state=opt_state), values)


def run_config(stack: Stack, seed: int, setting: int) -> Any:
    """The config of one run of a group. Args: indices."""
    return with_seed(stack.group.settings[setting].config, stack.group.seeds[seed])


def fresh_iterators(stack: Stack, records: Any, indices: np.ndarray, mapper: Mapper) -> list[Any]:
    """One iterator of training batches a seed, each that of a run by itself."""
    config = stack.config
    shared = pipeline.Examples(records, indices, config.data)  # videos are read once for all seeds
    return [
        pipeline.train_iterator(
            records,
            indices,
            config.data,
            config.train.batch_size,
            seed,
            mapper.process_index,
            mapper.process_count,
            examples=shared,
        )
        for seed in stack.group.seeds
    ]
