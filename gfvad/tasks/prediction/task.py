"""Prediction of the next frame, learnt from normal video: the contract of gfvad/tasks/task.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.names import some
from gfvad.base.types import DataError
from gfvad.settings.command_line import Arguments
from gfvad.tasks.scoring import FrameScores, Scorer
from gfvad.tasks.task import OpenRun, SweepData

if TYPE_CHECKING:
    from gfvad.train.parallel import Mapper

kind = "predictive"


def check(config: ConfigDict) -> None:
    """Refuses settings that cannot work together, by name."""
    from gfvad.tasks.prediction.check import check as check_together

    check_together(config)


def open_run(arguments: Arguments, mapper: Mapper, say: Callable[[str], None]) -> OpenRun:
    """A run on the data that its config names."""
    from gfvad.tasks.prediction.run import PredictionRun

    return PredictionRun.open(arguments, mapper, say)


def open_elsewhere(arguments: Arguments, mapper: Mapper, say: Callable[[str], None]) -> OpenRun:
    """A run with other data to test it on."""
    from gfvad.tasks.prediction.run import PredictionRun

    return PredictionRun.elsewhere(arguments, mapper, say)


def frame_scores(arguments: Arguments) -> FrameScores:
    """Frame scores of videos or folders of frames."""
    from gfvad.tasks.prediction import frame_scores as job

    return job.frame_scores(arguments)


def open_scorer(model: Path, checkpoint: str = "last") -> Scorer:
    """The scorer of a run or an artefact."""
    from gfvad.tasks.prediction.score import PredictiveScorer

    return PredictiveScorer.open(model, checkpoint)


def export(
    workdir: Path, out: Path, checkpoint: str, platforms: Sequence[str]
) -> Mapping[str, Any]:
    """Writes a run as an artefact; returns its manifest. Raises ConfigError for a model on frozen
    tokens, whose network is no part of it."""
    from gfvad.tasks.prediction import artefact
    from gfvad.tasks.prediction.run_scorer import open_run
    from gfvad.tasks.prediction.score import PredictiveScorer

    return artefact.write(
        lambda: open_run(workdir, checkpoint),
        lambda run: PredictiveScorer(run).name,
        out,
        platforms,
    )


def frame_labels(run: Path, config: ConfigDict) -> Mapping[str, np.ndarray]:
    """Frame labels of a run's test videos, as long as their scores. Raises DataError where there
    are none."""
    from gfvad.data.frames.clip_data import set_root
    from gfvad.data.frames.truth import find_truth
    from gfvad.data.frames.video_folders import open_layout
    from gfvad.measure.results import read_scores

    root, scores = set_root(config.data), read_scores(run / "scores.npz")
    videos = open_layout(config.data.layout, root).videos("test")
    if absent := [video.name for video in videos if video.name not in scores]:
        raise DataError(
            f"{root}: {len(absent)} test videos without scores in {run}: {some(absent)}; expected"
            " the set that the run was evaluated on"
        )
    lengths = [len(scores[video.name]) for video in videos]
    data = config.data
    truth = find_truth(root, videos, lengths, spans=data.spans, masks=data.masks)
    if truth is None:
        raise DataError(
            f"{root}: no ground truth found; expected spans or masks of the test videos"
            " (docs/data.md)"
        )
    return {video.name: labels for video, labels in zip(videos, truth.labels)}


def video_classes(run: Path, config: ConfigDict) -> Mapping[str, tuple[str, ...]]:
    """None: sets of frames name no classes."""
    raise DataError(
        f"{run}: a run of the predictive model, whose frames have no classes; expected runs on"
        " features: `gfvad report` shows this one"
    )


def sweep_data(config: ConfigDict, say: Callable[[str], None]) -> SweepData:
    """The clips of settings of an ablation."""
    from gfvad.tasks.prediction.sweep import Data

    return Data(config, say)
