"""A child a case: forked from a process that has read the libraries but started no device.

It has its own folder, limits of time and memory, and its output in files.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

READ_BEFORE = """
    gfvad.tasks.fusion.run gfvad.tasks.prediction.run gfvad.scoring.job gfvad.tasks.fusion.scorer
    gfvad.tasks.prediction.scorer gfvad.scoring.stream gfvad.tasks.prediction.stream
    gfvad.tasks.fusion.artefact gfvad.extraction.job gfvad.reporting.page gfvad.data.features.audit
    gfvad.data.simulate gfvad.measure.summary gfvad.figures.video gfvad.main gfvad.commands.prepare
    gfvad.commands.extract gfvad.commands.score gfvad.commands.export gfvad.commands.report
    configs.own configs.predictive jax.experimental.compilation_cache.compilation_cache
"""
# bytes of data, and of the largest file that a child may write
LIMITS = {resource.RLIMIT_DATA: 6 << 30, resource.RLIMIT_FSIZE: 1 << 30, resource.RLIMIT_CORE: 0}
WAIT = 0.005  # seconds between two looks at the children
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
UNCAUGHT = 97  # exit code of a child whose command raised


def environment(folder: Path) -> dict[str, str]:
    """What the libraries have to find: one CPU device, quick compilation, kept for all children."""
    flags = " ".join(
        word
        for word in os.environ.get("XLA_FLAGS", "").split()
        if "host_platform_device_count" not in word
    )
    return {
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count=1".strip(),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "GFVAD_CACHE": "cache",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def read_libraries() -> None:
    """Imports what the children need. No device may start here: its threads survive no fork."""
    for name in READ_BEFORE.split():
        importlib.import_module(name)


class Child:
    """A function in a process of its own: in `folder`, output below `out`, at most `limit` s."""

    def __init__(
        self,
        name: str,
        folder: Path,
        out: Path,
        work: Callable[[], int],
        limit: float,
        interrupt: Callable[[], float] = lambda: 0.0,
    ):
        """interrupt(): after how many seconds it gets SIGINT; 0: never."""
        self.name, self.out, self.limit, self._interrupt = name, out, limit, interrupt
        self._folder, self._work = folder, work
        self.status: int | None = None  # exit code; negative: ended by that signal
        self.hung, self.seconds, self.pid = False, 0.0, 0

    def start(self) -> None:
        """Forks."""
        self.out.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self._began, self._told = time.monotonic(), False
        self.pid = os.fork()
        if not self.pid:
            self._child()

    def _child(self) -> None:
        code = UNCAUGHT
        try:
            os.setsid()
            ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)
            for number, name in enumerate((os.devnull, self.out / "stdout", self.out / "stderr")):
                os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644), number)
            faulthandler.enable()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for kind, most in LIMITS.items():
                resource.setrlimit(kind, (most, most))
            os.chdir(self._folder)
            places = {"TMPDIR": str(self._folder / "tmp"), "HOME": str(self._folder / "home")}
            os.environ |= {**places, "COLUMNS": "200"}
            tempfile.tempdir = None
            code = self._work() or 0
        except BaseException:  # a command that raises is what is looked for
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code & 0xFF)

    def poll(self) -> bool:
        """Whether it has ended; one that takes too long is ended here, with its own children."""
        found, status = os.waitpid(self.pid, os.WNOHANG)
        self.seconds = time.monotonic() - self._began
        if found:
            self.status = os.waitstatus_to_exitcode(status)
            self.kill()  # what it left running
            return True
        if not self._told and self._interrupt() and self.seconds > self._interrupt():
            # not before it has said something: a busy machine may not have come that far
            if self.seconds > self.limit / 2 or self.said("stderr").strip():
                self._told = True
                os.kill(self.pid, signal.SIGINT)
        if self.seconds > self.limit:
            self.hung = True
            self.kill()
        return False

    def kill(self) -> None:
        """SIGKILL, to it and to its own children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def said(self, name: str) -> str:
        """The end of its 'stdout' or 'stderr'."""
        path = self.out / name
        return path.read_bytes()[-200_000:].decode("utf-8", "replace") if path.is_file() else ""


def run_all(
    children: Iterable[Child], jobs: int, after: Callable[[Child], Iterable[Child]]
) -> None:
    """Runs children, at most `jobs` at once; after(child) may give more, which come first."""
    source, first, running = iter(children), [], []
    try:
        while True:
            while (
                len(running) < jobs
                and (child := first.pop(0) if first else next(source, None)) is not None
            ):
                child.start()
                running.append(child)
            if not running:
                return
            ended = [child for child in running if child.poll()]
            running = [child for child in running if child not in ended]
            for child in ended:
                first += after(child)
            if not ended:
                time.sleep(WAIT)
    finally:
        for child in running:
            child.kill()
            os.waitpid(child.pid, 0)
