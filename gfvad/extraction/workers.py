"""Work spread over processes that may die: what crashes a process fails alone, and a request to
stop reaches all of them.

In a worker `stopped()` says that the work should end and `report(amount)` adds to what the parent
reads as progress.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TICK = 0.2  # seconds between two looks at progress and signals

_SHARED: dict[str, Any] = {}  # of a worker: 'stop' event, 'done' value


class Died(Exception):
    """The process that worked on a task died."""


class Stop:
    """Context in which Ctrl-C and SIGTERM only set `signum` (a second Ctrl-C ends everything at
    once). Main thread only; elsewhere it does nothing.

    now: whether to begin nothing further, by a signal or because somebody set it.
    """

    def __init__(self) -> None:
        self.signum, self.now = 0, False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._handle) for signum in SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.signum and signum == signal.SIGINT:
            for process in multiprocessing.active_children():
                process.kill()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        self.signum, self.now = self.signum or signum, True
        sys.stderr.write(
            f"\n{signal.Signals(signum).name}: stopping; what is done stays (Ctrl-C again leaves at"
            " once)\n"
        )


def stopped() -> bool:
    """In a worker: whether to end."""
    return "stop" in _SHARED and _SHARED["stop"]()


def report(amount: float) -> None:
    """In a worker: adds to the progress."""
    if "done" in _SHARED:
        with _SHARED["done"].get_lock():
            _SHARED["done"].value += amount


def spread(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    stop: Stop,
    tick: Callable[[float], None] = lambda done: None,
) -> Iterator[tuple[Any, Any]]:
    """(task, function(task)) as they are done, by spawned processes (workers 0: in this one); an
    exception stands for the result of what raised it, `Died` for a task whose process died (again,
    on its own, where others were in work too). `tick` is told what was reported, a few times a
    second.

    Once `stop.now` is set no task is begun, and those in work are waited for: they look at
    `stopped()`.
    """
    done = counter()
    yield from (
        _here(function, tasks, stop, done, tick)
        if workers < 1
        else _Pool(function, tasks, workers, stop, done, tick).run()
    )
    tick(done.value)


@contextmanager
def sharing(stop: Stop, done: Any) -> Iterator[None]:
    """`stopped` and `report` of work that is done in this process. done: a multiprocessing value
    of floats."""
    before = dict(_SHARED)
    _SHARED.update(stop=lambda: stop.now, done=done)
    try:
        yield
    finally:
        _SHARED.clear()
        _SHARED.update(before)


def counter() -> Any:
    """A value that processes add to."""
    return multiprocessing.get_context("spawn").Value("d", 0.0)


def _here(function, tasks, stop, done, tick) -> Iterator[tuple[Any, Any]]:
    with sharing(stop, done):
        for task in tasks:
            if stop.now:
                break
            try:
                result = function(task)
            except Exception as error:
                result = error
            tick(done.value)
            yield task, result


class _Pool:
    """The processes and who works on what: as many tasks are handed out as there are processes,
    so that few are under suspicion when one dies."""

    def __init__(self, function, tasks, workers: int, stop: Stop, done, tick):
        self.function, self.workers = function, workers
        self.stop, self.done, self.tick = stop, done, tick
        self.waiting, self.suspects = deque(tasks), deque()
        self.context = multiprocessing.get_context("spawn")
        self.event = self.context.Event()
        self.pool: ProcessPoolExecutor | None = None
        self.running: dict[Future, Any] = {}
        self.alone = False

    def run(self) -> Iterator[tuple[Any, Any]]:
        try:
            while (self.waiting or self.suspects or self.running) and not self.stop.now:
                self._hand_out()
                wait(self.running, timeout=TICK, return_when=FIRST_COMPLETED)
                yield from self._collect()
                self.tick(self.done.value)
            self.event.set()  # tasks in work end soon, done or not
            wait(self.running)
            yield from self._collect()
        finally:
            self.event.set()
            if self.pool:
                self.pool.shutdown(wait=True, cancel_futures=True)

    def _hand_out(self) -> None:
        if self.pool is None:
            self.pool = ProcessPoolExecutor(
                self.workers, self.context, _set_up, (self.event, self.done)
            )
        if not self.running:
            self.alone = bool(self.suspects)
        queue = self.suspects if self.suspects else self.waiting
        while queue and len(self.running) < (1 if self.alone or self.suspects else self.workers):
            task = queue.popleft()
            try:
                future = self.pool.submit(self.function, task)
            except BrokenProcessPool as error:  # it died while nothing was asked of it
                future = Future()
                future.set_exception(error)
            self.running[future] = task

    def _collect(self) -> Iterator[tuple[Any, Any]]:
        broken = []
        for future in [f for f in self.running if f.done()]:
            task, error = self.running.pop(future), future.exception()
            if isinstance(error, BrokenProcessPool):
                broken.append(task)
            else:
                yield task, future.result() if error is None else error
        if not broken:
            return
        broken += self.running.values()
        self.running.clear()
        if self.pool:
            self.pool.shutdown(wait=True)
        self.pool = None
        if self.alone or len(broken) == 1:
            yield (
                broken[0],
                Died("its process died: out of memory, or a crash in a decoder or an encoder"),
            )
        else:
            self.suspects.extend(broken)


def _set_up(event, done) -> None:
    """Of every worker: Ctrl-C is the parent's to handle; without a parent it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _SHARED.update(stop=event.is_set, done=done)
    parent = multiprocessing.parent_process()
    assert parent is not None  # of a worker

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
