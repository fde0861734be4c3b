"""The contract for tasks: what commands may ask of a kind of run without knowing which it is.

A task is a folder `gfvad/tasks/NAME` whose files have these functions (`gfvad/tasks/__init__.py`
says which file has which). A file is imported when a function of it is asked for, so that `--help`
costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import ScoredVideo
from gfvad.measure.explained import Explained, Removal
from gfvad.measure.paired import Beside
from gfvad.settings.command_line import Arguments
from gfvad.tasks.scoring import FrameScores, Scorer

if TYPE_CHECKING:  # jax, and what needs PyAV, are loaded by who uses them
    from gfvad.train.identity import Learnt
    from gfvad.train.parallel import Mapper
    from gfvad.train.run import Evaluation, Outline, Place, Trainable
    from gfvad.train.state import TrainState


class Restored(NamedTuple):
    """Weights to evaluate, and the rule that chose them."""

    rule: str  # last | validation-best | best-on-test | step N
    step: int  # of the checkpoint
    state: TrainState


class Scored(NamedTuple):
    """Frame scores of the test split by the weights that a rule chose."""

    rule: str
    videos: list[ScoredVideo]
    # mean and standard deviation of frame scores on training videos
    statistics: tuple[float, float] | None = None
    # of the checkpoint, whose alarm threshold is used; -1 for weights that were not calibrated
    step: int = -1
    # that threshold and how it was made; None: as the folder has it
    alarm: tuple[float, str] | None = None


class OpenRun(Protocol):
    """A run whose data is found and whose devices are known: what `gfvad/tasks/job.py` drives."""

    config: ConfigDict
    workdir: Path  # where results are written
    mapper: Mapper
    say: Callable[[str], None]

    @property
    def dataset(self) -> str:
        """Name of the data in results."""
        ...

    @property
    def inputs(self) -> Sequence[str]:
        """What the model sees, in words: the label of the run in tables."""
        ...

    @property
    def splits(self) -> Mapping[str, Any]:
        """train, test: what is learnt from and evaluated on, by content (train/identity.py); no
        test where there is no labelled test split: nothing is evaluated then."""
        ...

    @property
    def identity(self) -> Learnt:
        """What is learnt from, for checkpoints."""
        ...

    def training(self) -> Trainable:
        """The data, start and step of training."""
        ...

    def keep(self) -> None:
        """Leaves beside config.json what opening the run again needs."""
        ...

    def content(self) -> dict[str, Any]:
        """What results.json says of the data, {"content": {split: digests}, ...}."""
        ...

    def checkpoints(self, which: str) -> Sequence[Restored]:
        """The weights to evaluate: those of `which` (last, best, a step) first. Raises DataError
        where there are none."""
        ...

    def evaluate(self, chosen: Restored) -> Scored:
        """Scores the test split by some weights; every process must call it. Without a test split:
        no videos, but whatever scoring needs besides the weights is made and kept, and the
        threshold of alarms is said."""
        ...

    def features(self, index: int) -> Mapping[str, np.ndarray]:
        """Of a test video, to explain scores that are not finite; {} where they explain nothing."""
        ...

    def records(self) -> list[dict[str, Any]]:
        """Records of results.json besides those of every protocol, of what was evaluated last."""
        ...

    def about(self, videos: Sequence[ScoredVideo]) -> dict[str, Any]:
        """What results.json says besides, tables among it; of no videos where there is no test
        split."""
        ...

    def beside(self, videos: Sequence[ScoredVideo]) -> Beside:
        """Frame scores of the floors and of each feature set alone, of what was evaluated last."""
        ...

    def draw(self, chosen: Restored, videos: Sequence[ScoredVideo]) -> list[Path]:
        """Draws the figures of a run; returns their paths."""
        ...


class GroupProgram(Protocol):
    """Settings and seeds trained side by side in one program (gfvad/ablation/program.py)."""

    def run_state(self, group: Any, seed: int, setting: int) -> TrainState:
        """The state of one run (host), out of the group's. Args: indices."""
        ...

    def one_setting(self, group: Any, setting: int) -> Any:
        """The part of a group's state (host) that is one setting's."""
        ...

    def of_every_run(
        self, function: Callable[..., Any], together: Callable[[Any], int]
    ) -> Callable[[Any, Any], Any]:
        """function(state, batch, *, model) -> array, as a function of a group's state: the array
        gets axes [U, K] of seeds and settings at its end. together: batch -> how many settings are
        computed side by side."""
        ...


class RunFolder(NamedTuple):
    """A run of an ablation whose results are to be written; its checkpoints are there."""

    place: Place  # (seed, setting): indices in its group
    config: ConfigDict
    folder: Path
    rules: Mapping[str, str]  # last | validation-best -> the state that it chose: last | best
    seconds: float  # that it took


class SettingGroup(Protocol):
    """The K settings of a group, ready to be trained."""

    @property
    def tasks(self) -> Sequence[Trainable]:
        """One a setting, of the same structure."""
        ...

    def evaluate(
        self, program: GroupProgram, state: Any, step: int, places: Sequence[Place]
    ) -> Mapping[Place, Evaluation]:
        """Follows some runs, (seed, setting), on what is held out. state: of the group."""
        ...

    def judge(
        self, program: GroupProgram, states: Mapping[str, Any]
    ) -> Callable[[RunFolder], None]:
        """What writes the results of a run. states: last and, where it is needed, best -> of the
        group."""
        ...


class SweepData(Protocol):
    """The data that settings of an ablation share, found and checked."""

    dataset: str

    def fit(self, config: ConfigDict) -> None:
        """Sets what of a setting follows from the data. Raises ConfigError where it cannot be
        used."""
        ...

    def announce(self, say: Callable[[str], None]) -> None:
        """Says what must not be overlooked about the data."""
        ...

    def content(self, config: ConfigDict) -> Mapping[str, Mapping[str, str]]:
        """Split -> part -> digest."""
        ...

    def group(
        self, configs: Sequence[ConfigDict], mapper: Mapper, say: Callable[[str], None]
    ) -> SettingGroup:
        """Settings of one structure."""
        ...


class Task(Protocol):
    """A kind of run: from its settings to its scores."""

    kind: str  # value of config.kind
    comparison: str  # sweep of its models and of those that a user would pick instead
    # (name, default weight) -> decorator of the function of a new loss term, by the task's terms
    register_loss: Callable[..., Any]

    def check(self, config: ConfigDict) -> None:
        """Refuses settings that cannot work together, by name (ConfigError). No device work."""
        ...

    def open_run(self, arguments: Arguments, mapper: Mapper, say: Callable[[str], None]) -> OpenRun:
        """Data, model and devices of a run; everything that can be wrong with the input is wrong
        here, before any long work."""
        ...

    def outline(self, config: ConfigDict, widths: Mapping[str, int]) -> Outline:
        """Model and steps of a checked config without data, for features of some widths (those
        that are not given: usual ones). Raises ConfigError."""
        ...

    def open_elsewhere(
        self, arguments: Arguments, mapper: Mapper, say: Callable[[str], None]
    ) -> OpenRun:
        """A run with other data to test it on: arguments.data, into arguments.output."""
        ...

    def frame_scores(self, arguments: Arguments) -> FrameScores:
        """Frame scores of arguments.input, without labels, on all devices of this machine."""
        ...

    def open_scorer(self, model: Path, checkpoint: str = "last") -> Scorer:
        """The scorer of a run's folder, or of an artefact's. Raises ConfigError and DataError."""
        ...

    def export(
        self, workdir: Path, out: Path, checkpoint: str, platforms: Sequence[str]
    ) -> Mapping[str, Any]:
        """Writes a run as an artefact, which scores as the run does; returns its manifest. Raises
        ConfigError where a model has none."""
        ...

    def frame_labels(self, run: Path, config: ConfigDict) -> Mapping[str, np.ndarray]:
        """Ground truth of a run's test videos, video -> uint8 [T], from the data that its config
        names. Raises DataError where there is none."""
        ...

    def video_classes(self, run: Path, config: ConfigDict) -> Mapping[str, tuple[str, ...]]:
        """Classes of a run's test videos, () of normal ones. Raises DataError where the task's data
        has none."""
        ...

    def kept_weights(self, run: OpenRun, which: str) -> Restored:
        """As `OpenRun.checkpoints`, the one asked for, with what was kept beside it: nothing is
        made anew, nothing written."""
        ...

    def score_test(self, run: OpenRun, chosen: Restored) -> list[ScoredVideo]:
        """Frame scores of the test split of an opened run by `kept_weights`, made anew each time:
        what a comparison of speeds times."""
        ...

    def explain(
        self, run: OpenRun, chosen: Restored, index: int, at: float | None = None
    ) -> Explained:
        """What a score of test video `index` of an opened run comes from, `at` so many seconds
        (None: where it is highest). Raises DataError for another time than the video's."""
        ...

    def without_causes(self, run: OpenRun, chosen: Restored, index: int) -> Removal:
        """How far the highest score of that video falls without the named causes."""
        ...

    def sweep_data(self, config: ConfigDict, say: Callable[[str], None]) -> SweepData:
        """The data of settings whose config.data is equal, for an ablation. Raises DataError."""
        ...
