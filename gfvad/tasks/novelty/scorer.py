"""Scores files of tracked boxes by a trained run of graph novelty (gfvad/tasks/scoring.py:
Scorer)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from gfvad.base.types import ConfigError, DataError
from gfvad.data.unit_videos import UnitVideos
from gfvad.data.units.layouts import LAYOUTS
from gfvad.measure.score_result import VideoScores
from gfvad.settings import config as config_lib
from gfvad.settings.command_line import Arguments
from gfvad.tasks import check, job
from gfvad.tasks.novelty.opened import OpenedModel, open_model
from gfvad.tasks.novelty.run import refuse_unknown_cameras, scored
from gfvad.tasks.scoring import FrameScores, Request, StreamModel, VideosToScore, VideoToScore
from gfvad.train import parallel


class NoveltyScorer:
    """A run, opened."""

    kind, bounded = "novelty", False

    def __init__(self, workdir: Path, model: OpenedModel):
        config = model.config
        self.model, self.path = model, str(workdir)
        self.threshold, self.threshold_rule = model.threshold, model.threshold_rule
        self.contributors = tuple("*".join(t) for t in model.columns[: model.terms])
        sets = " + ".join(config.data.modalities)
        self.name = f"{config.data.dataset}, {sets}, seed {config.seed}, step {model.step}"

    def find(self, request: Request, claim: Callable[[Iterable[str]], None]) -> VideosToScore:
        """The videos of files of tracks: CSV files or folders of them, or npz files."""
        splits = [self.open(Path(given).expanduser()) for given in request.inputs]
        names = [name for split in splits for name in split.names]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise DataError(
                f"{', '.join(request.inputs)}: {twice[0]!r} is there twice; expected each video"
                " under a name of its own"
            )
        claim(names)
        return VideosToScore(
            [
                VideoToScore(name, name, partial(self.score_video, split, i))
                for split in splits
                for i, name in enumerate(split.names)
            ]
        )

    def open(self, path: Path) -> UnitVideos:
        """The videos of a file, of cameras that the bank knows."""
        config = self.model.config
        videos = LAYOUTS[config.data.layout].given(config.data.dataset, path, config.data)
        refuse_unknown_cameras(videos, set(self.model.cameras))
        return videos

    def score(self, name: str, features: Mapping[str, np.ndarray]) -> NoReturn:
        """Features of objects say neither when nor on which track they are."""
        raise ConfigError(f"{self.path}: scores tracks, not features; give a file of tracked boxes")

    def score_video(self, videos: UnitVideos, index: int) -> VideoScores:
        """Scores of a video: its frames are the units."""
        found, fps = self.model.score(videos, index), videos.fps(index)
        frames = len(found.score)
        start = np.arange(frames) / fps
        shares: Mapping[str, np.ndarray] = dict(zip(self.contributors, found.shares.T, strict=True))
        return VideoScores(
            videos.names[index], "", fps, frames, start, start + 1 / fps, found.score, shares
        )

    def stream(self, request: Request) -> StreamModel:
        """Tracks come in files."""
        raise ConfigError(
            f"{request.model}: scores tracked boxes, not the pictures of a stream; expected files"
            " of tracks: gfvad score --model=RUN FILE.csv"
        )


def open_scorer(workdir: Path, checkpoint: str) -> NoveltyScorer:
    """The scorer of a run's folder, on one device."""
    config = config_lib.load(str(workdir))
    with config_lib.stored(workdir):
        check(config)
    mapper = parallel.make_mapper(config.parallel.backend, 1)
    return NoveltyScorer(workdir, open_model(workdir, checkpoint, mapper, config, compared=False))


def bulk_scores(arguments: Arguments) -> FrameScores:
    """Frame scores of arguments.input on this machine's devices."""
    config: Any = arguments.config
    assert arguments.input is not None
    mapper = job.devices(config)
    model = open_model(arguments.workdir, arguments.checkpoint, mapper, config, compared=False)
    scorer = NoveltyScorer(arguments.workdir, model)
    videos = scorer.open(arguments.input)
    nothing, no_spans = np.zeros(0, np.uint8), np.zeros((0, 2), np.int64)
    found = [
        scored(name, model.score(videos, i).score, nothing, no_spans, videos.fps(i))
        for i, name in enumerate(videos.names)
    ]
    return FrameScores(found, {})
