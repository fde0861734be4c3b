"""Fusion of feature sets, learnt from video labels: the contract of gfvad/tasks/task.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.settings.command_line import Arguments
from gfvad.tasks.scoring import FrameScores, Scorer
from gfvad.tasks.task import OpenRun, SweepData

if TYPE_CHECKING:
    from gfvad.train.parallel import Mapper

kind = "weak"


def check(config: ConfigDict) -> None:
    """Refuses settings that cannot work together, by name."""
    from gfvad.data import corrupt
    from gfvad.tasks.fusion import registry

    registry.check_data(config.data)
    corrupt.check_corruption(config.data.corruption, config.data.modalities)
    registry.check(config, config.data.modalities)


def open_run(arguments: Arguments, mapper: Mapper, say: Callable[[str], None]) -> OpenRun:
    """A run on the data that its config names."""
    from gfvad.tasks.fusion.run import FusionRun

    return FusionRun.open(arguments, mapper, say)


def open_elsewhere(arguments: Arguments, mapper: Mapper, say: Callable[[str], None]) -> OpenRun:
    """A run with other data to test it on."""
    from gfvad.tasks.fusion.run import FusionRun

    return FusionRun.elsewhere(arguments, mapper, say)


def frame_scores(arguments: Arguments) -> FrameScores:
    """Frame scores of videos from their features."""
    from gfvad.tasks.fusion import frame_scores as job

    return job.frame_scores(arguments)


def open_scorer(model: Path, checkpoint: str = "last") -> Scorer:
    """The scorer of a run or an artefact."""
    from gfvad.tasks.fusion.scorer import open_weak

    return open_weak(model, checkpoint)


def export(
    workdir: Path, out: Path, checkpoint: str, platforms: Sequence[str]
) -> Mapping[str, Any]:
    """Writes a run as an artefact; returns its manifest."""
    from gfvad.tasks.fusion import artefact

    return artefact.write(workdir, out, checkpoint, platforms)


def frame_labels(run: Path, config: ConfigDict) -> Mapping[str, np.ndarray]:
    """Frame labels of a run's test split, video -> uint8 [T]."""
    from gfvad.measure import compare

    return compare.labels_of_split(_test_split(config))


def video_classes(run: Path, config: ConfigDict) -> Mapping[str, tuple[str, ...]]:
    """Classes of the videos of a run's test split."""
    split = _test_split(config)
    return {v.name: tuple(v.classes) for v in (split.meta(i) for i in range(len(split)))}


def _test_split(config: ConfigDict):
    """Records of the test split of the data that a config names."""
    from gfvad.data.features import records
    from gfvad.data.features.dataset import resolve

    path = resolve(config, lambda text: None).records
    return records.open_records(path, "test", config.data.modalities)


def sweep_data(config: ConfigDict, say: Callable[[str], None]) -> SweepData:
    """The records of settings of an ablation."""
    from gfvad.tasks.fusion.sweep import Data

    return Data(config, say)
