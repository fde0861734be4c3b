"""The contract for scoring: what a trained model is asked of videos and of streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from gfvad.base.types import ScoredVideo
from gfvad.encoders.units import Picture, Sound
from gfvad.measure.score_result import UnitScore, VideoScores

if TYPE_CHECKING:  # jax, and what needs PyAV, are loaded by who uses them
    from gfvad.extraction.media import MediaInfo


class Request(NamedTuple):
    """What a command line asks of a trained model."""

    model: Path  # folder of a run, or of an artefact
    inputs: tuple[str, ...]
    out: Path | None  # folder of the scores; None: a stream that is not kept
    checkpoint: str = "last"
    threshold: float | None = None  # None: the model's own
    descriptions: str = ""  # JSON lines
    workers: int = -1  # processes that extract features; -1: one a core
    paths: Mapping[str, str] = {}  # modality -> where its encoder's file lies now


class VideoToScore(NamedTuple):
    """One video that inputs mean."""

    name: str
    path: str  # what it is called where it fails
    score: Callable[[], VideoScores]  # raises DataError, OSError, MemoryError


class VideosToScore(NamedTuple):
    """What inputs mean to a model."""

    videos: Sequence[VideoToScore]
    failed: Sequence[tuple[str, str]] = ()  # (path, reason) of what cannot be scored
    note: str = ""  # what was passed over
    interrupted: int = 0  # exit code of a preparation that was stopped


class Stream(Protocol):
    """A model that scores frames and sound as they come, in bounded memory."""

    @property
    def delay(self) -> str:
        """What a score waits for, in words."""
        ...

    def push(self, piece: Picture | Sound) -> list[UnitScore]:
        """One more frame or piece of sound: the units that it completed."""
        ...

    def finish(self) -> list[UnitScore]:
        """The end: the units that still waited."""
        ...


class StreamModel(NamedTuple):
    """A model that is ready for a stream, before the source is there."""

    side: int  # pixels of the long side of the frames that it wants
    threshold: float
    unit_frames: int  # frames of a unit
    start: Callable[[MediaInfo], Stream]  # given what the source says of itself
    culprit: bool = False  # whether its scores say what in the picture they come from
    rule: str = ""  # how the threshold was made; '': as the scorer says


class Scorer(Protocol):
    """A trained model opened for scoring: a run's, or an artefact's."""

    @property
    def kind(self) -> str:
        """Of its task."""
        ...

    @property
    def name(self) -> str:
        """'xd_violence, rgb + audio, seed 0, step 600'."""
        ...

    @property
    def path(self) -> str:
        """The folder of the run, or of the artefact."""
        ...

    @property
    def threshold(self) -> float:
        """A score of a video's unit from which on it is an alarm."""
        ...

    @property
    def threshold_rule(self) -> str:
        """How that threshold was made."""
        ...

    @property
    def alarm_gap(self) -> float:
        """Seconds below the threshold that do not end an alarm."""
        ...

    @property
    def contributors(self) -> tuple[str, ...]:
        """Names of what a score is made of: modalities or terms."""
        ...

    @property
    def bounded(self) -> bool:
        """Whether scores lie in [0, 1]."""
        ...

    def score(self, name: str, features: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
        """scores [N] of one video, and what belongs to them, by its features {modality: [N, D]}.
        Raises DataError, and ConfigError for a model of frames."""
        ...

    def find(self, request: Request, claim: Callable[[Iterable[str]], None]) -> VideosToScore:
        """The videos that the inputs of a request mean; claim(names) is called before any long
        work. Raises ConfigError and DataError."""
        ...

    def stream(self, request: Request) -> StreamModel:
        """The model ready for a stream. Raises ConfigError and DataError."""
        ...


class FrameScores(NamedTuple):
    """Frame scores of unlabelled videos."""

    videos: Sequence[ScoredVideo]
    lost: Mapping[str, str]  # name of a video without scores -> why
    missing: Mapping[str, Sequence[str]] = {}  # modality -> videos without it, () for all
