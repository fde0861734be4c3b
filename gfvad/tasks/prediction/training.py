"""The predictive model as gfvad/train/run.py trains it: its data, its start, and how it is followed
on held-out videos."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from gfvad.data import pipeline, streams
from gfvad.data.frames.clip_data import ClipData, TrainingClips
from gfvad.tasks.prediction import step as step_lib
from gfvad.tasks.prediction.frame_errors import Reader
from gfvad.tasks.prediction.trained import identity, split_of
from gfvad.train.checkpoint import VALIDATION
from gfvad.train.parallel import Mapper
from gfvad.train.run import Evaluation
from gfvad.train.state import TrainState, init_from

VALIDATION_CLIPS = 128  # held-out clips, evenly chosen, that training is followed on


class Training:
    """A predictive model with the clips it learns from (gfvad/train/run.py: Trainable)."""

    train_step = staticmethod(step_lib.train_step)

    def __init__(
        self,
        config: ConfigDict,
        data: ClipData,
        model: nn.Module,
        mapper: Mapper,
        say: Callable[[str], None],
    ):
        """data: the training split."""
        self.config, self.data, self.model, self.mapper, self.say = config, data, model, mapper, say
        split = split_of(config, data)
        self.training, self.validation = split.train, split.validation
        self.names, self.identity = data.names, identity(data)

    @cached_property
    def reader(self) -> Reader:
        """Runs the model; compiled once."""
        return Reader(self.mapper, self.model, self.config)

    def initial(self, transform: Any, seed: int) -> TrainState:
        example = (self.data.features(0, 0),)
        return init_from(self.model, transform, example, seed, self.config.train.members)

    def batches(self, seed: int) -> pipeline.TrainIterator:
        """Batches of clips that have all their frames, with faster ones beside them."""
        source = TrainingClips(self.data, self.training.tolist(), seed)
        process = self.mapper.process_index, self.mapper.process_count
        stream = streams.ClipStream(source, self.config.train.batch_size, seed, process)
        return pipeline.TrainIterator(stream, self.config.data.workers)

    def evaluate(self, state: TrainState, step: int) -> Evaluation:
        """Errors of the predictions on held-out clips."""
        values = self.reader.errors(state, self.data, self.validation, VALIDATION_CLIPS)
        told = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
        self.say(f"validation: step {step}, {told}")
        return Evaluation({"validation": values}, {VALIDATION: -sum(values.values())})
