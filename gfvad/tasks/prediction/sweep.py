"""What an ablation asks of the predictive model (gfvad/tasks/task.py: SweepData): runs are trained
side by side, and evaluated one after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from gfvad.tasks import job
from gfvad.tasks.prediction.run import PredictionRun, check_score, content_of, open_clips
from gfvad.tasks.task import GroupProgram, RunFolder
from gfvad.train.loop import quiet
from gfvad.train.parallel import Mapper
from gfvad.train.run import Evaluation, Place

Say = Callable[[str], None]


class Data:
    """Clips of settings that read the same."""

    def __init__(self, config: ConfigDict, say: Say):
        self.clips, self.dataset = open_clips(config, say), config.data.dataset

    def fit(self, config: ConfigDict) -> None:
        check_score(config, self.clips.train)

    def announce(self, say: Say) -> None:
        """The set is never simulated."""

    def content(self, config: ConfigDict) -> Mapping[str, Mapping[str, str]]:
        train, test, truth = self.clips
        splits = {"train": train} | ({} if test is None else {"test": test})
        return content_of(splits, truth)["content"]

    def group(self, configs: Sequence[ConfigDict], mapper: Mapper, say: Say) -> Group:
        train, test, truth = self.clips
        seen = lambda split, config: None if split is None else split.seen_by(config)
        return Group(
            [
                PredictionRun(c, Path(), seen(train, c), seen(test, c), truth, mapper, say)
                for c in configs
            ]
        )


sweep_data = Data


class Group:
    """Settings of one structure on the same clips."""

    def __init__(self, runs: Sequence[PredictionRun]):
        self.runs = runs
        # of many runs, each of which would tell how it goes
        self.tasks = [replace(run, say=quiet).training() for run in runs]
        compiled: dict[Any, Any] = {}
        for task in self.tasks:  # equal models are compiled once
            task.reader = compiled.setdefault(task.model, task.reader)

    def evaluate(
        self, program: GroupProgram, state: Any, step: int, places: Sequence[Place]
    ) -> Mapping[Place, Evaluation]:
        """Errors on held-out clips of every run."""
        run_state = program.run_state
        return {p: self.tasks[p[1]].evaluate(run_state(state, *p), step) for p in places}

    def judge(
        self, program: GroupProgram, states: Mapping[str, Any]
    ) -> Callable[[RunFolder], None]:
        """The returned function evaluates the last checkpoint of a run's folder, as its own
        evaluation does."""

        def write(run: RunFolder) -> None:
            opened = replace(self.runs[run.place[1]], config=run.config, workdir=run.folder)
            scored = [opened.evaluate(chosen) for chosen in opened.checkpoints("last")]
            job.write_run(opened, scored, lambda: run.seconds)

        return write
