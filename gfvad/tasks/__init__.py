"""What a run can be of: each kind of task, by the value of `config.kind`. Importing this loads no
task; asking for one does."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfvad.base.names import nearest
from gfvad.base.types import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from gfvad.tasks.task import Task

DEFAULT = "weak"  # of configs without a kind
# kind -> the module that fulfils `gfvad/tasks/task.py: Task`
TASKS = {"weak": "gfvad.tasks.fusion.task", "predictive": "gfvad.tasks.prediction.task"}


def kind_of(config: Mapping[str, Any]) -> str:
    """The kind of a configuration. Raises ConfigError for one that is not known."""
    kind = config.get("kind", DEFAULT)
    if not isinstance(kind, str) or kind not in TASKS:
        hint = nearest(str(kind), tuple(TASKS))
        raise ConfigError(f"config.kind = {kind!r}{hint}: expected one of {', '.join(TASKS)}")
    return kind


def task_of(config: Mapping[str, Any]) -> Task:
    """The task of a configuration. Raises ConfigError for a kind that is not known."""
    return importlib.import_module(TASKS[kind_of(config)])  # type: ignore[return-value]


def task_of_folder(model: Path) -> Task:
    """The task of a trained run's folder, or of an artefact's. Raises ConfigError and DataError for
    a folder that is neither."""
    from gfvad.settings import config as config_lib
    from gfvad.tasks.fusion import standalone

    if not model.is_dir():
        raise DataError(
            f"{model}: not found; expected the folder of a trained run, or of an export"
        )
    if standalone.is_artefact(model):
        return task_of({"kind": DEFAULT})  # other tasks have no artefacts yet
    return task_of(config_lib.load(str(model)))


def frame_labels(run: Path) -> Mapping[str, np.ndarray]:
    """Ground truth of a run's test videos, video -> uint8 [T], from the data that its config names.
    Raises DataError where there is none."""
    from gfvad.settings import config as config_lib

    config = config_lib.load(str(run))
    return task_of(config).frame_labels(run, config)


def video_classes(run: Path) -> Mapping[str, tuple[str, ...]]:
    """Classes of a run's test videos, () of normal ones. Raises DataError where its data has
    none."""
    from gfvad.settings import config as config_lib

    config = config_lib.load(str(run))
    return task_of(config).video_classes(run, config)
