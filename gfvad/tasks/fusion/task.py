"""Fusion of feature sets, learnt from video labels: the contract of gfvad/tasks/task.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.settings.config import Arguments
from gfvad.tasks.task import FrameScores, Scorer, SweepData

kind = "weak"


def check(config: ConfigDict) -> None:
    """Refuses settings that cannot work together, by name."""
    from gfvad.data import corrupt
    from gfvad.tasks.fusion import registry

    corrupt.check(config.data.corruption, config.data.modalities)
    registry.check(config, config.data.modalities)


def train(arguments: Arguments) -> int:
    """Trains a run, then evaluates it."""
    from gfvad.tasks.fusion import job

    return job.train(arguments)


def evaluate(arguments: Arguments) -> int:
    """Evaluates the checkpoints of a run again."""
    from gfvad.tasks.fusion import job

    return job.evaluate(arguments)


def evaluate_elsewhere(arguments: Arguments) -> int:
    """Evaluates a run on the test split of other features or prepared records."""
    from gfvad.tasks import other_data

    return other_data.evaluate(arguments)


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
    from gfvad.measure.compare import frame_labels, split_of

    return frame_labels(split_of(run))


def sweep_data(config: ConfigDict, say: Callable[[str], None]) -> SweepData:
    """The records of settings of an ablation."""
    from gfvad.tasks.fusion.sweep import Data

    return Data(config, say)
