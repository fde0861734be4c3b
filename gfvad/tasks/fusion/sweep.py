"""What an ablation asks of the fusion of feature sets (gfvad/tasks/task.py: SweepData): all
settings and seeds of a group are scored at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import Batch, ScoredVideo
from gfvad.data.features.dataset import fit_lengths, resolve
from gfvad.tasks import job
from gfvad.tasks.fusion import judging, registry
from gfvad.tasks.fusion import run as run_lib
from gfvad.tasks.fusion import step as step_lib
from gfvad.tasks.fusion.evaluate import Evaluator, Indices, scored_videos
from gfvad.tasks.fusion.training import Training
from gfvad.tasks.task import GroupProgram, RunFolder, Scored
from gfvad.train.identity import stated
from gfvad.train.parallel import Mapper
from gfvad.train.run import Evaluation, Place

# entries of the N x N graphs of all settings that are evaluated together: memory
EVALUATED_AT_ONCE = 1 << 22

Scores = Mapping[int, np.ndarray]  # video -> [N]; of a group [N, U, K]
Say = Callable[[str], None]


class Data:
    """Prepared records of settings that read the same."""

    def __init__(self, config: ConfigDict, say: Say):
        self.source = resolve(config, say)
        self.dataset = self.source.dataset

    def fit(self, config: ConfigDict) -> None:
        """Static lengths of simulated data."""
        fit_lengths(config, self.source)
        judging.settle(config, len(run_lib.open_split(config, self.source.records, "train")))

    def announce(self, say: Say) -> None:
        run_lib.announce(self.source, say)

    def content(self, config: ConfigDict) -> Mapping[str, Mapping[str, str]]:
        open_split = partial(run_lib.open_split, config, self.source.records)
        return stated(**{split: open_split(split) for split in ("train", "test")})["content"]

    def group(self, configs: Sequence[ConfigDict], mapper: Mapper, say: Say) -> Group:
        return Group(configs, run_lib.assemble(configs[0], Path(), self.source, mapper, say))


sweep_data = Data


class Group:
    """Settings of one structure on the same records."""

    def __init__(self, configs: Sequence[ConfigDict], opened: run_lib.FusionRun):
        self.opened, train = opened, opened.train
        models = [
            registry.build_model(config, train.dims, opened.statistics(config))
            for config in configs
        ]
        self.tasks = [
            Training(config, train, model, opened.mapper, say=opened.say)
            for config, model in zip(configs, models)
        ]
        self._evaluator: Evaluator | None = None

    def scores(
        self,
        program: GroupProgram,
        state: Any,
        split: Any,
        indices: Indices,
        config: ConfigDict | None = None,
    ) -> Scores:
        """Unit scores of some videos by all settings and seeds, index -> float32 [N, U, K].
        config: whose data is evaluated, where it is not the group's."""
        first = self.tasks[0]
        if self._evaluator is None:
            step = program.of_every_run(step_lib.eval_step, settings_together)
            self._evaluator = Evaluator(first.mapper, first.model, first.config, step)
        evaluator = copy.copy(self._evaluator)
        evaluator.config = config or first.config
        lean = state._replace(state=state.state._replace(opt_state=()))
        return evaluator.unit_scores(lean, split, indices)

    def evaluate(
        self, program: GroupProgram, state: Any, step: int, places: Sequence[Place]
    ) -> Mapping[Place, Evaluation]:
        """Validation and the fusion coefficients of every run."""
        first, run_state = self.tasks[0], program.run_state
        held_out = first.validation
        scores = self.scores(program, state, first.records, held_out) if len(held_out) else {}
        judged = lambda p: self.tasks[p[1]].judged(run_state(state, *p), of_run(scores, *p))
        return {place: judged(place) for place in places}

    def judge(
        self, program: GroupProgram, states: Mapping[str, Any]
    ) -> Callable[[RunFolder], None]:
        """Scores the test split by all runs; the returned function writes the results of one of
        them, those that its own evaluation gives of the same weights, without figures."""
        judged = {name: Judged(self, program, state) for name, state in states.items()}

        def write(run: RunFolder) -> None:
            opened = replace(self.opened, config=run.config, workdir=run.folder, known={})
            rules = run.rules.items()
            scored = [Scored(rule, *judged[state].of(*run.place)) for rule, state in rules]
            job.write_run(opened, scored, lambda: run.seconds)

        return write


class Judged:
    """Frame scores of every run by one state of a group. Settings whose test data differs
    (data.corruption) are scored one by one."""

    def __init__(self, group: Group, program: GroupProgram, state: Any):
        self._opened = opened = group.opened
        configs = [task.config for task in group.tasks]
        corruptions = [config.data.corruption.to_dict() for config in configs]
        self._one_by_one = any(other != corruptions[0] for other in corruptions)
        test, chosen = range(len(opened.test)), run_lib.statistics_indices(len(opened.train))
        self._training = group.scores(program, state, opened.train, chosen)
        if self._one_by_one:
            self._test = [
                group.scores(program, program.one_setting(state, k), opened.test, test, config)
                for k, config in enumerate(configs)
            ]
        else:
            self._test = [group.scores(program, state, opened.test, test)]

    def of(self, seed: int, setting: int) -> tuple[list[ScoredVideo], tuple[float, float]]:
        """(scored test videos, statistics of the training scores) of a run. Args: indices."""
        which, column = (setting, 0) if self._one_by_one else (0, setting)
        test = videos(of_run(self._test[which], seed, column), self._opened.test)
        training = videos(of_run(self._training, seed, setting), self._opened.train)
        return test, run_lib.spread_of_frames(training)


def settings_together(batch: Batch) -> int:
    """How many settings are scored side by side."""
    examples, units = batch.mask.shape
    return EVALUATED_AT_ONCE // (examples * units**2)


def of_run(scores: Scores, seed: int, setting: int) -> dict[int, np.ndarray]:
    """The scores of one run, index -> [N], out of all runs' [N, U, K]."""
    return {index: np.ascontiguousarray(x[:, seed, setting]) for index, x in scores.items()}


def videos(scores: Scores, split: Any) -> list[ScoredVideo]:
    """Frame scores of the videos of a split that have unit scores."""
    return list(scored_videos(scores, split, list(scores)))
