"""What a run can be of: each kind of task, by the value of `config.kind`. Importing this loads no
task; asking one for a function does."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ml_collections import ConfigDict

from gfvad.base.files import lies_at
from gfvad.base.types import DataError
from gfvad.settings import command_line
from gfvad.settings.command_line import Arguments
from gfvad.settings.config import CONFIG, load, validate
from gfvad.settings.kinds import DEFAULT, Leaves, kind_of

if TYPE_CHECKING:
    import numpy as np

    from gfvad.tasks.task import Task

# kind -> its folder; FOLDER:FILE of a task whose functions all stand in one file
TASKS = {"weak": "fusion", "predictive": "prediction", "novelty": "novelty:task"}
# function of a task (gfvad/tasks/task.py: Task) -> file of its folder that has it
FILES = {
    "check": "registry",
    "comparison": "registry",
    "open_run": "run",
    "outline": "outline",
    "open_elsewhere": "run",
    "frame_scores": "frame_scores",
    "open_scorer": "scorer",
    "export": "artefact",
    "frame_labels": "run",
    "video_classes": "run",
    "kept_weights": "shown",
    "score_test": "shown",
    "explain": "shown",
    "without_causes": "shown",
    "sweep_data": "sweep",
    "register_loss": "losses",
}


class LateTask:
    """A task whose functions are imported when they are asked for, so that `--help` costs
    nothing."""

    def __init__(self, kind: str):
        self.kind = kind

    def __getattr__(self, name: str) -> Any:
        if name not in FILES:
            raise AttributeError(f"a task has no {name!r}")
        folder, _, file = TASKS[self.kind].partition(":")
        module = importlib.import_module(f"gfvad.tasks.{folder}.{file or FILES[name]}")
        return getattr(module, name)


def task_of(config: Leaves) -> Task:
    """The task of a configuration. Raises ConfigError for a kind that is not known."""
    return cast("Task", LateTask(kind_of(config)))


def check(config: ConfigDict) -> None:
    """Refuses impossible settings by name (ConfigError), and splits names given as 'a,b'."""
    validate(config)
    task_of(config).check(config)


def parse(argv: Sequence[str]) -> Arguments:
    """A checked command line. Raises ConfigError."""
    return command_line.parse(argv, check)


def task_of_folder(model: Path) -> Task:
    """The task of a trained run's folder, or of an artefact's. Raises ConfigError and DataError for
    a folder that is neither."""
    from gfvad.tasks import exported

    if not model.is_dir():
        raise DataError(
            f"{model}: not found; expected the folder of a trained run, or of an export"
        )
    if exported.is_artefact(model) and not lies_at(model / CONFIG):
        return task_of({"kind": DEFAULT})  # those of other tasks hold their config
    return task_of(load(model))


def frame_labels(run: Path) -> Mapping[str, np.ndarray]:
    """As `Task.frame_labels`, of a run's folder."""
    config = load(run)
    return task_of(config).frame_labels(run, config)


def video_classes(run: Path) -> Mapping[str, tuple[str, ...]]:
    """As `Task.video_classes`, of a run's folder."""
    config = load(run)
    return task_of(config).video_classes(run, config)
