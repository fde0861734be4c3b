"""What an ablation asks of graph novelty (gfvad/tasks/task.py: SweepData): runs are fitted side by
side, each with a bank of its own, and evaluated one after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from gfvad.base.types import DataError
from gfvad.tasks import job
from gfvad.tasks.novelty.known import KnownStates
from gfvad.tasks.novelty.run import NoveltyRun, open_splits
from gfvad.tasks.novelty.training import Training, UnitsOf
from gfvad.tasks.task import GroupProgram, RunFolder
from gfvad.train.identity import stated
from gfvad.train.loop import quiet
from gfvad.train.parallel import Mapper
from gfvad.train.run import Evaluation, Place

Say = Callable[[str], None]


class Data:
    """Units of settings that read the same."""

    def __init__(self, config: ConfigDict, say: Say):
        """Raises DataError where there is no labelled test split to compare settings on."""
        self.train, test = open_splits(config, say)
        if test is None:
            raise DataError(
                f"{config.data.root}: no labelled test split; an ablation compares settings on one:"
                " expected it in config.data.test"
            )
        self.test, self.dataset = test, config.data.dataset
        self.known, self.units = KnownStates(), UnitsOf(self.train)

    def fit(self, config: ConfigDict) -> None:
        """Nothing follows from the data."""

    def announce(self, say: Say) -> None:
        """The set is never simulated."""

    def content(self, config: ConfigDict) -> Mapping[str, Mapping[str, str]]:
        return stated(train=self.train, test=self.test)["content"]

    def group(self, configs: Sequence[ConfigDict], mapper: Mapper, say: Say) -> Group:
        shared = {"known": self.known, "units": self.units}
        return Group(
            [NoveltyRun(c, Path(), self.train, self.test, mapper, quiet, **shared) for c in configs]
        )


class Group:
    """Settings of one structure on the same units."""

    def __init__(self, runs: Sequence[NoveltyRun]):
        self.runs = runs
        self.tasks: Sequence[Training] = [run.training() for run in runs]

    def evaluate(
        self, program: GroupProgram, state: Any, step: int, places: Sequence[Place]
    ) -> Mapping[Place, Evaluation]:
        """The fitted numbers of every run."""
        run_state = program.run_state
        return {p: self.tasks[p[1]].evaluate(run_state(state, *p), step) for p in places}

    def judge(
        self, program: GroupProgram, states: Mapping[str, Any]
    ) -> Callable[[RunFolder], None]:
        """The returned function calibrates and evaluates the last checkpoint of a run's folder, as
        its own evaluation does."""

        def write(run: RunFolder) -> None:
            opened = self.runs[run.place[1]].at(run.config, run.folder)
            scored = [opened.evaluate(chosen) for chosen in opened.checkpoints("last")]
            job.write_run(opened, scored, lambda: run.seconds)

        return write
