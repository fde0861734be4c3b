"""The training loop: evaluate, save, *then* draw the next batch, then step; so a restart repeats
nothing and skips nothing.

Steps are counted by how many have been taken: the state of step s, its checkpoint and its log rows
carry the number s. Killed at any moment and started again, a run ends with the same parameters and
the same metrics.jsonl, bit by bit, on the same devices and processes; on others, up to the order of
sums.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.errors import LIBRARY_ERRORS
from gfvad.base.types import DataError
from gfvad.data import pipeline, sampling, streams
from gfvad.fusion.coefficients import constrained
from gfvad.measure import metrics
from gfvad.tasks.fusion import evaluate
from gfvad.tasks.fusion import step as step_lib
from gfvad.train.checkpoint import TEST, VALIDATION, Checkpoints
from gfvad.train.identity import Learnt, learnt
from gfvad.train.logs import Row, RunLog
from gfvad.train.meter import Meter
from gfvad.train.optim import Optimiser, make_optimiser
from gfvad.train.parallel import Mapper
from gfvad.train.state import TrainState, first_member, init_state, parameter_count
from gfvad.train.stop import Interrupted, StopRequest

CHECKPOINTS = "checkpoints"  # folder in the workdir
FUSION = "fusion"  # name of the fusion operator among the parameters


class Trained(NamedTuple):
    """What training leaves behind; everything else is in the workdir."""

    state: TrainState  # last one, numpy
    step: int
    history: list[Row]  # rows of metrics.jsonl (empty where process index > 0)


class Run(NamedTuple):
    """The parts of one run, as the functions below share them."""

    config: ConfigDict
    mapper: Mapper
    records: Any  # training videos
    validation: np.ndarray  # indices held out of them
    test_records: Any | None  # followed only with eval.every_on_test
    evaluator: evaluate.Evaluator
    data: Any  # iterator of Batch with get_state / set_state
    step: Callable  # (state, batch) -> (state, metrics), over all devices
    say: Callable[[str], None]
    # None: `evaluate_all`
    evaluate: Callable[[Run, TrainState, int, RunLog], dict[str, float]] | None = None


def train(
    config: ConfigDict,
    workdir: Path,
    records: Any,
    model: Any,
    mapper: Mapper,
    *,
    test_records: Any | None = None,
    say: Callable[[str], None] | None = None,
) -> Trained:
    """Trains to config.train.steps, from the last checkpoint in workdir where there is one.

    Args: records: the training split (gfvad/data/features/records.py); model: detector of one
    video; test_records: the test split, looked at only with config.eval.every_on_test, for the
    extra named best-on-test; say: where progress goes (standard error of process 0).
    Raises Interrupted after SIGTERM or Ctrl-C, when all is saved; NonFiniteError for a loss or
    gradient that is no number; ConfigError where the checkpoints belong to another configuration;
    DataError where there is nothing to learn from.
    """
    say = quiet if mapper.process_index else say or to_stderr
    train_indices, validation = sampling.split_validation(
        records.names, records.labels, config.data.validation_fraction
    )
    check_videos(records, train_indices)
    optimiser = make_optimiser(config.optim, config.train.steps)
    state = init_state(
        model,
        optimiser.transform,
        example_features(records, config),
        config.seed,
        config.train.members,
    )
    say(
        f"train: {len(train_indices)} videos, {len(validation)} held out,"
        f" {parameter_count(state):,} parameters, {describe(mapper)}"
    )
    followed = test_records if config.eval.every_on_test else None
    data = make_data(config, records, train_indices, mapper)
    evaluator = evaluate.Evaluator(mapper, model, config)
    run = Run(
        config,
        mapper,
        records,
        validation,
        followed,
        evaluator,
        data,
        mapped_step(config, model, optimiser, mapper),
        say,
    )
    return run_from_last(run, Path(workdir), state, records.names, learnt(records))


def run_from_last(
    run: Run, workdir: Path, state: TrainState, names: Sequence[str], data: Learnt | str
) -> Trained:
    """Runs the loop from the last checkpoint in workdir where there is one, else from `state`.
    names: of the videos; data: what is learnt from."""
    with (
        StopRequest() as stop,
        Checkpoints(workdir / CHECKPOINTS, run.config, data, write=True) as checkpoints,
    ):
        restored = checkpoints.newest(state)
        start = restored.step if restored else 0
        with RunLog(workdir, start, active=run.mapper.process_index == 0) as log:
            cfg = run.config.train
            meter = Meter(
                run.mapper,
                log,
                names,
                steps=cfg.steps,
                log_every=cfg.log_every,
                batch_size=cfg.batch_size,
                say=run.say,
            )
            if restored:
                run.say(f"train: going on from the checkpoint of step {start}")
                state = restored.state
                with taking_up(checkpoints, start):
                    run.data.set_state(restored.position)
                    meter.resume(restored.pending)
            state = loop(run, state, start, meter, log, checkpoints, stop)
            return Trained(state, cfg.steps, log.rows)


@contextlib.contextmanager
def taking_up(checkpoints: Checkpoints, step: int) -> Iterator[None]:
    """What cannot be taken up of a checkpoint without checksums, as an error that says what to
    do."""
    try:
        yield
    except LIBRARY_ERRORS as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
        raise DataError(
            f"{checkpoints.folder / str(step)}: damaged: its place in the data cannot be used"
            f" ({reason}); expected what a run saves: move this checkpoint away, and the run goes"
            " on from the one before it"
        ) from None


def loop(
    run: Run,
    state: TrainState,
    start: int,
    meter: Meter,
    log: RunLog,
    checkpoints: Checkpoints,
    stop: StopRequest,
) -> TrainState:
    """From the state of step `start` (host) to that of the last step (host)."""
    steps = run.config.train.steps
    replicas = run.mapper.replicate(state)
    for step in range(start, steps + 1):
        signum = agreed_stop(run, stop, step)
        evaluating = step > start and (step % run.config.train.eval_every == 0 or step == steps)
        if step > start and (evaluating or signum or step % run.config.train.checkpoint_every == 0):
            meter.drain()
            state = run.mapper.unreplicate(replicas)
            ranked = (run.evaluate or evaluate_all)(run, state, step, log) if evaluating else {}
            log.flush()
            checkpoints.save(step, state, run.data.get_state(), meter.pending(), ranked)
        if signum:
            checkpoints.wait()
            how = (
                "all saved; the same command goes on from there" if step else "before the first one"
            )
            run.say(f"train: left at step {step}, {how}")
            raise Interrupted(signum, step)
        if step < steps:
            batch = next(run.data)
            replicas, numbers = run.step(replicas, run.mapper.shard(batch))
            meter.push(step + 1, batch, numbers)
    return state


def evaluate_all(run: Run, state: TrainState, step: int, log: RunLog) -> dict[str, float]:
    """Logs validation, the fusion coefficients and (only where asked for) the test split;
    returns what checkpoints are ranked by."""
    if FUSION in state.params:
        log.write(step, "fusion", coefficients(run.config, state))
    ranked = {}
    if len(run.validation):
        values = validate(run, state)
        log.write(step, "validation", values)
        ranked[VALIDATION] = values["selection"]
        run.say(
            f"validation: step {step}, "
            + ", ".join(
                f"{name} {value:.4f}" for name, value in values.items() if name != "selection"
            )
        )
    if run.test_records is not None:
        values = follow_test(run, state)
        log.write(step, "test", values)
        ranked[TEST] = values[run.config.eval.metric]
    return ranked


def validate(run: Run, state: TrainState) -> dict[str, float]:
    """Loss and ranking of whole held-out videos: training videos have video labels only, so frames
    cannot be judged here.

    selection is what the best checkpoint is best in: config.eval.metric over videos, or minus the
    loss where the held-out videos are all of one kind.
    """
    return judge(
        run.evaluator.unit_scores(state, run.records, run.validation),
        run.records.labels,
        run.config,
    )


def judge(scores: Mapping[int, np.ndarray], labels: Any, config: ConfigDict) -> dict[str, float]:
    """The values of `validate` from unit scores {video: [N]} and the labels of all videos."""
    values, labels = evaluate.video_level(scores, labels, config.loss.topk_divisor)
    loss = evaluate.video_loss(values, labels, config.loss.label_smoothing)
    if len(np.unique(labels)) < 2:
        return {"loss": loss, "selection": -loss}
    found = {
        "loss": loss,
        "auc": float(metrics.roc_auc(values, labels)),
        "ap": float(metrics.average_precision(values, labels)),
    }
    return {**found, "selection": found[config.eval.metric]}


def follow_test(run: Run, state: TrainState) -> dict[str, float]:
    """Frame-level AUC and AP of the test split. It chooses nothing but the checkpoint named
    best-on-test."""
    indices = range(len(run.test_records))
    scores = run.evaluator.unit_scores(state, run.test_records, indices)
    videos = [
        (v.scores.astype(np.float32), v.labels)
        for v in evaluate.scored_videos(scores, run.test_records, indices)
        if len(v.labels)
    ]
    frames, labels = (np.concatenate(column) for column in zip(*videos))
    return {
        "auc": float(metrics.roc_auc(frames, labels)),
        "ap": float(metrics.average_precision(frames, labels)),
    }


def coefficients(config: ConfigDict, state: TrainState) -> dict[str, np.ndarray]:
    """The fusion operator's coefficients as they act, {"A", "a" or "c": [G, ...]}
    (gfvad/fusion/coefficients.py), of an ensemble's first member; {} without an operator."""
    found = first_member(state.params.get(FUSION, {}), state)
    return {name: np.asarray(constrained(raw, config.model.fusion)) for name, raw in found.items()}


def agreed_stop(run: Run, stop: StopRequest, step: int) -> int:
    """The signal to stop for, or 0; the same on every process, although signals reach them at
    different moments.

    Several processes compare notes only every train.log_every steps: it costs them a message.
    """
    if run.mapper.process_count == 1:
        return stop.signum
    if step % run.config.train.log_every:
        return 0
    return max(int(part) for part in run.mapper.gather(str(stop.signum).encode()))


def mapped_step(config: ConfigDict, model: Any, optimiser: Optimiser, mapper: Mapper) -> Callable:
    """The training step over all devices."""
    step = partial(
        step_lib.train_step,
        model=model,
        optimiser=optimiser,
        loss_cfg=config.loss,
        axis_name=mapper.axis_name,
    )
    return mapper.map_train(step)


def make_data(config: ConfigDict, records: Any, indices: np.ndarray, mapper: Mapper) -> Any:
    """This process's iterator of training batches: the same global batches for any number of
    processes."""
    return pipeline.train_iterator(
        records,
        indices,
        config.data,
        config.train.batch_size,
        config.seed,
        mapper.process_index,
        mapper.process_count,
    )


def example_features(records: Any, config: ConfigDict) -> dict[str, np.ndarray]:
    """Features of the right shape {m: [N, D_m]} for making parameters."""
    return streams.example_features(records.dims, config.data)


def check_videos(records: Any, indices: np.ndarray) -> None:
    """Raises DataError unless there are normal and abnormal videos to learn from."""
    labels = np.asarray(records.labels)[indices]
    counts = {
        name: int((labels == value).sum()) for name, value in (("normal", 0), ("abnormal", 1))
    }
    if not all(counts.values()):
        found = " and ".join(f"{count} {name}" for name, count in counts.items())
        raise DataError(
            f"{records!r}: found {found} training videos, expected some of each; check the labels,"
            " or the layout"
        )


def describe(mapper: Mapper) -> str:
    """'8 cpu devices by pmap'."""
    text = (
        f"{mapper.n_global} {mapper.devices[0].platform} device{'s' if mapper.n_global > 1 else ''}"
        f" by {mapper.backend}"
    )
    return text + (f", {mapper.process_count} processes" if mapper.process_count > 1 else "")


def to_stderr(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def quiet(text: str) -> None:
    """Process 0 speaks for all."""
