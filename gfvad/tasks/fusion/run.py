"""A run of the fusion of feature sets, opened: its records, detector, checkpoints and what an
evaluation of it says (gfvad/tasks/task.py: OpenRun)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.progress import Progress
from gfvad.base.types import DataError, ScoredVideo
from gfvad.data import sampling, simulate, streams
from gfvad.data.features import layouts, records
from gfvad.data.features.dataset import SIMULATED, Source, fit_lengths, resolve
from gfvad.extraction import provenance
from gfvad.measure import calibration, finite, untrained
from gfvad.measure.frames import labels_from_spans
from gfvad.measure.paired import Beside
from gfvad.settings.command_line import Arguments
from gfvad.tasks.fusion import described_events, floors, judging, pictures, registry
from gfvad.tasks.fusion.elsewhere import source_of, training_part
from gfvad.tasks.fusion.evaluate import Evaluator, Indices, scored_videos
from gfvad.tasks.fusion.training import Training
from gfvad.tasks.job import RULES, require_checkpoints
from gfvad.tasks.task import Restored, Scored
from gfvad.train import loop
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.identity import ON, Learnt, learnt, on, skipped_text, stated
from gfvad.train.optim import make_optimiser
from gfvad.train.parallel import Mapper
from gfvad.train.state import TrainState, init_state

GRAPH_FUSION = "graph_fusion"  # config.model.name
# training videos (evenly over the split) whose scores give the mean and spread of the 'train'
# normalisation
STATISTICS_VIDEOS = 400
BANNER = """
  ##############################################################################################
  #  SIMULATED DATA. No features were given, so this run uses the embedded simulated set.        #
  #  Its numbers say nothing about the real {name:<52} #
  #  Real features: docs/data.md, then --config.data.root=FOLDER (require_real=True insists).    #
  ##############################################################################################
"""


@dataclass
class FusionRun:
    """A run of one config on its records."""

    config: ConfigDict
    workdir: Path
    source: Source
    train: Any  # Records; None where a run is evaluated on other data
    test: Any  # Records
    model: Any
    mapper: Mapper
    say: Callable[[str], None]
    origin: Path | None = None  # folder of the weights, where it is not `workdir`
    # training part of the weights, for floors alone; None where it is no longer there
    learnt_from: Any = None
    # what is made once of the records, for all settings and seeds of a group
    made: dict[Any, Any] = field(default_factory=dict, repr=False)
    # step -> scores of the test split
    known: dict[int, list[ScoredVideo]] = field(default_factory=dict, repr=False)

    @property
    def dataset(self) -> str:
        """As the source calls it, `-simulated` included."""
        return self.source.dataset

    @property
    def inputs(self) -> Sequence[str]:
        return self.config.data.modalities

    @property
    def splits(self) -> Mapping[str, Any]:
        return {n: x for n, x in (("train", self.train), ("test", self.test)) if x is not None}

    @property
    def identity(self) -> Learnt:
        return learnt(self.train)

    @cached_property
    def evaluator(self) -> Evaluator:
        """Scores videos; compiled once."""
        return Evaluator(self.mapper, self.model, self.config)

    def judged(self, config: ConfigDict) -> judging.Judged | None:
        """What sources say of the feature sets (made once); None where branches are learnt with
        the rest, and where there is no training part."""
        if self.train is None:
            return None
        judging.settle(config, len(self.train))
        if config.model.evidence != "sources" or config.model.name != GRAPH_FUSION:
            return None
        key = "evidence", config.loss.topk_divisor, config.data.source_pattern
        if key not in self.made:
            self.made[key] = judging.judge_run(config, self.train, self.source.root)
        return self.made[key]

    def statistics(self, config: ConfigDict) -> judging.Statistics:
        """Of the features, with linear branches where a config has them."""
        found = records.feature_stats(self.source.records, config.data.on_corrupt)
        if name := config.model.events.modality:
            events = described_events.embedded(config, len(found[name]["mean"]))
            found = {**found, name: {**found[name], described_events.STATISTIC: events}}
        judged = self.judged(config)
        return judging.with_branches(found, judged, config.data.standardize) if judged else found

    def training(self) -> Training:
        return Training(self.config, self.train, self.model, self.mapper, self.test, self.say)

    def keep(self) -> None:
        """Which encoders made the features."""
        provenance.keep_encoders(self.source.root, self.workdir)

    def content(self) -> dict[str, Any]:
        data = self.source.root or self.source.records
        return stated(**self.splits) | ({ON: on(self.origin, data)} if self.origin else {})

    def checkpoints(self, which: str) -> list[Restored]:
        """The weights asked for and, beside the last, the best on validation (and on test, where
        it was followed)."""
        config, folder = self.config, self.origin or self.workdir
        require_checkpoints(folder)
        rules = {which: RULES.get(which, f"step {which}")}
        if which == "last" and not self.origin:
            rules |= RULES
        if not config.eval.every_on_test:
            rules.pop("best_on_test", None)
        data = self.identity if self.train is not None else ""
        wanted = template(config, self.model, self.test.dims)
        with Checkpoints(folder / loop.CHECKPOINTS, config, data) as kept:
            found = [
                (rule, kept.restore(name, wanted))
                for name, rule in rules.items()
                if name == which or kept.step_of(name) is not None
            ]
        return [Restored(rule, restored.step, restored.state) for rule, restored in found]

    def evaluate(self, chosen: Restored) -> Scored:
        """Scores of the test split and, of training videos, their statistics."""
        if chosen.step not in self.known:
            label = f"scoring the test split ({chosen.rule})"
            videos = score_videos(self.evaluator, chosen.state, self.test, label)
            self.known[chosen.step] = videos
        videos, stats, alarm = self.known[chosen.step], None, None
        if self.origin:
            alarm = calibration.read_calibration(self.origin, chosen.step)
        elif self.mapper.process_count == 1:
            stats = self.training_statistics(chosen)
        return Scored(chosen.rule, videos, stats, chosen.step, alarm)

    def training_statistics(self, chosen: Restored) -> tuple[float, float]:
        """Mean and standard deviation of frame scores over (at most STATISTICS_VIDEOS, evenly
        chosen) training videos; of the last checkpoint's the alarm threshold too."""
        train, indices = self.train, statistics_indices(len(self.train))
        label = "scoring training videos for their statistics"
        scored = score_videos(self.evaluator, chosen.state, train, label, indices)
        lost = finite.divide(scored, lambda i: train[int(indices[i])].features)[1]
        if lost:
            some = "; ".join(f"{name}: {why}" for name, why in list(lost.items())[:3])
            raise DataError(f"{len(lost)} training videos have no usable scores: {some}")
        if chosen.rule == RULES["last"]:
            _, held_out = sampling.split_validation(
                train.names, train.labels, self.config.data.validation_fraction
            )
            names = {train.names[i] for i in held_out}
            calibration.write_calibration(self.workdir, chosen.step, scored, names)
        return spread_of_frames(scored)

    def features(self, index: int) -> Mapping[str, np.ndarray]:
        return self.test[index].features

    def records(self) -> list[dict[str, Any]]:
        return []

    def untrained(self, videos: Sequence[ScoredVideo]) -> dict[str, floors.Units]:
        """Unit scores of the floors by name (made once), and those of a layout that has some."""
        if "floors" not in self.made:
            train = self.learnt_from if self.train is None else self.train
            found, data = floors.of_splits(train, self.test), self.config.data
            if self.source.root is not None and layouts.LAYOUTS.find(data.layout).compares:
                found |= layouts.open_layout(data).untrained()
            self.made["floors"] = found
        return self.made["floors"] | floors.means_of_videos(videos, self.test)

    def about(self, videos: Sequence[ScoredVideo]) -> dict[str, Any]:
        """What sources say of the feature sets; floors, and other ground truths of a layout that
        has them (`measure/untrained.py`); the best that is possible on the simulated set."""
        source, found = self.source, {}
        if source.simulated and source.root is not None:
            found["bayes_optimal"] = simulate.report(source.root, self.config.data.modalities)
        judged = self.judged(self.config)
        of_sources = judging.told(judged) if judged else {"tables": []}
        if any(not len(v.labels) for v in videos):
            return found | of_sources
        truths = {}
        if layouts.LAYOUTS.find(self.config.data.layout).compares and source.root is None:
            self.say(
                "floors of the layout are left out: they are made from the files in"
                " config.data.root, and only config.data.records was given"
            )
        elif layouts.LAYOUTS.find(self.config.data.layout).compares:
            layout = layouts.open_layout(self.config.data)
            truths, found["ground_truth"] = layout.other_truths(), layout.ground_truth
        compared = floors.compared(videos, self.untrained(videos), truths, self.test)
        tables = [*of_sources["tables"], *compared["tables"]]
        return found | of_sources | compared | {"tables": tables}

    def beside(self, videos: Sequence[ScoredVideo]) -> Beside:
        """The floors, and each feature set alone where branches are linear."""
        if any(not len(v.labels) for v in videos):
            return Beside()
        judged = self.judged(self.config)
        singles = floors.singles(videos, judged.found.alone, self.test) if judged else {}
        return Beside(untrained.of_frames(videos, self.untrained(videos)), singles)

    def draw(self, chosen: Restored, videos: Sequence[ScoredVideo]) -> list[Path]:
        """Timelines, learning curves, a fused graph, coefficients, use of experts."""
        return pictures.draw_run(self, chosen.state, videos)


def open_run(arguments: Arguments, mapper: Mapper, say: Callable[[str], None]) -> FusionRun:
    """A run on the records that its config names."""
    source = resolve(arguments.config, say)
    fit_lengths(arguments.config, source)
    announce(source, say)
    return assemble(arguments.config, arguments.workdir, source, mapper, say)


def open_elsewhere(arguments: Arguments, mapper: Mapper, say: Callable[[str], None]) -> FusionRun:
    """A run with the test split of another folder, or of other prepared records."""
    assert arguments.data is not None and arguments.output is not None
    config = arguments.config.copy_and_resolve_references()
    source = source_of(config, arguments.data)
    test = open_split(config, source.records, "test")
    model = registry.build_model(config, test.dims, registry.unknown_stats(test.dims))
    config.data.root = str(source.root or "")
    config.data.records = "" if source.root else str(source.records)
    origin = arguments.workdir
    learnt_from = training_part(arguments.config, say)
    return FusionRun(
        config, arguments.output, source, None, test, model, mapper, say, origin, learnt_from
    )


def frame_labels(run: Path, config: ConfigDict) -> Mapping[str, np.ndarray]:
    """Frame labels of the videos of the test split of a run's data whose label is known, video ->
    uint8 [T]."""
    split = open_split(config, resolve(config, loop.quiet).records, "test")
    known = [video for video in map(split.meta, range(len(split))) if video.label >= 0]
    return {video.name: labels_from_spans(video.spans, video.num_frames) for video in known}


def video_classes(run: Path, config: ConfigDict) -> Mapping[str, tuple[str, ...]]:
    """Classes of the videos of the test split of a run's data."""
    split = open_split(config, resolve(config, loop.quiet).records, "test")
    return {v.name: tuple(v.classes) for v in (split.meta(i) for i in range(len(split)))}


def open_split(config: ConfigDict, folder: Path, split: str) -> Any:
    """Prepared records of a split, of the modalities of a config."""
    return records.open_records(folder, split, config.data.modalities, config.data.on_corrupt)


def announce(source: Source, say: Callable[[str], None]) -> None:
    """Says it where the data is simulated."""
    if source.simulated:
        say(BANNER.format(name=source.dataset.removesuffix(SIMULATED) + "."))


def assemble(
    config: ConfigDict, workdir: Path, source: Source, mapper: Mapper, say: Callable[[str], None]
) -> FusionRun:
    """A run whose data is found and whose lengths fit it."""
    train, test = (open_split(config, source.records, split) for split in ("train", "test"))
    for split in (train, test):
        if split.skipped:
            say(f"data: {skipped_text(split)}")
    run = FusionRun(config, workdir, source, train, test, None, mapper, say)
    if judged := run.judged(config):
        judging.say_judged(judged, say)
    run.model = registry.build_model(config, train.dims, run.statistics(config))
    return run


def template(config: ConfigDict, model: Any, widths: Mapping[str, int]) -> TrainState:
    """A state of the right shapes, to restore into."""
    transform = make_optimiser(config.optim, config.train.steps).transform
    example = streams.example_features(widths, config.data)
    return init_state(model, transform, example, config.seed, config.train.members)


def score_videos(
    evaluator: Evaluator, state: TrainState, split: Any, label: str, indices: Indices | None = None
) -> list[ScoredVideo]:
    """Frame scores of the videos of a split (None: all), with progress."""
    indices = range(len(split)) if indices is None else indices
    with Progress(len(indices), label) as progress:
        scores = evaluator.unit_scores(state, split, indices, progress.advance)
    return list(scored_videos(scores, split, indices))


def statistics_indices(videos: int) -> np.ndarray:
    """The videos of a training split of that many that `training_statistics` looks at."""
    return np.unique(np.linspace(0, videos - 1, min(videos, STATISTICS_VIDEOS)).round().astype(int))


def spread_of_frames(videos: Sequence[ScoredVideo]) -> tuple[float, float]:
    """Mean and standard deviation over all frame scores."""
    frames = np.concatenate([v.scores.astype(np.float32) for v in videos])
    return float(frames.mean(dtype=np.float64)), float(frames.std(dtype=np.float64))
