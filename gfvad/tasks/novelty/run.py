"""A run of graph novelty, opened: its videos, bank, checkpoints and what an evaluation of it says
(gfvad/tasks/task.py: OpenRun)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.fetched import local_folder
from gfvad.base.names import some
from gfvad.base.progress import Progress
from gfvad.base.types import DataError, ScoredVideo
from gfvad.data.unit_videos import UnitVideos
from gfvad.data.units.layouts import LAYOUTS
from gfvad.extraction import provenance
from gfvad.figures import curves
from gfvad.measure.frames import spans_of
from gfvad.measure.paired import Beside
from gfvad.settings.command_line import Arguments
from gfvad.settings.kinds import default_config
from gfvad.tasks.job import RULES
from gfvad.tasks.novelty import floors, opened
from gfvad.tasks.novelty.calibrating import calibrated
from gfvad.tasks.novelty.compared_training import ComparedTraining
from gfvad.tasks.novelty.known import KnownStates
from gfvad.tasks.novelty.opened import OpenedModel
from gfvad.tasks.novelty.registry import is_comparator
from gfvad.tasks.novelty.training import Training, UnitsOf
from gfvad.tasks.task import Restored, Scored
from gfvad.train.identity import ON, Learnt, learnt, on, stated
from gfvad.train.parallel import Mapper

METRICS = "metrics.jsonl"


@dataclass
class NoveltyRun:
    """A run of one config on its tracks."""

    config: ConfigDict
    workdir: Path
    train: UnitVideos | None  # None where a run is evaluated on other data
    test: UnitVideos | None  # None where there is no labelled test split
    mapper: Mapper
    say: Callable[[str], None]
    origin: Path | None = None  # folder of the weights, where it is not `workdir`
    found: OpenedModel | None = field(default=None, repr=False)
    # of other runs on the same videos: what was compared, and their units
    known: KnownStates | None = field(default=None, repr=False)
    units: UnitsOf | None = field(default=None, repr=False)
    # of the units of each test video [n, columns], as they were evaluated
    novelty: list[np.ndarray] = field(default_factory=list, repr=False)

    @classmethod
    def open(cls, arguments: Arguments, mapper: Mapper, say: Callable[[str], None]) -> NoveltyRun:
        """A run on the set that its config names."""
        train, test = open_splits(arguments.config, say)
        return cls(arguments.config, arguments.workdir, train, test, mapper, say)

    def at(self, config: ConfigDict, workdir: Path) -> NoveltyRun:
        """A run on the same units with settings of the same structure, in another folder."""
        found = replace(self, config=config, workdir=workdir, found=None, novelty=[])
        vars(found)["_training"] = self._training
        return found

    @classmethod
    def elsewhere(
        cls, arguments: Arguments, mapper: Mapper, say: Callable[[str], None]
    ) -> NoveltyRun:
        """A run with the test split of another folder."""
        assert arguments.data is not None and arguments.output is not None
        config = arguments.config.copy_and_resolve_references()
        config.data.root = str(arguments.data)
        config.data.test = config.data.test or default_config("novelty").data.test
        test = open_test(config, arguments.data)
        if test is None:
            raise DataError(
                f"{arguments.data}: no labelled test split; expected one to evaluate on"
            )
        found = opened.open_model(
            arguments.workdir, arguments.checkpoint, mapper, arguments.config, compared=True
        )
        refuse_unknown_cameras(test, set(found.cameras))
        return cls(config, arguments.output, None, test, mapper, say, arguments.workdir, found)

    @property
    def dataset(self) -> str:
        """As the config calls it."""
        return self.config.data.dataset

    @property
    def inputs(self) -> Sequence[str]:
        """The feature sets."""
        return self.config.data.modalities

    @property
    def splits(self) -> Mapping[str, UnitVideos]:
        """The videos of each split."""
        return {n: x for n, x in (("train", self.train), ("test", self.test)) if x is not None}

    @property
    def identity(self) -> Learnt:
        """Of the videos of training."""
        assert self.train is not None
        return learnt(self.train)

    @cached_property
    def _training(self) -> Training:
        assert self.train is not None
        made = self.config, self.train, self.mapper, self.say, self.units
        return ComparedTraining(*made) if is_comparator(self.config) else Training(*made)

    def training(self) -> Training:
        """The bank, and how its numbers are fitted."""
        return self._training

    def keep(self) -> None:
        """Which encoders made the features, where there are such; the bank is in every
        checkpoint."""
        if self.config.data.layout == "features":
            provenance.keep_encoders(set_root(self.config), self.workdir)

    def content(self) -> dict[str, Any]:
        """Digests of the tracks, and which run was evaluated where it is another folder's."""
        found = stated(**self.splits)
        return found | ({ON: on(self.origin, set_root(self.config))} if self.origin else {})

    def checkpoints(self, which: str) -> list[Restored]:
        """The weights asked for; the model is calibrated with them where it was not yet."""
        found = self.found
        if found is None:
            found = calibrated(
                self.config, self.workdir, which, self._training, self.say, self.known
            )
            self.found = found
        return [Restored(RULES.get(which, f"step {which}"), found.step, found.state)]

    @property
    def model(self) -> OpenedModel:
        """The calibrated model of `checkpoints`."""
        assert self.found is not None
        return self.found

    def evaluate(self, chosen: Restored) -> Scored:
        """Scores of the frames of the test split."""
        return Scored(
            chosen.rule,
            self._score(self.model, self.test) if self.test is not None else [],
            None,
            chosen.step,
            (self.model.threshold, self.model.threshold_rule),
        )

    def _score(self, model: OpenedModel, test: UnitVideos) -> list[ScoredVideo]:
        labels, found = test.labels, []
        assert labels is not None
        self.novelty = []
        with Progress(len(test), "scoring the test split") as progress:
            for i, name in enumerate(test.names):
                self.novelty.append(model.read(test, i))
                scores = model.score_of(self.novelty[-1], test, i).score
                spans = spans_of(labels[i])
                found.append(scored(name, scores, labels[i], spans, test.fps(i)))
                progress.advance()
        return found

    def features(self, index: int) -> Mapping[str, np.ndarray]:
        """Of a test video."""
        return {} if self.test is None else self.test.features(index)

    def records(self) -> list[dict[str, Any]]:
        """None besides those of every protocol."""
        return []

    def about(self, videos: Sequence[ScoredVideo]) -> dict[str, Any]:
        """The fitted numbers; where there is a test split, the floors, and each feature set alone
        in this model."""
        found: dict[str, Any] = {
            "fit": self.model.fit(),
            "normal_video": {"measured": self.model.measured},
        }
        if self.test is None:
            return found
        return found | floors.said(self.beside(videos), videos)

    def beside(self, videos: Sequence[ScoredVideo]) -> Beside:
        """The floors, and each feature set alone in this model."""
        if self.test is None:
            return Beside()
        return floors.frame_scores_beside(self.model, self.test, self.novelty)

    def draw(self, chosen: Restored, videos: Sequence[ScoredVideo]) -> list[Path]:
        """Timelines and learning curves."""
        folder, log = self.workdir / "figures", self.workdir / METRICS
        timelines, at = folder / "score_timelines.png", self.model.threshold
        drawn = [curves.score_timelines(videos, self.dataset, timelines, at)] if videos else []
        if log.is_file():
            rows = curves.read_log(log)
            drawn.append(curves.learning_curves(rows, self.dataset, folder / "learning_curves.png"))
        return drawn


def open_splits(
    config: ConfigDict, say: Callable[[str], None]
) -> tuple[UnitVideos, UnitVideos | None]:
    """(normal videos, the labelled test split; None where there is none) of the set that a config
    names."""
    root = set_root(config)
    found = LAYOUTS[config.data.layout].find(config.data.dataset, root, config.data)
    say(f"data: {root}; {found.rule}")
    test = found.test() if found.test else None
    train = found.train()
    if test is not None:
        refuse_unknown_cameras(test, set(train.cameras))
    return train, test


def open_test(config: ConfigDict, root: Path) -> UnitVideos | None:
    """The labelled test split of a set; None where there is none. Raises DataError where it is
    named and not there."""
    found = LAYOUTS[config.data.layout].find(config.data.dataset, root, config.data)
    return found.test() if found.test else None


def scored(
    name: str, scores: np.ndarray, labels: np.ndarray, spans: np.ndarray, fps: float
) -> ScoredVideo:
    """Frame scores of a video whose frames are labelled, or of one without labels."""
    kind = int(labels.any()) if len(labels) else -1
    classes = ("abnormal",) if kind == 1 else ()
    return ScoredVideo(name, scores, labels, kind, classes, spans, classes * len(spans), 1, fps)


def set_root(config: ConfigDict) -> Path:
    """The folder of a set. Raises DataError where it is not named or not there."""
    root = local_folder(config.data.root)
    if not config.data.root or not root.is_dir():
        raise DataError(
            f"config.data.root = {config.data.root!r}: not a folder; expected that of the set, with"
            " the normal videos in it: give --config.data.root=FOLDER"
        )
    return root


def refuse_unknown_cameras(videos: UnitVideos, known: set[str]) -> None:
    """Raises DataError for a video of a camera that no normal video is of."""
    new = sorted(
        name
        for name, camera in zip(videos.names, videos.cameras, strict=True)
        if camera not in known
    )
    if new:
        raise DataError(
            f"{len(new)} videos are of cameras without normal video: {some(new)}; expected names"
            f" that begin with one of {some(sorted(known))} (data.camera_characters ="
            f" {videos.cfg.camera_characters}): add normal video of them, or set it to 0"
        )
