"""The training loop: evaluate, save, *then* draw the next batch, then step; so a restart repeats
nothing and skips nothing.

Steps are counted by how many have been taken: the state of step s, its checkpoint and its log rows
carry the number s. Killed at any moment and started again, a run ends with the same parameters and
the same metrics.jsonl, bit by bit, on the same devices and processes; on others, up to the order of
sums. What is trained, one run or a group of runs side by side, is a `Run` (gfvad/train/run.py).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gfvad.base.errors import LIBRARY_ERRORS
from gfvad.base.types import DataError
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.logs import Row, RunLog
from gfvad.train.meter import Meter
from gfvad.train.optim import make_optimiser
from gfvad.train.run import Place, Run, Trainable, Values
from gfvad.train.state import TrainState, parameter_count
from gfvad.train.stop import Interrupted, StopRequest

CHECKPOINTS = "checkpoints"  # folder in the workdir


class Trained(NamedTuple):
    """What training leaves behind; everything else is in the workdir."""

    state: Any  # last one, numpy; of a single run a TrainState
    step: int
    history: list[Row]  # rows of metrics.jsonl (empty where process index > 0)
    timing: list[Row]  # rows of timing.jsonl, the same


class SingleRun:
    """One run of a task; it stops at the first number that is not finite."""

    shape: tuple[int, ...] = ()
    failed = None

    def __init__(self, task: Trainable):
        self.task, self.config, self.mapper, self.say = task, task.config, task.mapper, task.say
        self.names, self.identity = task.names, task.identity
        self.batches = task.batches(self.config.seed)
        self.optimiser = make_optimiser(self.config.optim, self.config.train.steps)

    def advance(self, steps: int) -> None:
        """The meter tells how far it is."""

    def initial(self) -> TrainState:
        state, task = self.task.initial(self.optimiser.transform, self.config.seed), self.task
        self.say(
            f"train: {len(task.training)} videos, {len(task.validation)} held out,"
            f" {parameter_count(state):,} parameters, {self.mapper}"
        )
        return state

    def mapped_step(self) -> Callable:
        task, mapper = self.task, self.mapper
        given = {"optimiser": self.optimiser, "loss_cfg": self.config.loss}
        step = partial(task.train_step, model=task.model, axis_name=mapper.axis_name, **given)
        return mapper.map_train(step)

    def evaluate(self, state: TrainState, step: int) -> tuple[Mapping[Place, Any], Values]:
        rows, ranked = self.task.evaluate(state, step)
        return {(): rows}, ranked

    def saved(self, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        return state, {}

    def resumed(self, tree: TrainState, about: Mapping[str, Any]) -> TrainState:
        return tree


def train(run: Run, workdir: Path) -> Trained:
    """Trains to config.train.steps, from the last checkpoint in workdir where there is one.

    Raises Interrupted after SIGTERM or Ctrl-C, when all is saved; NonFiniteError where a single
    run's loss or gradient is no number; ConfigError where the checkpoints belong to another
    configuration; DataError where there is nothing to learn from.
    """
    workdir, state, start, pending = Path(workdir), run.initial(), 0, None
    with (
        StopRequest() as stop,
        Checkpoints(workdir / CHECKPOINTS, run.config, run.identity, write=True) as checkpoints,
    ):
        restored = checkpoints.newest(run.saved(state)[0])
        if restored:
            start, pending = restored.step, restored.pending
            run.say(f"train: going on from the checkpoint of step {start}")
            with taking_up(checkpoints, start):
                run.batches.set_state(restored.position)
                state = run.resumed(restored.state, pending)
        run.advance(start)
        active, grouped = run.mapper.process_index == 0, bool(run.shape)
        with RunLog(workdir, start, active=active, grouped=grouped) as log:
            with taking_up(checkpoints, start):
                meter = Meter(run, log, pending)
            state = loop(run, state, start, meter, checkpoints, stop)
            return Trained(state, run.config.train.steps, log.rows, log.timing)


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
    run: Run, state: Any, start: int, meter: Meter, checkpoints: Checkpoints, stop: StopRequest
) -> Any:
    """From the state of step `start` (host) to that of the last step (host)."""
    cfg, mapped = run.config.train, run.mapped_step()
    replicas = run.mapper.replicate(state)
    for step in range(start, cfg.steps + 1):
        signum = agreed_stop(run, stop, step)
        evaluating = step > start and (step % cfg.eval_every == 0 or step == cfg.steps)
        if step > start and (evaluating or signum or step % cfg.checkpoint_every == 0):
            meter.drain()
            state = run.mapper.unreplicate(replicas)
            ranked = evaluate(run, state, step, meter.log) if evaluating else {}
            meter.log.flush()
            tree, about = run.saved(state)
            position, pending = run.batches.get_state(), {**meter.pending(), **about}
            checkpoints.save(step, tree, position, pending, ranked)
        if signum:
            checkpoints.wait()
            how = (
                "all saved; the same command goes on from there" if step else "before the first one"
            )
            run.say(f"train: left at step {step}, {how}")
            raise Interrupted(signum, step)
        if step < cfg.steps:
            batch = next(run.batches)
            replicas, numbers = mapped(replicas, run.mapper.shard(batch))
            meter.push(step + 1, batch, numbers)
            run.advance(1)
    return state


def evaluate(run: Run, state: Any, step: int, log: RunLog) -> dict[str, float]:
    """Logs what is known of every run at a step; returns what checkpoints are ranked by."""
    rows, ranked = run.evaluate(state, step)
    for place, kinds in rows.items():
        for kind, values in kinds.items():
            log.write(step, kind, values, place)
    return dict(ranked)


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


def to_stderr(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def quiet(text: str) -> None:
    """Process 0 speaks for all."""
