"""The contract for tasks: what commands may ask of a kind of run without knowing which it is.

A task is a module `gfvad/tasks/NAME/task.py` with these names. Its functions import what they need
when they are called, so that `--help` and the check of a configuration cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ml_collections import ConfigDict

from gfvad.settings.command_line import Arguments


class Scorer(Protocol):
    """A trained model opened for scoring videos one at a time."""

    @property
    def name(self) -> str:
        """'xd_violence, rgb + audio, seed 0, step 600'."""

    @property
    def path(self) -> str:
        """The folder of the run, or of the artefact."""

    @property
    def threshold(self) -> float:
        """A score from which on it is an alarm."""

    @property
    def threshold_rule(self) -> str:
        """How that threshold was made."""


class Task(Protocol):
    """A kind of run: from its settings to its scores."""

    kind: str  # value of config.kind

    def check(self, config: ConfigDict) -> None:
        """Refuses settings that cannot work together, by name (ConfigError). No device work."""

    def train(self, arguments: Arguments) -> int:
        """Trains a run (or goes on with it), then evaluates it. Returns the exit code."""

    def evaluate(self, arguments: Arguments) -> int:
        """Evaluates the checkpoints of a run again. Returns the exit code."""

    def evaluate_elsewhere(self, arguments: Arguments) -> int:
        """Evaluates a run on the test split of other data (arguments.data) into
        arguments.output. Returns the exit code."""

    def score_frames(self, arguments: Arguments) -> int:
        """Frame scores of arguments.input, without labels, as the one file arguments.output.
        Returns the exit code."""

    def open_scorer(self, model: Path, checkpoint: str = "last") -> Scorer:
        """The scorer of a run's folder, or of an artefact's. Raises ConfigError and DataError."""

    def export(
        self, workdir: Path, out: Path, checkpoint: str, platforms: Sequence[str]
    ) -> Mapping[str, Any]:
        """Writes a run as an artefact that scores without this package; returns its manifest.
        Raises ConfigError where a task has none."""

    def frame_labels(self, run: Path, config: ConfigDict) -> Mapping[str, np.ndarray]:
        """Ground truth of a run's test videos, video -> uint8 [T], from the data that its config
        names. Raises DataError where there is none."""
