"""The jobs of the predictive model behind the command line, top to bottom: train (and evaluate), evaluate, score."""
from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from gfvad import clip_report
from gfvad import config as config_lib
from gfvad import parallel
from gfvad.config import Arguments
from gfvad.data import pipeline
from gfvad.data.video import clips
from gfvad.data.video.layouts import open_layout
from gfvad.data.video.source import NO_TOKENS, ClipData, TrainingClips, open_split, perturbed, set_root
from gfvad.data.video.truth import Truth, find_truth
from gfvad.eval import results, terms, weights
from gfvad.eval.readings import Reader
from gfvad.job import EXIT_NOT_FINITE, RULES, check_batches, require_checkpoints
from gfvad.models.predictive import PredictiveModel
from gfvad.train import clip_step, loop
from gfvad.train.checkpoint import VALIDATION, Checkpoints
from gfvad.train.meter import NonFiniteError
from gfvad.train.optim import make_optimiser
from gfvad.train.state import TrainState, init_from, parameter_count
from gfvad.types import ConfigError, DataError

STATISTICS_FRAMES = 4000  # training frames (whole videos, evenly chosen) that calibration is made from
EVENTS_SEED = 1
VALIDATION_CLIPS = 128  # held-out clips, evenly chosen, that training is followed on


class Parts(NamedTuple):
    """What every job needs of a run."""

    config: ConfigDict
    workdir: Path
    train: ClipData
    test: ClipData
    truth: Truth
    split: clips.Parts  # training and held-out videos
    model: PredictiveModel
    mapper: parallel.Mapper
    say: Callable[[str], None]


class Scorer(NamedTuple):
    """Everything between readings and scores, made of training videos."""

    calibration: terms.Calibration
    causal: terms.Calibration  # the same for windows that end at the frame
    chosen: weights.Chosen


def train(arguments: Arguments) -> int:
    """Trains (or goes on), then evaluates. Returns the exit code."""
    started = time.monotonic()
    parts = set_up(arguments)
    if (parts.workdir / loop.CHECKPOINTS).is_dir():
        with Checkpoints(parts.workdir / loop.CHECKPOINTS, parts.config, identity(parts.train)):
            pass  # opening refuses a run of another configuration before anything of it is written over
    if parts.mapper.process_index == 0:
        config_lib.save(parts.config, parts.workdir)
    try:
        train_loop(parts)
    except NonFiniteError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_NOT_FINITE
    return evaluate_run(parts, "last", started)


def evaluate(arguments: Arguments) -> int:
    """Evaluates the checkpoints of a run again. Returns the exit code."""
    started = time.monotonic()
    require_checkpoints(arguments.workdir)
    return evaluate_run(set_up(arguments), arguments.checkpoint, started)


def set_up(arguments: Arguments) -> Parts:
    """Data, model and devices of a run; everything that can be wrong with the input is wrong here, before any long work."""
    config = arguments.config
    parallel.initialise_distributed()
    mapper = parallel.make_mapper(config.parallel.backend, config.parallel.devices)
    check_batches(config, mapper)
    say = loop.to_stderr if mapper.process_index == 0 else loop.quiet
    truth = ground_truth(config)  # before anything is decoded, where that can be
    train, test = open_split(config, "train", say), open_split(config, "test", say)
    truth = truth or ground_truth(config, test.lengths)
    check_score(config, train)
    split = clips.split_videos(train.names, train.lengths, config.data.clip_frames, config.data.stride, config.data.validation_fraction)
    if skipped := clips.report_skipped(train.names, train.lengths, split):
        say(skipped)
    if not len(split.train) or not len(split.validation):
        raise DataError(f"{train!r}: {len(split.train)} videos to train on and {len(split.validation)} held out, expected some of each; add videos or change data.validation_fraction")
    say(f"run: {arguments.workdir}")
    return Parts(config, arguments.workdir, train, test, truth, split, make_model(config, train), mapper, say)


def ground_truth(config: ConfigDict, lengths: Sequence[int] | None = None) -> Truth | None:
    """Labels and masks of the test split; without `lengths` (frames of each video) only where folders of frames tell them: None otherwise.

    Raises DataError where there is no ground truth, or it does not fit the frames.
    """
    root = set_root(config.data)
    videos = open_layout(config.data.layout, root).videos("test")
    if lengths is None:
        lengths = [len(v.frames) for v in videos]
        if not all(lengths):
            return None
    truth = find_truth(root, videos, lengths, spans=config.data.spans, masks=config.data.masks)
    if truth is None:
        raise DataError(
            f"{root}: no ground truth found; expected spans or masks of the test videos (docs/data.md): give config.data.spans or data.masks, "
            "or score without labels by --mode=score"
        )
    return truth


def check_score(config: ConfigDict, data: ClipData) -> None:
    """Raises ConfigError for a score that could not be made in the end: no term that the model has, other weights than terms, none to be had."""
    cfg = config.score
    absent = {"pace": not config.model.pace, "flow": data.flow is None, "speed": data.flow is None, "semantic": data.text is None}
    names = [name for name in cfg.terms if not absent.get(name)]
    if not names:
        raise ConfigError(f"config.score.terms = {cfg.terms!r}: the model has none of them; expected appearance, relation, or the inputs that these are made of")
    if cfg.weights and len(cfg.weights) != len(names):
        raise ConfigError(f"config.score.weights has {len(cfg.weights)} numbers; expected {len(names)}, one for each of {', '.join(names)}")
    if not cfg.weights and data.tokens is not None:
        raise ConfigError(NO_TOKENS)


def make_model(config: ConfigDict, data: ClipData) -> PredictiveModel:
    """The model for the features of a split."""
    return PredictiveModel(FrozenConfigDict(config.model), data.text_width, config.data.flow)


def identity(data: ClipData) -> str:
    """What a run learns from, for its checkpoints."""
    return f"{data!r}, text {data.text_width}, tokens {data.tokens is not None}"


def fresh_state(config: ConfigDict, model: PredictiveModel, data: ClipData) -> TrainState:
    """The state before the first step."""
    return init_from(model, make_optimiser(config.optim, config.train.steps).transform, (data.features(0, 0),), config.seed)


def train_loop(parts: Parts) -> TrainState:
    """Trains to config.train.steps, from the last checkpoint where there is one. Raises as `loop.train`."""
    config, mapper = parts.config, parts.mapper
    state = fresh_state(config, parts.model, parts.train)
    parts.say(f"train: {len(parts.split.train)} videos, {len(parts.split.validation)} held out, {parameter_count(state):,} parameters, {loop.describe(mapper)}")
    source = TrainingClips(parts.train, parts.split.train, config.seed)
    data = pipeline.clip_iterator(source.example, len(source), config.train.batch_size, config.seed, mapper.process_index, mapper.process_count,
                                  identity=source.identity, threads=config.data.workers)  # fmt: skip
    step = partial(clip_step.train_step, model=parts.model, optimiser=make_optimiser(config.optim, config.train.steps), loss_cfg=config.loss,
                   axis_name=mapper.axis_name)  # fmt: skip
    reader = Reader(mapper, parts.model, config)

    def follow(run: loop.Run, state: TrainState, number: int, log: Any) -> dict[str, float]:
        values = reader.errors(state, parts.train, parts.split.validation, VALIDATION_CLIPS)
        log.write(number, "validation", values)
        run.say(f"validation: step {number}, " + ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
        return {VALIDATION: -sum(values.values())}

    run = loop.Run(config, mapper, parts.train, parts.split.validation, None, None, data, mapper.map_train(step), parts.say, follow)
    return loop.run_from_last(run, parts.workdir, state, parts.train.names, identity(parts.train)).state


def restore(parts: Parts, which: str) -> TrainState:
    """A checkpoint of the run."""
    with Checkpoints(parts.workdir / loop.CHECKPOINTS, parts.config, identity(parts.train)) as kept:
        return kept.restore(which, fresh_state(parts.config, parts.model, parts.train)).state


def make_scorer(parts: Parts, reader: Reader, state: TrainState) -> Scorer:
    """Calibrates on training videos and chooses the weights on perturbed held-out ones."""
    config = parts.config
    chosen = within(parts.train.lengths, parts.split.train, STATISTICS_FRAMES)
    held = within(parts.train.lengths, parts.split.validation, STATISTICS_FRAMES)
    readings = reader.read(state, parts.train, [*chosen, *held], "reading training videos")
    calibration = terms.fit(readings[: len(chosen)], readings[len(chosen) :], config.score)
    streaming = config.score.copy_and_resolve_references()
    streaming.causal = True
    causal = terms.fit(readings[: len(chosen)], readings[len(chosen) :], streaming)
    names = tuple(name for name in config.score.terms if name in calibration.mean)
    given = tuple(config.score.weights)
    if given:
        return Scorer(calibration, causal, weights.Chosen(dict(zip(names, map(float, given))), float("nan"), {}))
    videos = []
    rng = np.random.default_rng(EVENTS_SEED)  # the same events for every seed of a model
    for copy in range(config.score.perturbations):
        for video in held:
            changed, labels = perturbed(parts.train, int(video), rng, lambda text: None)
            found = reader.read(state, changed, [0], f"perturbed copy {copy + 1} of {parts.train.names[video]}")[0]
            videos.append((terms.calibrated(terms.frame_values(found, calibration, config.score), calibration, names), labels))
    found = weights.choose(videos)
    parts.say("weights: " + ", ".join(f"{n} {w:g} (alone {found.alone[n]:.3f})" for n, w in found.weights.items()) + f"; AUC {found.auc:.4f} on synthetic events in held-out normal video")
    return Scorer(calibration, causal, found)


def within(lengths: np.ndarray, videos: Sequence[int], frames: int) -> list[int]:
    """As many of the videos, evenly chosen, as stay within a number of frames (at least one)."""
    videos = list(map(int, videos))
    total = int(sum(lengths[v] for v in videos))
    keep = max(1, min(len(videos), int(len(videos) * frames / max(total, 1))))
    return [videos[i] for i in np.unique(np.linspace(0, len(videos) - 1, keep).round().astype(int))]


def evaluate_run(parts: Parts, which: str, started: float) -> int:
    """Scores the test split, evaluates every protocol, writes results, scores and figures, prints the tables. Process 0 alone does it."""
    if parts.mapper.process_index:
        return 0
    state = restore(parts, which)
    reader = Reader(parts.mapper, parts.model, parts.config)
    scorer = make_scorer(parts, reader, state)
    readings = reader.read(state, parts.test, range(len(parts.test)), "scoring the test split")
    report = clip_report.Report(parts.config, parts.workdir, parts.test, parts.truth, scorer.calibration, scorer.causal, scorer.chosen, readings,
                                RULES.get(which, f"step {which}"), parts.mapper, started)  # fmt: skip
    clip_report.write(report, reader, state, parts.say)
    return 0


def score(arguments: Arguments) -> int:
    """Scores a folder of videos or frames, or one video, without labels, by a checkpoint of a run. Returns the exit code."""
    config = arguments.config
    require_checkpoints(arguments.workdir)
    mapper = parallel.make_mapper(config.parallel.backend, config.parallel.devices)
    check_batches(config, mapper)
    say = loop.to_stderr
    train = open_split(config, "train", say)
    check_score(config, train)
    split = clips.split_videos(train.names, train.lengths, config.data.clip_frames, config.data.stride, config.data.validation_fraction)
    wanted = config.copy_and_resolve_references()
    wanted.data.root, wanted.data.layout = str(arguments.input), "any"
    wanted.data.train_descriptions = wanted.data.test_descriptions = str(arguments.captions.resolve()) if arguments.captions else ""
    if train.text_width and not arguments.captions:
        raise DataError(f"{arguments.input}: the model reads descriptions; give them by --captions=FILE (JSON lines, docs/data.md), or train with the variant no_text")
    videos = open_split(wanted, "test", say)
    parts = Parts(config, arguments.workdir, train, videos, None, split, make_model(config, train), mapper, say)
    state = restore(parts, arguments.checkpoint)
    reader = Reader(mapper, parts.model, config)
    scorer = make_scorer(parts, reader, state)
    readings = reader.read(state, videos, range(len(videos)), "scoring")
    found = {}
    for name, reading in zip(videos.names, readings):
        values = terms.calibrated(terms.frame_values(reading, scorer.calibration, config.score), scorer.calibration, config.score.terms)
        found[name] = terms.combine(values, scorer.chosen.weights)
    path = results.write_scores(arguments.output, found)
    print(f"scores   {path}: {len(found)} videos, {sum(map(len, found.values())):,} frames")
    return 0
