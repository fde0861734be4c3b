"""The jobs of the predictive model behind the command line, top to bottom: train (and evaluate),
evaluate."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gfvad.base import run_files
from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames import clips
from gfvad.data.frames.layouts import open_layout
from gfvad.data.frames.source import NO_TOKENS, ClipData, open_split, set_root
from gfvad.data.frames.truth import Truth, check_before_decoding, find_truth, undefined
from gfvad.settings import config as config_lib
from gfvad.settings.config import Arguments
from gfvad.tasks.fusion.job import EXIT_NOT_FINITE, RULES, check_batches, require_checkpoints
from gfvad.tasks.prediction import report as clip_report
from gfvad.tasks.prediction import run_scorer
from gfvad.tasks.prediction import scorer as scorer_lib
from gfvad.tasks.prediction.frame_errors import Reader
from gfvad.tasks.prediction.model import PredictiveModel, build_model
from gfvad.tasks.prediction.run_scorer import identity, restore
from gfvad.tasks.prediction.training import Training
from gfvad.train import loop, parallel
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.identity import alone, refuse_other_data, stated
from gfvad.train.meter import NonFiniteError
from gfvad.train.run import SingleRun


class Data(NamedTuple):
    """The clips of a set."""

    train: ClipData
    test: ClipData
    truth: Truth
    split: clips.Parts  # training and held-out videos


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


@run_files.claims_run
def train(arguments: Arguments) -> int:
    """Trains (or goes on), then evaluates. Returns the exit code."""
    started = time.monotonic()
    parts = set_up(arguments)
    with alone(parts.workdir, parts.mapper.process_index):
        if (parts.workdir / loop.CHECKPOINTS).is_dir():
            with Checkpoints(parts.workdir / loop.CHECKPOINTS, parts.config, identity(parts.train)):
                # opening refuses a run of another configuration before anything of it is written
                # over
                pass
        refuse_other_data(parts.workdir, data_of(parts)["content"])
        if parts.mapper.process_index == 0:
            config_lib.save(parts.config, parts.workdir)
        try:
            task = Training(
                parts.config, parts.train, parts.split, parts.model, parts.mapper, parts.say
            )
            loop.train(SingleRun(task), parts.workdir)
        except NonFiniteError as error:
            print(f"error: {error}", file=sys.stderr)
            return EXIT_NOT_FINITE
        return evaluate_run(parts, "last", started)


@run_files.claims_results
def evaluate(arguments: Arguments) -> int:
    """Evaluates the checkpoints of a run again. Returns the exit code."""
    started = time.monotonic()
    require_checkpoints(arguments.workdir)
    parts = set_up(arguments)
    with alone(parts.workdir, parts.mapper.process_index):
        refuse_other_data(parts.workdir, data_of(parts)["content"])
        return evaluate_run(parts, arguments.checkpoint, started)


def data_of(parts: Parts | Data) -> dict[str, Any]:
    """What results.json says of the data, by content; that of the test split has the ground
    truth in it."""
    found = stated(train=parts.train, test=parts.test)
    found["content"]["test"]["ground truth"] = truth_digest(parts.truth)
    return found


def truth_digest(truth: Truth) -> str:
    """Of the frame labels of a split (masks say the same, and are gigabytes)."""
    return hashlib.sha256(
        b"".join(hashlib.sha256(np.ascontiguousarray(x)).digest() for x in truth.labels)
    ).hexdigest()[:16]


def set_up(arguments: Arguments) -> Parts:
    """Data, model and devices of a run; everything that can be wrong with the input is wrong
    here, before any long work."""
    config = arguments.config
    parallel.initialise_distributed()
    mapper = parallel.make_mapper(config.parallel.backend, config.parallel.devices)
    check_batches(config, mapper)
    say = loop.to_stderr if mapper.process_index == 0 else loop.quiet
    data = open_data(config, say)
    say(f"run: {arguments.workdir}")
    return assemble(config, arguments.workdir, data, mapper, say)


def open_data(config: ConfigDict, say: Callable[[str], None]) -> Data:
    """Opens (and prepares, where it is the first time) both splits and their ground truth."""
    truth = ground_truth(config)  # before anything is decoded, where that can be
    train, test = open_split(config, "train", say), open_split(config, "test", say)
    truth = truth or ground_truth(config, test.lengths)
    if note := undefined(truth):
        say(f"warning: {note}")
    split = clips.split_videos(
        train.names,
        train.lengths,
        config.data.clip_frames,
        config.data.stride,
        config.data.validation_fraction,
    )
    if skipped := clips.report_skipped(train.names, train.lengths, split):
        say(skipped)
    if not len(split.train) or not len(split.validation):
        raise DataError(
            f"{train!r}: {len(split.train)} videos to train on and {len(split.validation)} held"
            " out, expected some of each; add videos or change data.validation_fraction"
        )
    return Data(train, test, truth, split)


def assemble(
    config: ConfigDict,
    workdir: Path,
    data: Data,
    mapper: parallel.Mapper,
    say: Callable[[str], None],
) -> Parts:
    """The parts of a run on data that was opened with the same config.data."""
    train, test = data.train.seen_by(config), data.test.seen_by(config)
    check_score(config, train)
    model = build_model(config, train.text_width)
    return Parts(config, workdir, train, test, data.truth, data.split, model, mapper, say)


def ground_truth(config: ConfigDict, lengths: Sequence[int] | None = None) -> Truth | None:
    """Labels and masks of the test split; without `lengths` (frames of each video) only where
    folders of frames tell them: None otherwise.

    Raises DataError where there is no ground truth, or it does not fit the frames.
    """
    root = set_root(config.data)
    folder = open_layout(config.data.layout, root)
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
            " (docs/data.md): give config.data.spans or data.masks, or score without labels by"
            " --mode=score"
        )
    return truth


def check_score(config: ConfigDict, data: ClipData) -> None:
    """Raises ConfigError for a score that could not be made in the end: no term that the model
    has, other weights than terms, none to be had."""
    cfg = config.score
    absent = {
        "pace": not config.model.pace,
        "flow": data.flow is None,
        "speed": data.flow is None,
        "semantic": data.text is None,
    }
    names = [name for name in cfg.terms if not absent.get(name)]
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


def evaluate_run(parts: Parts, which: str, started: float, reader: Reader | None = None) -> int:
    """Scores the test split, evaluates every protocol, writes results, scores and figures,
    prints the tables. Process 0 alone does it."""
    if parts.mapper.process_index:
        return 0
    config, train = parts.config, parts.train
    found = restore(
        config, parts.workdir, which, parts.model, train.features(0, 0), identity(train)
    )
    state, reader = found.state, reader or Reader(parts.mapper, parts.model, config)
    scorer = scorer_lib.make(config, train, parts.split, reader, state, parts.say)
    run_scorer.keep(run_scorer.scorer_path(config, parts.workdir, found.step), scorer, parts.say)
    readings = reader.read(state, parts.test, range(len(parts.test)), "scoring the test split")
    report = clip_report.Report(
        config,
        parts.workdir,
        parts.test,
        parts.truth,
        scorer.calibration,
        scorer.causal,
        scorer.chosen,
        readings,
        RULES.get(which, f"step {which}"),
        parts.mapper,
        started,
        (scorer.threshold(), scorer.threshold_rule()),
        data_of(parts),
    )
    clip_report.write(report, reader, state, parts.say)
    return 0
