"""Prediction of the next frame, learnt from normal video: the contract of gfvad/tasks/task.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import ConfigError
from gfvad.settings.command_line import Arguments
from gfvad.tasks.task import Scorer

kind = "predictive"


def check(config: ConfigDict) -> None:
    """Refuses settings that cannot work together, by name."""
    from gfvad.tasks.prediction.check import check as check_together

    check_together(config)


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


def score_frames(arguments: Arguments) -> int:
    """Frame scores of videos or folders of frames."""
    from gfvad.tasks.prediction import job

    return job.score(arguments)


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
