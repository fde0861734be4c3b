"""A run of the predictive model, opened: its clips, ground truth, checkpoints and what an
evaluation of it says (gfvad/tasks/task.py: OpenRun)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.names import some
from gfvad.base.types import ConfigError, DataError, ScoredVideo
from gfvad.data.frames import clips
from gfvad.data.frames.clip_data import (
    AUTO,
    LABELLED,
    NONE,
    ClipData,
    open_split,
    set_folder,
    set_root,
)
from gfvad.data.frames.perturbed_clips import NO_TOKENS
from gfvad.data.frames.truth import Truth, check_before_decoding, find_truth, undefined
from gfvad.data.frames.video_folders import VideoFolder
from gfvad.measure.paired import Beside
from gfvad.measure.results import read_scores
from gfvad.settings.command_line import Arguments
from gfvad.tasks.job import RULES
from gfvad.tasks.prediction import pictures, trained
from gfvad.tasks.prediction.registry import build_model
from gfvad.tasks.prediction.report import Report, weights_of
from gfvad.tasks.prediction.score_terms import compared
from gfvad.tasks.prediction.training import Training
from gfvad.tasks.task import Restored, Scored
from gfvad.train.identity import ON, Learnt, on, stated
from gfvad.train.parallel import Mapper


class Clips(NamedTuple):
    """A set, opened."""

    train: ClipData
    test: ClipData | None  # None where there is no labelled test split
    truth: Truth | None  # of the test split


@dataclass
class PredictionRun:
    """A run of one config on its clips."""

    config: ConfigDict
    workdir: Path
    train: ClipData | None  # None where a run is evaluated on other data
    test: ClipData | None  # None where there is no labelled test split: nothing is evaluated
    truth: Truth | None
    mapper: Mapper
    say: Callable[[str], None]
    found: trained.Found | None = None  # the weights, where a run is evaluated on other data
    opened: trained.TrainedModel = field(init=False, repr=False)  # what is evaluated
    report: Report = field(init=False, repr=False)  # of what was evaluated last

    @property
    def dataset(self) -> str:
        return self.config.data.dataset

    @property
    def inputs(self) -> list[str]:
        """Frames, and what else the model sees of them."""
        config = self.config
        more = {
            "differences": config.model.motion,
            "flow": config.data.flow,
            "descriptions": any(split.text_width for split in self.splits.values()),
        }
        return ["frames", *(name for name, seen in more.items() if seen)]

    @property
    def splits(self) -> Mapping[str, ClipData]:
        return {n: x for n, x in (("train", self.train), ("test", self.test)) if x is not None}

    @property
    def learnt(self) -> ClipData:
        """The clips of training, where they are there."""
        assert self.train is not None
        return self.train

    @property
    def identity(self) -> Learnt:
        return trained.identity(self.learnt)

    def training(self) -> Training:
        model = build_model(self.config, self.learnt.text_width)
        return Training(self.config, self.learnt, model, self.mapper, self.say)

    def keep(self) -> None:
        """Nothing: the rule of the score is kept when it is made."""

    def content(self) -> dict[str, Any]:
        found = content_of(self.splits, self.truth)
        if self.found:
            found[ON] = on(self.found.workdir, Path(self.config.data.root))
        return found

    def checkpoints(self, which: str) -> list[Restored]:
        """The weights asked for, with the rule of the score; process 0 alone does it."""
        if self.mapper.process_index:
            return []
        found = self.found or trained.find(self.config, self.workdir, which, self.say, self.train)
        self.opened = trained.complete(found, self.mapper, self.say)
        return [Restored(RULES.get(which, f"step {which}"), found.step, self.opened.state)]

    def evaluate(self, chosen: Restored) -> Scored:
        reader, rule = self.opened.reader, self.opened.scorer
        alarm = rule.threshold(), rule.threshold_rule()
        if self.test is None or self.truth is None:
            return Scored(chosen.rule, [], None, chosen.step, alarm)
        label = "scoring the test split"
        found = reader.read(chosen.state, self.test, range(len(self.test)), label)
        readings = [compared(x, rule.calibration.bank) for x in found]
        self.report = Report(self.config, self.test, self.truth, rule, readings, chosen.rule)
        return Scored(chosen.rule, self.report.videos, None, chosen.step, alarm)

    def features(self, index: int) -> Mapping[str, np.ndarray]:
        return {}

    def records(self) -> list[dict[str, Any]]:
        """Pixel-level metrics, where there are masks."""
        if self.truth is None or self.truth.masks is None:
            return []
        self.say("pixel metrics")
        return self.report.of_pixels([heat["total"] for heat in self.report.heat])

    def about(self, videos: Sequence[ScoredVideo]) -> dict[str, Any]:
        """Weights of the terms; where there is a test split, everything beside the headline,
        tables."""
        return self.report.about() if self.test is not None else weights_of(self.opened.scorer)

    def beside(self, videos: Sequence[ScoredVideo]) -> Beside:
        """The floors of optical flow, and each term alone."""
        return self.report.beside()

    def draw(self, chosen: Restored, videos: Sequence[ScoredVideo]) -> list[Path]:
        """Timelines, learning curves, heat maps, terms, experts, one annotated clip."""
        if self.test is None:
            return []
        return pictures.draw_run(self.report, self.workdir, self.opened.reader, chosen.state)


def open_run(arguments: Arguments, mapper: Mapper, say: Callable[[str], None]) -> PredictionRun:
    """A run on the frames that its config names."""
    opened = open_clips(arguments.config, say)
    check_score(arguments.config, opened.train)
    return PredictionRun(arguments.config, arguments.workdir, *opened, mapper, say)


def open_elsewhere(
    arguments: Arguments, mapper: Mapper, say: Callable[[str], None]
) -> PredictionRun:
    """A run with the test split of another folder of frames."""
    assert arguments.data is not None and arguments.output is not None
    other = arguments.config.copy_and_resolve_references()
    other.data.root, other.data.test = str(arguments.data), LABELLED
    # named by the run; where the other folder has none of that name, they are looked for
    for key in ("spans", "masks"):
        if other.data[key] and not (arguments.data / other.data[key]).exists():
            other.data[key] = ""
    early = ground_truth(other)
    found = trained.find(arguments.config, arguments.workdir, arguments.checkpoint, say)
    test = open_split(other, "test", say, found.flow_size)
    truth = early or known_truth(other, test)
    if test.text_width != found.text_width:
        raise DataError(
            f"{arguments.data}: descriptions of width {test.text_width}, the run reads"
            f" {found.text_width}; expected the same inputs as the run's"
        )
    return PredictionRun(other, arguments.output, None, test, truth, mapper, say, found)


def frame_labels(run: Path, config: ConfigDict) -> Mapping[str, np.ndarray]:
    """Frame labels of a run's test videos, as long as their scores. Raises DataError where there
    are none."""
    data, scores = config.data, read_scores(run / "scores.npz")
    root = set_root(data)
    if wanted_test(data) is None:
        raise DataError(f"{run}: no labelled test split (config.data.test = {data.test!r})")
    videos = set_folder(data).videos("test")
    if absent := [video.name for video in videos if video.name not in scores]:
        raise DataError(
            f"{root}: {len(absent)} test videos without scores in {run}: {some(absent)}; expected"
            " the set that the run was evaluated on"
        )
    lengths = [len(scores[video.name]) for video in videos]
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


def open_clips(config: ConfigDict, say: Callable[[str], None]) -> Clips:
    """Opens (and prepares, where it is the first time) both splits and their ground truth. Raises
    DataError where they cannot be learnt from."""
    tested = wanted_test(config.data) is not None
    early = ground_truth(config) if tested else None  # before anything is decoded, where it can be
    train, test = open_split(config, "train", say), None
    truth = None
    if tested:
        test = open_split(config, "test", say)
        truth = early or known_truth(config, test)
        if note := undefined(truth):
            say(f"warning: {note}")
    split = trained.split_of(config, train)
    if skipped := clips.report_skipped(train.names, train.lengths.tolist(), split):
        say(skipped)
    if not len(split.train) or not len(split.validation):
        raise DataError(
            f"{train!r}: {len(split.train)} videos to train on and {len(split.validation)} held"
            " out, expected some of each; add videos or change data.validation_fraction"
        )
    return Clips(train, test, truth)


def content_of(splits: Mapping[str, ClipData], truth: Truth | None) -> dict[str, Any]:
    """What results.json says of splits and the ground truth of the test split: its frame labels
    (masks say the same, and are gigabytes)."""
    found, whole = stated(**splits), hashlib.sha256()
    for labels in truth.labels if truth else ():
        whole.update(hashlib.sha256(np.ascontiguousarray(labels).tobytes()).digest())
    if truth:
        found["content"]["test"]["ground truth"] = whole.hexdigest()[:16]
    return found


def wanted_test(data: ConfigDict) -> VideoFolder | None:
    """The set, where a test part is to be evaluated (data.test): with 'auto' one that is there with
    ground truth."""
    if data.test == NONE:
        return None
    folder = set_folder(data)
    if data.test == AUTO:
        if not folder.has("test"):
            return None
        videos = folder.videos("test")
        given = {"spans": data.spans, "masks": data.masks}
        if not check_before_decoding(folder.root, videos, folder.videos("train"), **given):
            return None
    return folder


def ground_truth(config: ConfigDict, lengths: Sequence[int] | None = None) -> Truth | None:
    """Labels and masks of the test split; without `lengths` (frames of each video) only where
    folders of frames tell them: None otherwise.

    Raises DataError where there is no ground truth, or it does not fit the frames.
    """
    root, folder = set_root(config.data), set_folder(config.data)
    videos, given = folder.videos("test"), {"spans": config.data.spans, "masks": config.data.masks}
    there = check_before_decoding(root, videos, folder.videos("train"), **given)
    if lengths is None:
        lengths = [len(v.frames) for v in videos]
        if there and not all(lengths):
            return None
    truth = find_truth(root, videos, lengths, **given) if there else None
    if truth is None:
        raise DataError(
            f"{root}: no ground truth found; expected spans or masks of the test videos"
            " (docs/data.md): give config.data.spans or config.data.masks, or train without an"
            " evaluation by config.data.test=none"
        )
    return truth


def known_truth(config: ConfigDict, test: ClipData) -> Truth:
    """Labels and masks of the test split, whose frames are counted. Raises as `ground_truth`."""
    truth = ground_truth(config, [int(n) for n in test.lengths])
    assert truth is not None
    return truth


def check_score(config: ConfigDict, data: ClipData) -> None:
    """Raises ConfigError for a score that could not be made in the end: no term that the model
    has, other weights than terms, none to be had."""
    cfg, flow = config.score, data.flow is not None
    has = {
        "pace": config.model.pace,
        "flow": flow,
        "speed": flow,
        "semantic": data.text is not None,
        "text": data.text is not None,
    }
    names = [name for name in cfg.terms if has.get(name, True)]
    if not names:
        raise ConfigError(
            f"config.score.terms = {cfg.terms!r}: the model has none of them; expected appearance,"
            " relation, or the inputs that these are made of"
        )
    if cfg.weights and len(cfg.weights) != len(names):
        raise ConfigError(
            f"config.score.weights has {len(cfg.weights)} numbers; expected {len(names)}, one for"
            f" each of {', '.join(names)}"
        )
    if not cfg.weights and data.tokens is not None:
        raise ConfigError(NO_TOKENS)
