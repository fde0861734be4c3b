"""What an ablation asks of the predictive model (gfvad/tasks/task.py: SweepData): runs are trained
side by side, and evaluated one after another."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from gfvad.tasks.prediction import job
from gfvad.tasks.prediction.training import Training
from gfvad.tasks.task import GroupProgram, RunFolder
from gfvad.train.loop import quiet
from gfvad.train.parallel import Mapper
from gfvad.train.run import Evaluation, Place

Say = Callable[[str], None]


class Data:
    """Clips of settings that read the same."""

    def __init__(self, config: ConfigDict, say: Say):
        self.data = job.open_data(config, say)
        self.dataset = config.data.dataset

    def fit(self, config: ConfigDict) -> None:
        """Refuses a score that could not be made in the end."""
        job.check_score(config, self.data.train)

    def announce(self, say: Say) -> None:
        """The set is never simulated."""

    def content(self, config: ConfigDict) -> Mapping[str, Mapping[str, str]]:
        """Split -> part -> digest."""
        return job.data_of(self.data)["content"]

    def group(self, configs: Sequence[ConfigDict], mapper: Mapper, say: Say) -> Group:
        """Settings of one structure."""
        return Group([job.assemble(c, Path(), self.data, mapper, say) for c in configs])


class Group:
    """Settings of one structure on the same clips."""

    def __init__(self, parts: Sequence[job.Parts]):
        self.parts = parts
        self.tasks = [Training(p.config, p.train, p.split, p.model, p.mapper, quiet) for p in parts]
        compiled: dict[Any, Any] = {}
        for task in self.tasks:  # equal models are compiled once
            task.reader = compiled.setdefault(task.model, task.reader)

    def evaluate(
        self, program: GroupProgram, state: Any, step: int, places: Sequence[Place]
    ) -> Mapping[Place, Evaluation]:
        """Errors on held-out clips of every run."""
        return {
            place: self.tasks[place[1]].evaluate(program.run_state(state, *place), step)
            for place in places
        }

    def judge(
        self, program: GroupProgram, states: Mapping[str, Any]
    ) -> Callable[[RunFolder], None]:
        """The returned function evaluates the last checkpoint of a run's folder, as
        `gfvad evaluate` does; the tables that it prints are left out."""

        def write(run: RunFolder) -> None:
            setting = run.place[1]
            parts = self.parts[setting]._replace(config=run.config, workdir=run.folder)
            started = time.monotonic() - run.seconds
            with contextlib.redirect_stdout(io.StringIO()):
                job.evaluate_run(parts, "last", started, self.tasks[setting].reader)

        return write
