"""The fusion of feature sets as gfvad/train/run.py trains it: its data, its start, and how it is
followed on held-out videos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import DataError
from gfvad.data import glances, pipeline, sampling, streams
from gfvad.fusion.coefficients import constrained
from gfvad.measure import metrics
from gfvad.tasks.fusion import evaluate
from gfvad.tasks.fusion import step as step_lib
from gfvad.train.checkpoint import TEST, VALIDATION
from gfvad.train.identity import learnt
from gfvad.train.loop import quiet, to_stderr
from gfvad.train.parallel import Mapper
from gfvad.train.run import Evaluation
from gfvad.train.state import TrainState, first_member, init_state

FUSION = "fusion"  # name of the fusion operator among the parameters


class Training:
    """A detector of one video with the records it learns from (gfvad/train/run.py: Trainable)."""

    train_step = staticmethod(step_lib.train_step)

    def __init__(
        self,
        config: ConfigDict,
        records: Any,
        model: Any,
        mapper: Mapper,
        test_records: Any | None = None,
        say: Callable[[str], None] | None = None,
    ):
        """Args: records: the training split (gfvad/data/features/records.py); test_records: the
        test split, looked at only with config.eval.every_on_test, for the extra named best-on-test;
        say: where progress goes (standard error of process 0).

        Raises DataError unless there are normal and abnormal videos to learn from.
        """
        self.config, self.model, self.mapper, self.records = config, model, mapper, records
        self.names, self.identity = records.names, learnt(records)
        self.say = quiet if mapper.process_index else say or to_stderr
        self.training, self.validation = sampling.split_validation(
            records.names, records.labels, config.data.validation_fraction
        )
        check_videos(records, self.training)
        self.followed = test_records if config.eval.every_on_test else None
        self.glances = None
        if path := glances.glances_path(config.data):
            self.glances = glances.of_training(path, records, self.training)
            for note in self.glances.notes:
                self.say(f"data: {note}")

    @cached_property
    def evaluator(self) -> evaluate.Evaluator:
        """Scores videos; compiled once."""
        return evaluate.Evaluator(self.mapper, self.model, self.config)

    @cached_property
    def examples(self) -> streams.Examples:
        """Videos that are read once for all seeds."""
        data_cfg, kept = self.config.data, streams.TRAIN_CACHE_BYTES
        return streams.Examples(self.records, self.training, data_cfg, kept, self.glances)

    def initial(self, transform: Any, seed: int) -> TrainState:
        features = streams.example_features(self.records.dims, self.config.data)
        return init_state(self.model, transform, features, seed, self.config.train.members)

    def batches(self, seed: int) -> pipeline.TrainIterator:
        """Batches of as many normal as abnormal videos."""
        process = self.mapper.process_index, self.mapper.process_count
        stream = streams.TrainStream(self.examples, self.config.train.batch_size, seed, process)
        return pipeline.TrainIterator(stream)

    def evaluate(self, state: TrainState, step: int) -> Evaluation:
        """Validation, the fusion coefficients and (only where asked for) the test split."""
        scores = {}
        if len(self.validation):
            scores = self.evaluator.unit_scores(state, self.records, self.validation)
        rows, ranked = self.judged(state, scores)
        if "validation" in rows:
            values = [f"{n} {x:.4f}" for n, x in rows["validation"].items() if n != "selection"]
            self.say(f"validation: step {step}, {', '.join(values)}")
        if self.followed is None:
            return Evaluation(rows, ranked)
        test = self.follow_test(state, self.followed)
        return Evaluation({**rows, "test": test}, {**ranked, TEST: test[self.config.eval.metric]})

    def judged(self, state: TrainState, scores: Mapping[int, np.ndarray]) -> Evaluation:
        """What the scores of the held-out videos, {video: [N]} or {}, say of a state."""
        rows: dict[str, Any] = {}
        if FUSION in state.params:
            rows["fusion"] = coefficients(self.config, state)
        if not scores:
            return Evaluation(rows, {})
        rows["validation"] = judge(scores, self.records.labels, self.config)
        return Evaluation(rows, {VALIDATION: rows["validation"]["selection"]})

    def follow_test(self, state: TrainState, split: Any) -> dict[str, float]:
        """Frame-level AUC and AP of the test split. It chooses nothing but the checkpoint named
        best-on-test."""
        scores = self.evaluator.unit_scores(state, split, range(len(split)))
        videos = list(evaluate.scored_videos(scores, split, range(len(split))))
        known = [(v.scores.astype(np.float32), v.labels) for v in videos if len(v.labels)]
        return ranking(*(np.concatenate(column) for column in zip(*known)))


def ranking(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """AUC and AP."""
    auc, ap = metrics.roc_auc(scores, labels), metrics.average_precision(scores, labels)
    return {"auc": float(auc), "ap": float(ap)}


def judge(scores: Mapping[int, np.ndarray], labels: Any, config: ConfigDict) -> dict[str, float]:
    """Loss and ranking of whole held-out videos from their unit scores {video: [N]} and the labels
    of all videos: training videos have video labels only, so frames cannot be judged here.

    selection is what the best checkpoint is best in: config.eval.metric over videos, or minus the
    loss where the held-out videos are all of one kind.
    """
    values, labels = evaluate.video_level(scores, labels, config.loss.topk_divisor)
    loss = evaluate.video_loss(values, labels, config.loss.label_smoothing)
    if len(np.unique(labels)) < 2:
        return {"loss": loss, "selection": -loss}
    found = {"loss": loss, **ranking(values, labels)}
    return {**found, "selection": found[config.eval.metric]}


def coefficients(config: ConfigDict, state: TrainState) -> dict[str, np.ndarray]:
    """The fusion operator's coefficients as they act, {"A", "a" or "c": [G, ...]}
    (gfvad/fusion/coefficients.py), of an ensemble's first member; {} without an operator."""
    found = first_member(state.params.get(FUSION, {}), state)
    return {name: np.asarray(constrained(raw, config.model.fusion)) for name, raw in found.items()}


def check_videos(records: Any, indices: np.ndarray) -> None:
    """Raises DataError unless there are normal and abnormal videos to learn from."""
    labels = np.asarray(records.labels)[indices]
    normal, abnormal = (int((labels == value).sum()) for value in (0, 1))
    if not (normal and abnormal):
        raise DataError(
            f"{records!r}: found {normal} normal and {abnormal} abnormal training videos, expected"
            " some of each; check the labels, or the layout"
        )
