"""Reads the numbers of a step one step late: while the host waits for step s - 1, step s is already
on the devices.

So the devices never wait for the host to read, and every step is checked for finite numbers under
its own name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gfvad.base.errors import EXIT_NOT_FINITE
from gfvad.base.progress import format_duration
from gfvad.base.types import Batch
from gfvad.train.logs import RunLog

NAMED = 64  # videos spelt out in an error


class NonFiniteError(ArithmeticError):
    """A loss or gradient that is no number. The message names step, term and the batch's videos;
    exit code EXIT_NOT_FINITE."""

    exit_code = EXIT_NOT_FINITE


class InFlight(NamedTuple):
    """A step that was given to the devices and not read yet."""

    step: int  # steps taken once it is done
    batch: Batch  # numpy, this process's part
    metrics: Any  # on the devices


class Meter:
    """Collects step metrics, logs their means every `log_every` steps, prints progress, stops at
    the first number that is not finite."""

    def __init__(
        self,
        mapper: Any,
        log: RunLog,
        names: Sequence[str],
        *,
        steps: int,
        log_every: int,
        batch_size: int,
        say: Callable[[str], None],
    ):
        """names: of the videos that Batch.video counts; batch_size: examples of a step over all
        devices."""
        self._mapper, self._log, self._names, self._say = mapper, log, names, say
        self._steps, self._log_every, self._batch_size = steps, log_every, batch_size
        self._in_flight: InFlight | None = None
        self._sums: dict[str, np.ndarray] = {}
        self._count = 0
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
        """Sums since the last log row, for a checkpoint."""
        return {
            "count": self._count,
            "sums": {name: total.tolist() for name, total in self._sums.items()},
        }

    def resume(self, pending: Mapping[str, Any]) -> None:
        """Goes on from the sums of a checkpoint."""
        self._count = pending["count"]
        self._sums = {
            name: np.asarray(total, np.float64) for name, total in pending["sums"].items()
        }

    def _read(self, done: InFlight) -> None:
        metrics = self._mapper.unreplicate(done.metrics)
        now = time.monotonic()
        self._seconds, self._timed, self._mark = (
            self._seconds + now - self._mark,
            self._timed + 1,
            now,
        )
        self._check(done, metrics)
        self._count += 1
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + np.asarray(value, np.float64)
        if done.step % self._log_every == 0 or done.step == self._steps:
            self._write(done.step)

    def _write(self, step: int) -> None:
        means = {name: total / self._count for name, total in sorted(self._sums.items())}
        self._sums, self._count = {}, 0
        self._log.write(step, "train", means)
        rate = self._timed / max(self._seconds, 1e-9)
        self._seconds, self._timed = 0.0, 0
        self._log.write_timing(
            step, {"steps_per_second": rate, "examples_per_second": rate * self._batch_size}
        )
        left = format_duration((self._steps - step) / rate)
        self._say(
            f"train: {step}/{self._steps} steps, loss {means['loss']:.4f}, gradient"
            f" {means['gradient_norm']:.3g}, {rate:.1f} steps/s ({rate * self._batch_size:.0f}"
            f" examples/s), {left} left"
        )

    def _check(self, done: InFlight, metrics: Mapping[str, np.ndarray]) -> None:
        bad = [name for name, value in metrics.items() if not np.isfinite(value).all()]
        if not bad:
            return
        # a term is a better answer than the sum it spoils
        terms = [name.removeprefix("loss/") for name in bad if name.startswith("loss/")] or bad
        found = ", ".join(
            f"{name} = {float(np.sum(metrics.get(f'loss/{name}', metrics.get(name)))):g}"
            for name in terms
        )
        videos = self._gather_names(done.batch, np.asarray(done.batch.valid, bool))
        culprits = self._gather_names(done.batch, ~finite_examples(done.batch) & done.batch.valid)
        inputs = (
            f"not finite are the features of: {spell(culprits)}"
            if culprits
            else "all its features are finite"
        )
        raise NonFiniteError(
            f"step {done.step}: {found}, expected finite numbers; training stopped, the last"
            f" checkpoint is from before it. Videos of the batch: {spell(videos)}; {inputs}. Check"
            " them by python -m gfvad.prepare --check, or lower config.optim.learning_rate or the"
            " weights in config.loss"
        )

    def _gather_names(self, batch: Batch, which: np.ndarray) -> list[str]:
        """Names of the chosen examples of all processes."""
        own = np.asarray(batch.video)[which].astype(np.int32)
        indices = np.concatenate(
            [np.frombuffer(part, np.int32) for part in self._mapper.gather(own.tobytes())]
        )
        return [self._names[i] for i in dict.fromkeys(indices.tolist())]


def finite_examples(batch: Batch) -> np.ndarray:
    """bool [B], whether every feature of an example is a finite number."""
    flags = [np.isfinite(x).all(axis=tuple(range(1, np.ndim(x)))) for x in batch.features.values()]
    return np.logical_and.reduce(flags)


def spell(names: Sequence[str]) -> str:
    """Names in one line."""
    return ", ".join(names[:NAMED]) + (
        f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    )
