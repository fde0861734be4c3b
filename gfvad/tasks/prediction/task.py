"""Prediction of the next frame, learnt from normal video: the contract of gfvad/tasks/task.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import ConfigError
from gfvad.settings.config import Arguments
from gfvad.tasks.task import FrameScores, Scorer, SweepData

kind = "predictive"


def check(config: ConfigDict) -> None:
    """Refuses settings that cannot work together, by name."""
    from gfvad.tasks.prediction import settings

    settings.validate(config)


def train(arguments: Arguments) -> int:
    """Trains a run, then evaluates it."""
    from gfvad.tasks.prediction import job

    return job.train(arguments)


def evaluate(arguments: Arguments) -> int:
    """Evaluates a checkpoint of a run again."""
    from gfvad.tasks.prediction import job

    return job.evaluate(arguments)


def evaluate_elsewhere(arguments: Arguments) -> int:
    """Evaluates a run on the test split of another folder of frames."""
    from gfvad.tasks import other_data

    return other_data.evaluate_clips(arguments)


def frame_scores(arguments: Arguments) -> FrameScores:
    """Frame scores of videos or folders of frames."""
    from gfvad.tasks.prediction import frame_scores as job

    return job.frame_scores(arguments)


def open_scorer(model: Path, checkpoint: str = "last") -> Scorer:
    """The scorer of a run."""
    from gfvad.tasks.prediction.score import PredictiveScorer

    return PredictiveScorer.open(model, checkpoint)


def export(
    workdir: Path, out: Path, checkpoint: str, platforms: Sequence[str]
) -> Mapping[str, Any]:
    """Not to be had: decoding and optical flow are no part of a compiled program."""
    raise ConfigError(
        f"{workdir}: a run of kind {kind!r} cannot be exported: it reads frames and optical flow,"
        " which no compiled program makes; score with the run's folder itself"
    )


def frame_labels(run: Path, config: ConfigDict) -> Mapping[str, np.ndarray]:
    """Frame labels of a run's test videos, as long as their scores."""
    from gfvad.measure.compare import clip_labels

    return clip_labels(run, config)


def sweep_data(config: ConfigDict, say: Callable[[str], None]) -> SweepData:
    """The clips of settings of an ablation."""
    from gfvad.tasks.prediction.sweep import Data

    return Data(config, say)
