"""A trained predictive model as a scorer of single videos: decoding, flow, model and score as
one stream in bounded memory, nothing on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np

from gfvad.base.progress import Progress
from gfvad.base.types import ClipBatch, ConfigError, DataError
from gfvad.data.captions import cache_folder
from gfvad.data.frames import decode, finding
from gfvad.data.frames.descriptions import describe_one, embed_descriptions
from gfvad.data.frames.flow import one_thread_each
from gfvad.data.frames.video_folders import VideoFile, open_layout
from gfvad.measure.alarms import GAP
from gfvad.measure.score_result import VideoScores
from gfvad.tasks import exported
from gfvad.tasks.prediction import artefact, score_terms
from gfvad.tasks.prediction.frame_errors import batch_of, clip_readings
from gfvad.tasks.prediction.trained import TrainedModel, open_trained
from gfvad.tasks.prediction.window import ClipWindow, ScoreWindows, Windowed
from gfvad.tasks.scoring import Request, StreamModel, VideosToScore, VideoToScore
from gfvad.train import loop

NO_TEXT = (
    "{}: the model reads descriptions; give them by --descriptions=FILE (JSON lines, docs/data.md),"
    " or train with the variant no_text"
)
HEAT_MAPS = 4096  # of one video at most; a longer one keeps every second, fourth, ... frame's


class PredictiveScorer:
    """Scores of frames, and what a user of them has to know: `gfvad/tasks/scoring.py: Scorer`. One
    device."""

    kind, bounded = "predictive", False  # scores are any numbers from 0 on
    alarm_gap = GAP

    def __init__(self, run: TrainedModel):
        self.run, self.config, rule = run, run.config, run.scorer
        self.name, self.path = run.name, str(run.workdir)
        self.contributors = tuple(rule.chosen.weights)  # the terms that a score is the sum of
        # see `run.scorer` for other quantiles and for streams
        self.threshold, self.threshold_rule = rule.threshold(), rule.threshold_rule()
        # pixels of a frame's longer side so that nothing is lost: model and flow use no more
        self.side = max(*rule.flow_size, self.config.data.height, self.config.data.width)
        self.needs_text = rule.text_width > 0

    @classmethod
    def open(
        cls,
        model: str | Path,
        checkpoint: str = "last",
        say: Callable[[str], None] = loop.to_stderr,
    ) -> PredictiveScorer:
        """The scorer of a run's folder or of an artefact's. Raises as `open_trained`."""
        model = Path(model).expanduser()
        if exported.is_artefact(model):
            return cls(artefact.open_artefact(model))
        return cls(open_trained(model, checkpoint, say))

    def score(self, name: str, features: Mapping[str, np.ndarray]) -> NoReturn:
        raise ConfigError(f"{self.path}: scores frames, not features; give a video file")

    def find(self, request: Request, claim: Callable[[Iterable[str]], None]) -> VideosToScore:
        """Videos and folders of frames, one after the other. Raises ConfigError and DataError."""
        if request.workers > 0:
            raise ConfigError(
                "--workers: the predictive model reads one video after the other; leave it out"
            )
        passed: list[Path] = []
        videos: dict[str, Path] = {}
        for given in request.inputs:
            layout = open_layout("any", Path(given).expanduser())
            for video in layout.videos("test"):
                if video.name in videos:
                    raise DataError(
                        f"{video.name!r} is the name of more than one video; expected names of"
                        " their own: rename one, or score them into folders of their own"
                    )
                videos[video.name] = video.path
            passed += layout.passed
        claim(videos)
        if self.needs_text and not request.descriptions:
            raise DataError(NO_TEXT.format(request.model))
        alone = len(videos) == 1  # then it says itself how far it is
        score = partial(self.score_video, descriptions=request.descriptions or None, progress=alone)
        found = [
            VideoToScore(name, str(path), lambda n=name, p=path: score(p)._replace(name=n))
            for name, path in videos.items()
        ]
        return VideosToScore(found, note=finding.passed_over(passed))

    def stream(self, request: Request) -> StreamModel:
        """Frames with causal windows."""
        from gfvad.tasks.prediction.stream import ClipStreamer

        streamer = ClipStreamer(self)
        return StreamModel(self.side, streamer.threshold, 1, lambda info: streamer)

    def score_video(
        self,
        path: str | Path,
        descriptions: str | Path | None = None,
        heat: bool = True,
        progress: bool = True,
    ) -> VideoScores:
        """Scores of every frame of a video file, or of a folder of numbered images (data.fps of the
        config, else 10, frames a second).

        descriptions: JSON lines (docs/data.md) of this video and perhaps others. heat: maps too.
        progress: says how far it is.
        Raises DataError for a video that cannot be read to its end, more than one in a folder, or a
        model that reads descriptions without any.
        """
        video, rule, config = one_video(Path(path).expanduser()), self.run.scorer, self.config
        texts: Sequence[str] = ()
        embedded = None
        if self.needs_text:
            if descriptions is None:
                raise DataError(NO_TEXT.format(path))
            texts, embedded = self._describe(video, descriptions)
        fps = decode.frame_rate(video) or float(config.data.get("fps", decode.DEFAULT_FPS))
        times, values, maps = [], [], HeatMaps(rule.heat_top)
        windows = ScoreWindows(rule.calibration, rule.chosen.weights, config.score, heat)

        def take(windowed: Windowed | None) -> None:
            if windowed is not None:
                values.append(windowed.evidence)
                maps.add(windowed.heat)

        frames = decode.stated_frames(video) if progress else 0
        bar = Progress(frames, f"score {video.name}", "frames")
        with one_thread_each(), bar if progress else nullcontext():
            clips = self._batches(video, times, embedded)
            for batch, found in self.run.reader.stream(self.run.state, clips):
                count = int(batch.valid.sum())
                take(windows.push(clip_readings(config, batch, found, count)))
                if progress:
                    bar.advance(count)
            take(windows.finish())
        evidence = {name: np.concatenate([v[name] for v in values]) for name in values[0]}
        parts = {name: w * evidence[name] for name, w in rule.chosen.weights.items()}
        start = np.array(times) if times else np.arange(len(next(iter(parts.values())))) / fps
        changes = [t for t, text in enumerate(texts) if not t or text != texts[t - 1]]
        shown, kept = maps.result()
        return VideoScores(
            video.name,
            str(video.path.resolve()),
            fps,
            len(start),
            start,
            np.append(start[1:], start[-1] + 1.0 / fps),
            score_terms.combine(evidence, rule.chosen.weights),
            parts,
            heat=shown,
            heat_time=None if shown is None else start[kept],
            descriptions=tuple((float(start[t]), texts[t]) for t in changes),
        )

    def _batches(
        self, video: VideoFile, times: list[float], embedded: np.ndarray | None
    ) -> Iterator[ClipBatch]:
        data, waiting = self.config.data, []
        size, window = data.eval_batch_size, ClipWindow(self.config, self.run.scorer.flow_size)
        for t, pair in enumerate(frames_of(video, data.channels, data.flow, times)):
            waiting += window.push(*pair, None if embedded is None else embedded[t])
            while len(waiting) >= size:
                yield batch_of(waiting[:size], size)
                waiting = waiting[size:]
        waiting += window.finish()
        if waiting:
            yield batch_of(waiting, size)

    def _describe(self, video: VideoFile, path: str | Path) -> tuple[tuple[str, ...], np.ndarray]:
        """Texts [T] and their embeddings [T, V]."""
        count = len(video.frames) or sum(1 for _ in decode.read_frames(video, decode.GREY))
        found, data = describe_one(path, video.name, count), self.config.data
        cache, say = cache_folder(data), loop.to_stderr
        return found.texts[0], embed_descriptions(found, data.text_encoder, cache, say)


def open_scorer(model: Path, checkpoint: str = "last") -> PredictiveScorer:
    """The scorer of a run or an artefact."""
    return PredictiveScorer.open(model, checkpoint)


class HeatMaps:
    """Maps of a video as bytes, at most HEAT_MAPS of them, evenly spaced. top: the value that is
    255."""

    def __init__(self, top: float):
        self._top, self._every, self._count = top, 1, 0
        self._kept: list[tuple[int, np.ndarray]] = []

    def add(self, maps: np.ndarray | None) -> None:
        """Those of the next frames [n, g, g'], where there are any."""
        if maps is None:
            return
        for x in np.clip(np.rint(maps * (255.0 / self._top)), 0, 255).astype(np.uint8):
            if self._count % self._every == 0:
                self._kept.append((self._count, x))
            self._count += 1
            if len(self._kept) > HEAT_MAPS:
                self._every *= 2
                self._kept = [pair for pair in self._kept if pair[0] % self._every == 0]

    def result(self) -> tuple[np.ndarray | None, np.ndarray]:
        """(uint8 [H, g, g'] or None, numbers of their frames [H])."""
        numbers = np.array([number for number, _ in self._kept], np.int64)
        return (np.stack([x for _, x in self._kept]) if self._kept else None), numbers


def one_video(path: Path) -> VideoFile:
    """The video at a path: a file, or a folder of numbered images. Raises DataError for anything
    else."""
    if not path.exists():
        raise DataError(f"{path}: not found; expected a video file or a folder of numbered images")
    first, *others = open_layout("any", path).videos("test")
    if others or first.path.resolve() != path.resolve():
        raise DataError(
            f"{path}: a folder of {1 + len(others)} videos, expected one video file or one folder"
            " of numbered images: give each by itself"
        )
    return first


def frames_of(
    video: VideoFile, channels: int, flow: bool, times: list[float] | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Each frame as the model reads it, uint8 [H, W] or [H, W, 3], and in grey for the flow, as
    the stores of frames and of flow get them."""
    if channels == decode.GREY:
        yield from ((frame, frame) for frame in decode.read_frames(video, channels, times))
    elif flow and video.frames:
        yield from zip_longest(
            decode.read_frames(video, channels, times), decode.read_frames(video, decode.GREY)
        )
    else:
        yield from (
            (frame, cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) if flow else None)
            for frame in decode.read_frames(video, channels, times)
        )
