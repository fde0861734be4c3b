"""One writer of a folder at a time. The second one is told who works there and since when; a
dead owner's lock is taken over."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from gfvad.base.errors import DataError, cannot_write
from gfvad.base.secrets import redact

LOCK = ".gfvad.lock"
# seconds: how long a dead owner's lock is waited for, and between two tries
PATIENCE, TICK = 5.0, 0.05


def owner_of(path: Path) -> str:
    """'process 17 (python -m gfvad.main ...) on host, since 2026-01-31 12:00:00' by a lock file;
    'another process' where it does not say."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return (
            f"process {found['process']} ({found['command']}) on {found['host']}, since"
            f" {found['since']}"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def is_dead(path: Path) -> bool:
    """Whether the owner that a lock file names is a process of this machine that is gone."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["host"] != socket.gethostname():
            return False
        os.kill(int(found["process"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return False
    return False


@contextlib.contextmanager
def locked(folder: str | os.PathLike, what: str = "folder", lock: str = LOCK) -> Iterator[None]:
    """Keeps other processes that ask for it out of a folder (made where it is not there) while the
    block runs.

    The system drops the lock with its process, however that ends. Raises DataError where another
    process has it, or the folder cannot be made or written to.
    """
    folder = Path(folder)
    path = folder / lock
    with _taken(folder, path, what) as file:
        sign(file, path)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def sign(file: IO[str], path: Path) -> None:
    """Writes into a lock file who holds it, and since when. Raises DataError."""
    command = " ".join(
        os.path.basename(part) if i == 0 else part for i, part in enumerate(sys.argv)
    )[:200]
    about = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": redact(command),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    try:
        file.seek(0)
        file.truncate()
        file.write(json.dumps(about))
        file.flush()
    except OSError as error:
        raise cannot_write(path, error) from None


def wait_for(
    file: IO[str], path: Path, folder: Path, say: Callable[[str], object] | None = None
) -> None:
    """Locks an open file; says (None: on standard error) who is waited for, where somebody has
    it. For work that both processes need done once."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = f"{folder}: {owner_of(path)} prepares this cache, waiting for it"
        say(text) if say else print(text, file=sys.stderr, flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    sign(file, path)


def _taken(folder: Path, path: Path, what: str) -> IO[str]:
    """The open lock file, locked. Raises DataError."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+", encoding="utf-8")
        except OSError as error:
            raise cannot_write(folder, error) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BlockingIOError:
            file.close()
            # the system lets go of a killed owner's a moment after its end
            if time.monotonic() < until and is_dead(path):
                time.sleep(TICK)
                continue
            raise DataError(
                f"{folder}: {owner_of(path)} works in this {what}; expected nobody: wait for it,"
                " end it, or give another folder"
            ) from None
        except OSError as error:
            file.close()
            if path.exists():
                raise cannot_write(path, error) from None
        file.close()  # its last owner removed it between our open and our lock
