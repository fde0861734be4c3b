"""Calibrates a trained model on normal units that it does not know by heart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.progress import Progress
from gfvad.measure import false_alarms
from gfvad.tasks.job import require_checkpoints
from gfvad.tasks.novelty.known import KnownStates
from gfvad.tasks.novelty.opened import OpenedModel, keep, restore
from gfvad.tasks.novelty.readers import reader_of
from gfvad.tasks.novelty.registry import comparator_of
from gfvad.tasks.novelty.score import calibrate
from gfvad.tasks.novelty.training import Training


def calibrated(
    config: ConfigDict,
    workdir: Path,
    which: str,
    training: Training,
    say: Callable[[str], None],
    known: KnownStates | None = None,
) -> OpenedModel:
    """The model of a checkpoint, calibrated on its training videos, each compared with the others;
    what it is calibrated by is kept. known: of runs on the same videos."""
    require_checkpoints(workdir)
    restored = restore(config, workdir, which, training.model, training.identity)
    mapper, cameras = training.mapper, training.units.cameras
    reader, state = reader_of(config, mapper, training.model, restored.state, compared=True)
    columns = len(reader.columns)
    start = np.zeros((1, columns)), np.ones((1, columns)), 1.0
    found = OpenedModel(
        config, restored.step, state, reader, reader.columns, *start, cameras, 0.0, ""
    )
    found.known = known and known.of(state, reader.model)
    if known and reader.floors:
        found.beside = known.floors.of(reader.beside_of(state), reader.floors.model)
    videos, held = training.videos, training.calibration()
    counts = [len(videos.tracks[each.index].frame) for each in held]
    with Progress(sum(counts), "calibrating", "units") as progress:
        novelty = [
            found.read(videos, each.index, videos.parts[each.index], progress.advance)
            for each in held
        ]
    every = np.concatenate([n[each.units] for n, each in zip(novelty, held, strict=True)])
    group = np.concatenate([videos.units(each.index).group[each.units] for each in held])
    fitted = calibrate(every, group, np.ones(columns))
    adds = found.compares and comparator_of(config).adds
    own = calibrate(every[:, : found.terms], group, found.weights, adds)
    found.centre, found.spread, found.scale = fitted.centre, fitted.spread, own.scale
    if adds:
        found.spread[:, : found.terms] = own.spread

    def normal(past: bool) -> list[false_alarms.Normal]:
        scores = [
            found.score_of(n, videos, each.index, past).score[each.frames]
            for n, each in zip(novelty, held, strict=True)
        ]
        rates = [videos.fps(each.index) for each in held]
        return [false_alarms.Normal(*each) for each in zip(scores, rates, strict=True)]

    scores = normal(past=False)
    asked = config.score.false_alarms, config.score.alarm_gap
    rate = false_alarms.for_rate(scores, *asked)
    found.threshold, found.threshold_rule = rate
    found.measured = str(false_alarms.crossed(scores, *asked))
    live = false_alarms.for_rate(normal(past=True), *asked)
    found.causal = live.threshold, live.rule
    keep(workdir, found)
    say(f"threshold: {rate.threshold:.3g}, {rate.rule}; measured: {found.measured}")
    return found
