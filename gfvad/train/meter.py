"""Reads the numbers of a step one step late: while the host waits for step s - 1, step s is already
on the devices.

So the devices never wait for the host to read, and every step is checked for finite numbers under
its own name.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gfvad.base.errors import EXIT_NOT_FINITE
from gfvad.base.progress import format_duration
from gfvad.base.types import Batch
from gfvad.train.logs import RunLog
from gfvad.train.run import RUNNING, Run

NAMED = 64  # videos spelt out in an error


class NonFiniteError(ArithmeticError):
    """A loss or gradient that is no number. The message names step, term and the batch's videos;
    exit code EXIT_NOT_FINITE."""

    exit_code = EXIT_NOT_FINITE


class InFlight(NamedTuple):
    """A step that was given to the devices and not read yet."""

    step: int  # steps taken once it is done
    batch: Any  # numpy, this process's part
    metrics: Any  # on the devices


class Meter:
    """Collects step metrics, logs their means every `log_every` steps, prints progress. A number
    that is not finite stops a single run; of a group it marks the run, which is logged no more."""

    def __init__(self, run: Run, log: RunLog, pending: Mapping[str, Any] | None = None):
        """pending: sums that a checkpoint has kept, to go on from."""
        self.log, self._run, self._cfg = log, run, run.config.train
        self._in_flight: InFlight | None = None
        sums = pending["sums"] if pending else {}
        self._sums = {name: np.asarray(total, np.float64) for name, total in sums.items()}
        self._count = pending["count"] if pending else 0
        # training time of the steps since the last log row; compilation, evaluation and saving are
        # not in it
        self._seconds, self._timed, self._mark = 0.0, 0, 0.0

    def push(self, step: int, batch: Batch, metrics: Any) -> None:
        """Takes over the step just dispatched, then reads the one before. Raises NonFiniteError
        for that one."""
        jax.tree.map(lambda x: x.copy_to_host_async(), metrics)
        before, self._in_flight = self._in_flight, InFlight(step, batch, metrics)
        if before is None:
            self._mark = time.monotonic()
        else:
            self._read(before)

    def drain(self) -> None:
        """Reads the last step too: before anything is saved, so that no checkpoint holds numbers
        that are not finite."""
        last, self._in_flight = self._in_flight, None
        if last is not None:
            self._read(last)

    def pending(self) -> dict[str, Any]:
        """Sums since the last log row, for a checkpoint; 0 for those of failed runs."""
        finite = {n: np.where(np.isfinite(x), x, 0.0).tolist() for n, x in self._sums.items()}
        return {"count": self._count, "sums": finite}

    def _read(self, done: InFlight) -> None:
        metrics = self._run.mapper.unreplicate(done.metrics)
        now = time.monotonic()
        self._seconds, self._timed = self._seconds + now - self._mark, self._timed + 1
        self._mark = now
        self._check(done, metrics)
        self._count += 1
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + np.asarray(value, np.float64)
        if done.step % self._cfg.log_every == 0 or done.step == self._cfg.steps:
            self._write(done.step)

    def _write(self, step: int) -> None:
        means = {name: total / self._count for name, total in sorted(self._sums.items())}
        self._sums, self._count = {}, 0
        for place in np.ndindex(*self._run.shape):
            if self._run.failed is None or self._run.failed[place] == RUNNING:
                values = {name: np.asarray(mean)[place] for name, mean in means.items()}
                self.log.write(step, "train", values, place)
        rate, size = self._timed / max(self._seconds, 1e-9), self._cfg.batch_size
        self._seconds, self._timed = 0.0, 0
        self.log.write_timing(step, {"steps_per_second": rate, "examples_per_second": rate * size})
        if not self._run.shape:
            self._run.say(
                f"train: {step}/{self._cfg.steps} steps, loss {means['loss']:.4f}, gradient"
                f" {means['gradient_norm']:.3g}, {rate:.1f} steps/s ({rate * size:.0f} examples/s),"
                f" {format_duration((self._cfg.steps - step) / rate)} left"
            )

    def _check(self, done: InFlight, metrics: Mapping[str, np.ndarray]) -> None:
        shape, failed = self._run.shape, self._run.failed
        finite = np.logical_and.reduce(
            [np.isfinite(x).reshape(*shape, -1).all(-1) for x in metrics.values()]
        )
        if failed is not None:
            failed[(failed == RUNNING) & ~finite] = done.step
        elif not finite:
            raise self._not_finite(done, metrics)

    def _not_finite(self, done: InFlight, metrics: Mapping[str, np.ndarray]) -> NonFiniteError:
        bad = [name for name, value in metrics.items() if not np.isfinite(value).all()]
        # a term is a better answer than the sum it spoils
        terms = [name.removeprefix("loss/") for name in bad if name.startswith("loss/")] or bad
        values = {name: metrics.get(f"loss/{name}", metrics.get(name, np.nan)) for name in terms}
        found = ", ".join(f"{name} = {float(np.sum(x)):g}" for name, x in values.items())
        videos = self._gather_names(done.batch, np.asarray(done.batch.valid, bool))
        culprits = self._gather_names(done.batch, ~finite_examples(done.batch) & done.batch.valid)
        inputs = "all its features are finite"
        if culprits:
            inputs = f"not finite are the features of: {spell(culprits)}"
        return NonFiniteError(
            f"step {done.step}: {found}, expected finite numbers; training stopped, the last"
            f" checkpoint is from before it. Videos of the batch: {spell(videos)}; {inputs}. Check"
            " them by gfvad prepare --check, or lower config.optim.learning_rate or the"
            " weights in config.loss"
        )

    def _gather_names(self, batch: Batch, which: np.ndarray) -> list[str]:
        """Names of the chosen examples of all processes."""
        chosen = np.asarray(batch.video)[which].astype(np.int32)
        gathered = self._run.mapper.gather(chosen.tobytes())
        indices = np.concatenate([np.frombuffer(part, np.int32) for part in gathered])
        return [str(self._run.names[i]) for i in dict.fromkeys(indices.tolist())]


def finite_examples(batch: Batch) -> np.ndarray:
    """bool [B], whether every feature of an example is a finite number."""
    flags = [np.isfinite(x).all(axis=tuple(range(1, np.ndim(x)))) for x in batch.features.values()]
    return np.logical_and.reduce(flags)


def spell(names: Sequence[str]) -> str:
    """Names in one line."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
