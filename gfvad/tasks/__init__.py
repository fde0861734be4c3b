"""What a run can be of: each kind of task, by the value of `config.kind`. Importing this loads no
task; asking for one does."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from gfvad.base.types import DataError
from gfvad.settings import command_line
from gfvad.settings.command_line import Arguments
from gfvad.settings.config import CONFIG, load, validate
from gfvad.settings.kinds import DEFAULT, Leaves, kind_of

if TYPE_CHECKING:
    import numpy as np

    from gfvad.tasks.task import Task

# kind -> the module that fulfils `gfvad/tasks/task.py: Task`
TASKS = {
    "weak": "gfvad.tasks.fusion.task",
    "predictive": "gfvad.tasks.prediction.task",
    "novelty": "gfvad.tasks.novelty.task",
}


def task_of(config: Leaves) -> Task:
    """The task of a configuration. Raises ConfigError for a kind that is not known."""
    return importlib.import_module(TASKS[kind_of(config)])  # type: ignore[return-value]


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
    if exported.is_artefact(model) and not (model / CONFIG).is_file():
        return task_of({"kind": DEFAULT})  # those of other tasks hold their config
    return task_of(load(model))


def frame_labels(run: Path) -> Mapping[str, np.ndarray]:
    """Ground truth of a run's test videos, video -> uint8 [T], from the data that its config names.
    Raises DataError where there is none."""
    config = load(run)
    return task_of(config).frame_labels(run, config)


def video_classes(run: Path) -> Mapping[str, tuple[str, ...]]:
    """Classes of a run's test videos, () of normal ones. Raises DataError where its data has
    none."""
    config = load(run)
    return task_of(config).video_classes(run, config)
