"""A group of settings and seeds as the loop trains it (gfvad/train/run.py: Run): one step for all
its runs, the best state of each beside the last, one log.

A run whose numbers are no longer finite is marked as failed and keeps none of the others from going
on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gfvad.ablation.program import GroupState, Program, written_of
from gfvad.tasks.task import SettingGroup
from gfvad.train.checkpoint import VALIDATION
from gfvad.train.parallel import Mapper
from gfvad.train.run import RUNNING, Batches, Place, Values

Say = Callable[[str], None]


class Kept(NamedTuple):
    """What a checkpoint of a group holds: where it stands, and the state of each run that was
    best on validation."""

    last: GroupState
    best: GroupState


class Standing(NamedTuple):
    """Of each run, [U, K]: what goes into a checkpoint beside the arrays."""

    best_step: np.ndarray  # int; 0: none yet
    best_value: np.ndarray  # float64; -inf: none yet
    last_value: np.ndarray  # float64, at the last evaluation; -inf: none
    failed: np.ndarray  # int; RUNNING, or the step at which a number was not finite
    positions: np.ndarray  # object: of its data at the best step


class SeedBatches:
    """One iterator of batches a seed, each that of a run by itself, drawn together."""

    def __init__(self, iterators: Sequence[Batches]):
        self.iterators = iterators

    def __next__(self) -> tuple:
        return tuple(next(iterator) for iterator in self.iterators)

    def get_state(self) -> list[Any]:
        return [iterator.get_state() for iterator in self.iterators]

    def set_state(self, state: Sequence[Any]) -> None:
        for iterator, position in zip(self.iterators, state):
            iterator.set_state(position)


class GroupRun:
    """U seeds times K settings, trained side by side."""

    def __init__(
        self,
        program: Program,
        settings: SettingGroup,
        mapper: Mapper,
        say: Say,
        advance: Callable[[int], None],
    ):
        """advance is told how many steps of single runs were taken."""
        self.program, self.settings, self.mapper, self.say = program, settings, mapper, say
        self.config, self.shape, task = program.config, program.group.shape, program.tasks[0]
        self.names, self.identity = task.names, task.identity
        self.batches = SeedBatches([task.batches(seed) for seed in program.group.seeds])
        self._advance = advance
        self.best: GroupState
        start = (0, -np.inf, -np.inf, RUNNING, None)
        self.standing = Standing(*(np.full(self.shape, value) for value in start))

    @property
    def failed(self) -> np.ndarray:
        return self.standing.failed

    def advance(self, steps: int) -> None:
        """Steps of the group, each of all its runs."""
        self._advance(steps * self.program.group.size)

    def initial(self) -> GroupState:
        """The state before the first step, which is the best so far."""
        self.best = self.program.initial()
        return self.best

    def mapped_step(self) -> Callable:
        return self.program.mapped_step(self.mapper)

    def evaluate(
        self, state: GroupState, step: int
    ) -> tuple[Mapping[Place, Mapping[str, Values]], Values]:
        """What is known of every run that has not failed; keeps the states that are best so far."""
        places = [tuple(place) for place in np.argwhere(self.failed == RUNNING).tolist()]
        found = self.settings.evaluate(self.program, state, step, places)
        standing, better = self.standing, np.zeros(self.shape, bool)
        for place, evaluation in found.items():
            if VALIDATION not in evaluation.ranked:
                continue
            value = standing.last_value[place] = evaluation.ranked[VALIDATION]
            if value >= standing.best_value[place]:  # of equal ones the newest
                better[place], standing.best_value[place] = True, value
                standing.best_step[place] = step
                standing.positions[place] = self.batches.iterators[place[0]].get_state()
        self.best = choose(better, state, self.best)
        return {place: evaluation.rows for place, evaluation in found.items()}, {}

    def saved(self, state: GroupState) -> tuple[Kept, dict[str, Any]]:
        """The last and the best states, and `Standing`."""
        return Kept(state, self.best), {"standing": pack(self.standing)}

    def resumed(self, tree: Kept, about: Mapping[str, Any]) -> GroupState:
        self.best, self.standing = tree.best, unpack(about["standing"])
        return tree.last


def choose(which: np.ndarray, new: GroupState, old: GroupState) -> GroupState:
    """The states of `new` for some runs, bool [U, K], and of `old` for the others; host side."""
    take = lambda a, b: np.where(which.reshape(*which.shape, *[1] * (a.ndim - 2)), a, b)
    parts = lambda state: (state.params, state.opt_state, written_of(state))
    params, opt_state, written = jax.tree.map(take, parts(new.state), parts(old.state))
    constants = {**old.state.constants, **written}
    state = old.state._replace(params=params, opt_state=opt_state, constants=constants)
    return old._replace(state=state)


def pack(standing: Standing) -> dict[str, Any]:
    """For JSON; minus infinity, which it has no word for, becomes null."""
    packed = {name: x.tolist() for name, x in standing._asdict().items()}
    for name in ("best_value", "last_value"):
        packed[name] = [[v if np.isfinite(v) else None for v in row] for row in packed[name]]
    return packed


def unpack(packed: Mapping[str, Any]) -> Standing:
    """Inverse of `pack`; groups of earlier versions kept no last values."""

    def values(name: str) -> np.ndarray:
        rows = packed.get(name) or [[None] * len(row) for row in packed["best_value"]]
        return np.array([[-np.inf if v is None else v for v in row] for row in rows], np.float64)

    steps, failed = (np.array(packed[name], int) for name in ("best_step", "failed"))
    positions = np.empty(steps.shape, object)
    for place in np.ndindex(*steps.shape):
        positions[place] = packed["positions"][place[0]][place[1]]
    return Standing(steps, values("best_value"), values("last_value"), failed, positions)
