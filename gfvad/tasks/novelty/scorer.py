"""Scores files of tracked boxes by a trained run of graph novelty (gfvad/tasks/scoring.py:
Scorer)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from gfvad.base.errors import EXIT_SOME_FAILED
from gfvad.base.names import some
from gfvad.base.types import ConfigError, DataError
from gfvad.data.features.layouts.feature_files import extracted
from gfvad.data.frames.finding import passed_over
from gfvad.data.frames.video_folders import VideoFile, open_layout
from gfvad.data.pictures.videos import open_film
from gfvad.data.unit_videos import UnitVideos
from gfvad.data.units.clips import open_clips
from gfvad.data.units.layouts import LAYOUTS
from gfvad.extraction import provenance
from gfvad.measure.score_result import VideoScores
from gfvad.settings import config as config_lib
from gfvad.settings.command_line import Arguments
from gfvad.tasks import check, exported, job
from gfvad.tasks.novelty.artefact import open_artefact
from gfvad.tasks.novelty.clip_inputs import asked_for, features_of_videos
from gfvad.tasks.novelty.opened import OpenedModel, name_of, open_model
from gfvad.tasks.novelty.registry import refuse_comparator
from gfvad.tasks.novelty.run import refuse_unknown_cameras, scored
from gfvad.tasks.novelty.score import FrameScore
from gfvad.tasks.novelty.shown import boxes_of_objects, boxes_of_patches, patch_maps
from gfvad.tasks.novelty.stream import SIDE, PatchStreamer
from gfvad.tasks.scoring import FrameScores, Request, StreamModel, VideosToScore, VideoToScore
from gfvad.train import parallel


class NoveltyScorer:
    """A run, opened."""

    kind, bounded = "novelty", False

    def __init__(self, workdir: Path, model: OpenedModel):
        self.model, self.path = model, str(workdir)
        self.threshold, self.threshold_rule = model.threshold, model.threshold_rule
        self.alarm_gap = model.config.score.alarm_gap
        self.encoders = provenance.kept(workdir)
        self.contributors = tuple("*".join(t) for t in model.columns[: model.terms])
        self.name = name_of(model)

    def find(self, request: Request, claim: Callable[[Iterable[str]], None]) -> VideosToScore:
        """The videos of what was given: files of tracks, video files and folders of frames, or
        folders of features; of videos for a model of features those are made first."""
        if self.model.config.data.layout == "pictures":
            return self.films(request, claim)
        splits, failed, interrupted = self.brought(request, claim)
        if interrupted:
            return VideosToScore((), interrupted=interrupted)
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
            ],
            failed,
        )

    def films(self, request: Request, claim: Callable[[Iterable[str]], None]) -> VideosToScore:
        """Video files and folders of frames, each read when it is scored, so that a damaged one
        stops no other."""
        passed: list[Path] = []
        films: dict[str, VideoFile] = {}
        for given in request.inputs:
            layout = open_layout("any", Path(given).expanduser())
            for film in layout.videos("test"):
                if film.name in films:
                    raise DataError(
                        f"{film.name!r} is the name of more than one video; expected names of their"
                        " own: rename one, or score them into folders of their own"
                    )
                films[film.name] = film
            passed += layout.passed
        claim(films)
        score = partial(self.score_film, alone=len(films) == 1)
        found = [VideoToScore(n, str(f.path), partial(score, f)) for n, f in films.items()]
        return VideosToScore(found, note=passed_over(passed))

    def score_film(self, film: VideoFile, alone: bool) -> VideoScores:
        """Scores of a video; alone: it says how far it is."""
        config = self.model.config
        videos = open_film(config.data.dataset, film, config.data, alone)
        refuse_unknown_cameras(videos, set(self.model.cameras))
        return self.score_video(videos, 0)

    def brought(
        self, request: Request, claim: Callable[[Iterable[str]], None]
    ) -> tuple[list[UnitVideos], list[tuple[str, str]], int]:
        """(units of the inputs; (path, reason) of what failed; exit code of an extraction that was
        stopped)."""
        paths = [Path(given).expanduser() for given in request.inputs]
        if self.model.config.data.layout != "features" or all(map(extracted, paths)):
            return [self.open(path) for path in paths], [], 0
        folder, code = features_of_videos(request, self.encoders, claim)
        if code > EXIT_SOME_FAILED:
            return [], [], code
        wanted, failed = asked_for(folder, request)
        config = self.model.config
        found = [open_clips(config.data.dataset, folder, config.data, wanted)] if wanted else []
        return [*found], failed, 0

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
        scores = VideoScores(
            videos.names[index],
            videos.path(index),
            fps,
            frames,
            start,
            start + 1 / fps,
            found.score,
            shares,
        )
        return self.with_places(scores, found, videos, index)

    def with_places(
        self, scores: VideoScores, found: FrameScore, videos: UnitVideos, index: int
    ) -> VideoScores:
        """The same with what of each picture its score comes from."""
        units, size = videos.units(index), videos.size(index)
        if not videos.located:
            return scores
        if not videos.patches:
            return scores._replace(boxes=boxes_of_objects(found, units, size))
        heat, frames = patch_maps(found, units, self.threshold)
        boxes = boxes_of_patches(found, units, size)
        return scores._replace(boxes=boxes, heat=heat, heat_time=frames / scores.fps)

    def stream(self, request: Request) -> StreamModel:
        """The patches of frames as they come; tracks come in files."""
        data, model = self.model.config.data, self.model
        refuse_comparator(model.config, "a stream")
        if data.layout != "pictures":
            raise ConfigError(
                f"{request.model}: scores tracked boxes, not the pictures of a stream; expected"
                " files of tracks: gfvad score --model=RUN FILE.csv"
            )
        if model.causal is None:
            raise DataError(
                f"{request.model}: calibrated by a version without streams; evaluate the run once"
                f" where its training videos are: gfvad evaluate --workdir={request.model}"
            )
        camera = Path(request.inputs[0]).stem[: data.camera_characters]
        if camera not in model.cameras:
            raise ConfigError(
                f"{request.inputs[0]}: of a camera without normal video; expected a name that"
                f" begins with one of {some(model.cameras)} (data.camera_characters ="
                f" {data.camera_characters})"
            )
        start = lambda info: PatchStreamer(model, camera, info.fps)
        return StreamModel(SIDE, model.causal[0], 1, start, culprit=True, rule=model.causal[1])


def open_scorer(workdir: Path, checkpoint: str) -> NoveltyScorer:
    """The scorer of a run's folder, or of an artefact's, on one device."""
    if exported.is_artefact(workdir):
        return NoveltyScorer(workdir, open_artefact(workdir))
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
