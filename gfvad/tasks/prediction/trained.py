"""A trained run of the predictive model opened for scoring: with the rule of its scores that was
kept beside it, or, without one, with its training set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames import clips
from gfvad.data.frames.clip_data import ClipData, open_split
from gfvad.settings import config as config_lib
from gfvad.settings.kinds import kind_of
from gfvad.tasks import check
from gfvad.tasks.prediction import score_rule
from gfvad.tasks.prediction.frame_errors import Reader
from gfvad.tasks.prediction.registry import build_model
from gfvad.tasks.prediction.score_rule import ScoreRule
from gfvad.train import loop, parallel
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.identity import Learnt
from gfvad.train.optim import make_optimiser
from gfvad.train.parallel import Mapper
from gfvad.train.run_settings import as_json, hash_of, training_leaves
from gfvad.train.state import TrainState, shapes_from

PRESENTATION = ("score.floors", "score.clip_seconds")  # what no score depends on
# written with each checkpoint, with the time of its saving in it
CHECKPOINT_MARK = "_CHECKPOINT_METADATA"

Say = Callable[[str], None]


class Found(NamedTuple):
    """A checkpoint of a run, before its weights are read, with one of what its scores are made
    of: the kept rule, or the training set."""

    config: ConfigDict
    workdir: Path
    step: int
    path: Path  # where the rule lies or will lie
    scorer: ScoreRule | None
    train: ClipData | None

    @property
    def text_width(self) -> int:
        """Width of the embeddings of descriptions; 0 for a model that reads none."""
        return (self.scorer or self.training_set).text_width

    @property
    def flow_size(self) -> tuple[int, int]:
        """(height, width) in pixels that flow was taken at in training; (0, 0) without flow."""
        return self.scorer.flow_size if self.scorer else score_rule.flow_size(self.training_set)

    @property
    def training_set(self) -> ClipData:
        """It, where no rule was kept."""
        assert self.train is not None
        return self.train


class TrainedModel(NamedTuple):
    """All that scoring needs."""

    config: ConfigDict
    workdir: Path
    step: int
    reader: Reader
    state: TrainState
    scorer: ScoreRule

    @property
    def name(self) -> str:
        """'ped2, frames + flow (no_text), seed 0, step 300'."""
        config = self.config
        inputs = ["frames"] + ["flow"] * bool(config.data.flow)
        inputs += ["descriptions"] * bool(self.scorer.text_width)
        variant = f" ({config.variant})" if config.variant else ""
        read = f"{config.data.dataset}, {' + '.join(inputs)}{variant}"
        return f"{read}, seed {config.seed}, step {self.step}"


def open_trained(
    workdir: str | Path, checkpoint: str = "last", say: Say = loop.to_stderr
) -> TrainedModel:
    """A run on one device: with its scorer-*.npz, else with one that is made (and kept) from the
    training videos of its config, which takes a minute or more.

    Raises ConfigError for a folder that is no run's, or one of another kind of model or on frozen
    tokens; DataError without a checkpoint or the training videos.
    """
    workdir = Path(workdir).expanduser()
    config = config_lib.load(str(workdir))
    path = workdir / config_lib.CONFIG
    if (kind := kind_of(config)) != "predictive":
        raise ConfigError(
            f"{path}: kind {kind!r}, expected 'predictive': this run scores features, not frames"
        )
    with config_lib.stored(workdir):
        check(config)
    if config.data.vision != "patches":
        raise ConfigError(
            f"{path}: data.vision = {config.data.vision!r}; expected 'patches': score by gfvad"
            " --mode=score, which makes the tokens first"
        )
    found = find(config, workdir, checkpoint, say)
    return complete(found, parallel.make_mapper(config.parallel.backend, 1), say)


def find(
    config: ConfigDict, workdir: Path, which: str, say: Say, train: ClipData | None = None
) -> Found:
    """The checkpoint `which` (last, best, a step) of a run with the rule of its scores, or else
    with its training set, opened. train: where it is open, the rule is to be made anew.

    Raises DataError where there is no such checkpoint, or neither of the two can be had;
    ConfigError where the checkpoint is of another config.
    """
    with Checkpoints(workdir / loop.CHECKPOINTS, config) as kept:
        step = kept.require(which)
    path = scorer_path(config, workdir, step)
    if train is not None:
        return Found(config, workdir, step, path, None, train)
    if scorer := score_rule.read_rule(path):
        say(f"scorer: {path}, no training set needed")
        return Found(config, workdir, step, path, scorer, None)
    others = ", ".join(p.name for p in sorted(workdir.glob("scorer-*.npz")))
    belong = f"{others} belong to other checkpoints or settings of the score"
    reason = belong if others else "none is kept"
    say(f"scorer: {reason}, made from the training videos")
    try:
        return Found(config, workdir, step, path, None, open_split(config, "train", say))
    except DataError as error:
        raise DataError(
            f"{workdir}: no scorer of step {step} ({reason}), and the training videos that it is"
            f" made from cannot be opened: {error}. Either set config.data.root, or evaluate the"
            " run once where they are (gfvad evaluate) and copy its scorer-*.npz"
        ) from None


def scorer_path(config: ConfigDict, workdir: Path, step: int) -> Path:
    """The name of the rule's file says which checkpoint (also of which training) and which
    settings of the score it was made for."""
    made = (workdir / loop.CHECKPOINTS / str(step) / CHECKPOINT_MARK).read_bytes()
    leaves = training_leaves(config) | {"": hashlib.sha256(made).hexdigest()}
    scoring = lambda setting: setting.key.startswith("score.") and setting.key not in PRESENTATION
    leaves |= as_json(config_lib.telling(config, scoring))
    return score_rule.path_of(workdir, step, hash_of(leaves))


def complete(found: Found, mapper: Mapper, say: Say) -> TrainedModel:
    """Reads the weights, and makes the rule where it was not kept."""
    config, scorer = found.config, found.scorer
    model = build_model(config, found.text_width)
    example = scorer.example() if scorer else found.training_set.features(0, 0)
    transform = make_optimiser(config.optim, config.train.steps).transform
    shapes = shapes_from(model, transform, (example,), config.train.members)
    data = identity(found.train) if found.train else ""
    with Checkpoints(found.workdir / loop.CHECKPOINTS, config, data) as kept:
        # half of it, and no part of scoring
        state = kept.restore(str(found.step), shapes).state._replace(opt_state=())
    reader = Reader(mapper, model, config)
    if scorer is None:
        train = found.training_set
        scorer = score_rule.make_rule(config, train, split_of(config, train), (reader, state), say)
        try:
            score_rule.write_rule(found.path, scorer)
        except (OSError, DataError) as error:  # of a folder that is only read
            reason = getattr(error, "strerror", None) or error
            say(
                f"scorer: {found.path} cannot be written ({reason}), so the next scoring needs the"
                " training videos too"
            )
    return TrainedModel(config, found.workdir, found.step, reader, state, scorer)


def split_of(config: ConfigDict, train: ClipData) -> clips.Parts:
    """Which training videos are learnt from, and which are held out; with a fraction of 0 the same
    ones stand for those that are held out."""
    data, lengths = config.data, train.lengths.tolist()
    part = data.validation_fraction
    found = clips.split_videos(train.names, lengths, data.clip_frames, data.stride, part)
    return found if part else found._replace(validation=found.train)


def identity(data: ClipData) -> Learnt:
    """What a run learns from, for its checkpoints."""
    name = f"{data!r}, text {data.text_width}, tokens {data.tokens is not None}"
    return Learnt(name, data.content)
