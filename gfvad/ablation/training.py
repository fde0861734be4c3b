"""Trains a group to its last step: the order of gfvad/train/loop.py, with checkpoints of the whole
group, for all its runs at once.

A run whose numbers are no longer finite is marked as failed and keeps none of the others from going
on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gfvad.ablation.stacked import Stack, Stacked, fresh_iterators, of_run
from gfvad.base.types import Batch, DataError
from gfvad.data import sampling
from gfvad.tasks.fusion import training as fusion_training
from gfvad.train import loop
from gfvad.train.checkpoint import VALIDATION, Checkpoints
from gfvad.train.identity import learnt
from gfvad.train.logs import plain, truncate
from gfvad.train.parallel import Mapper
from gfvad.train.stop import Interrupted, StopRequest

LOG = "metrics.jsonl"  # in the group's folder: the rows of every run, with its place in the group
TIMING = "timing.jsonl"  # of the group: how fast it went
RUNNING = -1  # step at which a run failed, of one that did not


class Kept(NamedTuple):
    """What a checkpoint of a group holds: where it stands, and the state of each run that was
    best on validation."""

    last: Stacked
    best: Stacked


class Standing(NamedTuple):
    """Of each run, [U, K]: what goes into a checkpoint beside the arrays."""

    best_step: np.ndarray  # int; 0: none yet
    best_value: np.ndarray  # float64
    failed: np.ndarray  # int; RUNNING, or the step at which a number was not finite
    positions: np.ndarray  # object: of its data at the best step


class Trained(NamedTuple):
    """A group at its last step, on the host."""

    kept: Kept
    standing: Standing
    positions: list[Any]  # of each seed's data
    rows: list[dict[str, Any]]  # of the log
    timing: list[dict[str, Any]]  # how fast the group went, as rows of timing.jsonl


class GroupLog:
    """Rows of all runs of a group; opening it for step s drops the rows of later steps."""

    def __init__(self, folder: Path, step: int):
        folder.mkdir(parents=True, exist_ok=True)
        self.rows, self.timing = (truncate(folder / name, step) for name in (LOG, TIMING))
        if wrong := [row for row in self.rows if not isinstance(row.get("run"), list)]:
            raise DataError(
                f"{folder / LOG}: a row of step {wrong[0]['step']} without its run; expected one in"
                " each: remove it"
            )
        self._files = [open(folder / name, "a", encoding="utf-8") for name in (LOG, TIMING)]

    def write(
        self, step: int, kind: str, place: tuple[int, int], values: Mapping[str, Any]
    ) -> None:
        """One row of the run at `place` (seed, setting)."""
        row = {
            "step": step,
            "kind": kind,
            "run": list(place),
            **{k: plain(v) for k, v in values.items() if np.isfinite(v).all()},
        }
        self.rows.append(row)
        self._files[0].write(json.dumps(row) + "\n")

    def write_timing(self, step: int, steps_per_second: float) -> None:
        """How fast the group went since the last of these rows."""
        self.timing.append({"step": step, "kind": "timing", "steps_per_second": steps_per_second})
        self._files[1].write(json.dumps(self.timing[-1]) + "\n")

    def flush(self) -> None:
        """Brings all rows to the disk."""
        for file in self._files:
            file.flush()

    def close(self) -> None:
        """Closes the files."""
        for file in self._files:
            file.close()


class GroupMeter:
    """Reads the numbers of a step one step late, logs their means, and marks runs whose numbers
    are not finite."""

    def __init__(
        self,
        mapper: Mapper,
        log: GroupLog,
        failed: np.ndarray,
        steps: int,
        log_every: int,
        pending: Mapping[str, Any] | None,
    ):
        self._mapper, self._log, self.failed, self._steps, self._log_every = (
            mapper,
            log,
            failed,
            steps,
            log_every,
        )
        self._in_flight: tuple[int, Any] | None = None
        # of steps since the last row; compilation, evaluation and saving are not in it
        self._seconds, self._timed, self._mark = 0.0, 0, 0.0
        self._count = pending["count"] if pending else 0
        self._sums = (
            {name: np.asarray(x, np.float64) for name, x in pending["sums"].items()}
            if pending
            else {}
        )

    def push(self, step: int, metrics: Any) -> None:
        """Takes over the step just dispatched, then reads the one before."""
        jax.tree.map(lambda x: x.copy_to_host_async(), metrics)
        before, self._in_flight = self._in_flight, (step, metrics)
        if before is None:
            self._mark = time.monotonic()
        else:
            self._read(*before)

    def drain(self) -> None:
        """Reads the last step too."""
        last, self._in_flight = self._in_flight, None
        if last is not None:
            self._read(*last)

    def pending(self) -> dict[str, Any]:
        """Sums since the last rows, for a checkpoint."""
        return {
            "count": self._count,
            "sums": {
                name: np.where(np.isfinite(x), x, 0.0).tolist() for name, x in self._sums.items()
            },
        }

    def _read(self, step: int, metrics: Any) -> None:
        values = self._mapper.unreplicate(metrics)
        now = time.monotonic()
        self._seconds, self._timed, self._mark = (
            self._seconds + now - self._mark,
            self._timed + 1,
            now,
        )
        finite = np.logical_and.reduce(
            [np.isfinite(x).reshape(*x.shape[:2], -1).all(-1) for x in values.values()]
        )
        self.failed[(self.failed == RUNNING) & ~finite] = step
        self._count += 1
        for name, x in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + np.asarray(x, np.float64)
        if step % self._log_every and step != self._steps:
            return
        for place in np.argwhere(self.failed == RUNNING):
            means = {
                name: total[tuple(place)] / self._count
                for name, total in sorted(self._sums.items())
            }
            self._log.write(step, "train", tuple(place.tolist()), means)
        self._log.write_timing(step, self._timed / max(self._seconds, 1e-9))
        self._log.flush()
        self._sums, self._count, self._seconds, self._timed = {}, 0, 0.0, 0


def train(
    stack: Stack,
    folder: Path,
    records: Any,
    mapper: Mapper,
    *,
    say: Callable[[str], None],
    advance: Callable[[int], None],
) -> Trained:
    """Trains a group from its last checkpoint in `folder` (from the start where there is none) to
    config.train.steps.

    records: the training split; advance is told how many steps of single runs were taken. Raises
    Interrupted after SIGTERM or Ctrl-C, when all is saved; DataError and ConfigError as
    `gfvad.train.loop.train`.
    """
    config = stack.config
    train_indices, validation = sampling.split_validation(
        records.names, records.labels, config.data.validation_fraction
    )
    fusion_training.check_videos(records, train_indices)
    first = stack.initial()
    data = fresh_iterators(stack, records, train_indices, mapper)
    shape = len(stack.group.seeds), len(stack.group.settings)
    with (
        StopRequest() as stop,
        Checkpoints(folder / loop.CHECKPOINTS, config, learnt(records), write=True) as checkpoints,
    ):
        kept, start, pending = Kept(first, first), 0, None
        standing = Standing(
            np.zeros(shape, int),
            np.full(shape, -np.inf),
            np.full(shape, RUNNING),
            np.full(shape, None, object),
        )
        restored = checkpoints.newest(kept)
        if restored:
            kept, start, pending = restored.state, restored.step, restored.pending
            say(f"train: going on from the checkpoint of step {start}")
            with loop.taking_up(checkpoints, start):
                for iterator, position in zip(data, restored.position):
                    iterator.set_state(position)
                standing = unpack(pending["standing"])
        advance(start * stack.group.size)
        log = GroupLog(folder, start)
        try:
            run = Running(
                stack,
                mapper,
                records,
                validation,
                stack.evaluator(mapper),
                data,
                checkpoints,
                log,
                stop,
                say,
                advance,
            )
            meter = GroupMeter(
                mapper, log, standing.failed, config.train.steps, config.train.log_every, pending
            )
            kept = steps(run, kept, start, standing, meter)
            checkpoints.wait()
            return Trained(
                kept, standing, [iterator.get_state() for iterator in data], log.rows, log.timing
            )
        finally:
            log.close()


class Running(NamedTuple):
    """The parts of a group's training."""

    stack: Stack
    mapper: Mapper
    records: Any
    validation: np.ndarray
    evaluator: Any
    data: list[Any]
    checkpoints: Checkpoints
    log: GroupLog
    stop: StopRequest
    say: Callable[[str], None]
    advance: Callable[[int], None]


def steps(run: Running, kept: Kept, start: int, standing: Standing, meter: GroupMeter) -> Kept:
    """From the state of step `start` to that of the last step (host)."""
    config = run.stack.config
    last, best = kept
    mapped = run.stack.mapped_step(run.mapper)
    replicas = run.mapper.replicate(last)
    for step in range(start, config.train.steps + 1):
        signum = run.stop.signum
        evaluating = step > start and (
            step % config.train.eval_every == 0 or step == config.train.steps
        )
        if step > start and (evaluating or signum or step % config.train.checkpoint_every == 0):
            meter.drain()
            last = run.mapper.unreplicate(replicas)
            if evaluating:
                best = evaluate(run, last, best, step, standing)
            run.log.flush()
            positions = [iterator.get_state() for iterator in run.data]
            run.checkpoints.save(
                step,
                Kept(last, best),
                positions,
                {**meter.pending(), "standing": pack(standing)},
                {},
            )
        if signum:
            run.checkpoints.wait()
            run.say(f"train: left at step {step}, all saved; the same command goes on from there")
            raise Interrupted(signum, step)
        if step < config.train.steps:
            batches: tuple[Batch, ...] = tuple(next(iterator) for iterator in run.data)
            replicas, numbers = mapped(replicas, run.mapper.shard(batches))
            meter.push(step + 1, numbers)
            run.advance(run.stack.group.size)
    return Kept(last, best)


def evaluate(run: Running, last: Stacked, best: Stacked, step: int, standing: Standing) -> Stacked:
    """Logs validation and the fusion coefficients of every run; returns the states that are best
    so far."""
    stack = run.stack
    scores = (
        run.evaluator.stacked_scores(last, run.records, run.validation)
        if len(run.validation)
        else {}
    )
    better = np.zeros(standing.failed.shape, bool)
    for u, k in np.argwhere(standing.failed == RUNNING).tolist():
        config = stack.group.settings[k].config
        if fusion_training.FUSION in last.state.params:
            run.log.write(
                step,
                "fusion",
                (u, k),
                fusion_training.coefficients(config, stack.member(last, u, k)),
            )
        if not scores:
            continue
        values = fusion_training.judge(of_run(scores, u, k), run.records.labels, config)
        run.log.write(step, VALIDATION, (u, k), values)
        if values["selection"] >= standing.best_value[u, k]:  # of equal ones the newest
            better[u, k], standing.best_value[u, k], standing.best_step[u, k] = (
                True,
                values["selection"],
                step,
            )
            standing.positions[u, k] = run.data[u].get_state()
    take = lambda new, old: np.where(better.reshape(*better.shape, *[1] * (new.ndim - 2)), new, old)  # noqa: E731
    kept = {
        name: jax.tree.map(take, getattr(last.state, name), getattr(best.state, name))
        for name in ("params", "opt_state")
    }
    return best._replace(state=best.state._replace(**kept))


def pack(standing: Standing) -> dict[str, Any]:
    """For JSON; minus infinity, which it has no word for, becomes null."""
    values = [[v if np.isfinite(v) else None for v in row] for row in standing.best_value.tolist()]
    return {
        "best_step": standing.best_step.tolist(),
        "best_value": values,
        "failed": standing.failed.tolist(),
        "positions": standing.positions.tolist(),
    }


def unpack(packed: Mapping[str, Any]) -> Standing:
    """Inverse of `pack`."""
    values = np.array(
        [[-np.inf if v is None else v for v in row] for row in packed["best_value"]], np.float64
    )
    steps, failed = (np.array(packed[name], int) for name in ("best_step", "failed"))
    positions = np.empty(steps.shape, object)
    for place in np.ndindex(*steps.shape):
        positions[place] = packed["positions"][place[0]][place[1]]
    return Standing(steps, values, failed, positions)
