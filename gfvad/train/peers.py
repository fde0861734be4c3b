"""Waiting for the other processes of a job: how long, and a line where they do not come."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping

from gfvad.base.errors import EXIT_NO_PEERS, ConfigError

WAIT_SECONDS = 300  # jax's own
RANKS = ("SLURM_PROCID", "JOB_COMPLETION_INDEX", "TPU_WORKER_ID")


def seconds(environment: Mapping[str, str]) -> int:
    """GFVAD_WAIT_SECONDS, or 300. Raises ConfigError where it is no number of seconds."""
    wait = environment.get("GFVAD_WAIT_SECONDS", "") or str(WAIT_SECONDS)
    if not (wait.isascii() and wait.isdigit() and 0 < int(wait) < 10**6):
        raise ConfigError(
            f"GFVAD_WAIT_SECONDS={wait!r}: expected whole seconds, at least 1 and below a million"
        )
    return int(wait)


def rank(environment: Mapping[str, str]) -> str:
    """Which process this is, by the variables of Slurm, of Kubernetes or of Cloud TPU."""
    return next((environment[name] for name in RANKS if name in environment), "of unknown index")


@contextlib.contextmanager
def awaited(wait: int, who: str) -> Iterator[None]:
    """Ends this process, with a line and EXIT_NO_PEERS, where the block takes longer than `wait`
    seconds. The block must be one that cannot be interrupted otherwise: jax waits for its peers
    outside of Python."""

    def leave() -> None:
        print(
            f"error: not all peers came within {wait} s ({who}); expected every process to be"
            " started with the same coordinator and count, and a network that lets them reach it:"
            " start all of them again, or wait longer (GFVAD_WAIT_SECONDS)",
            file=sys.stderr,
            flush=True,
        )
        os._exit(EXIT_NO_PEERS)

    timer = threading.Timer(wait, leave)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
