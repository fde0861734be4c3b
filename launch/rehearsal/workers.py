"""The processes of a pretended machine: begun together, interrupted once, waited for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LOOK = 0.02  # seconds between looks


@dataclass
class Moment:
    """When something happens to the machine: once, as soon as a file is there.

    Fields: path: a glob pattern ('': never); taken: the file that says it has happened.
    """

    path: str
    taken: Path

    def come(self) -> bool:
        """True at the first look at which the file is there, and never again."""
        if not self.path or self.taken.exists():
            return False
        if not any(Path("/").glob(self.path.lstrip("/"))):
            return False
        self.taken.touch()
        return True


@dataclass
class Workers:
    """Processes begun together, each with a process group of its own."""

    children: list[subprocess.Popen] = field(default_factory=list)

    def start(self, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        """Begins one more."""
        self.children.append(
            subprocess.Popen(words, env=dict(environment), cwd=folder, start_new_session=True)
        )

    def codes(self) -> list[int | None]:
        """Exit codes as a shell gives them, 128 + signal; None of those still running."""
        found = (child.poll() for child in self.children)
        return [code if code is None or code >= 0 else 128 - code for code in found]

    def send(self, number: int) -> None:
        """A signal to every one that still runs, and to what it has begun."""
        for child in self.children:
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, number)

    def end(self) -> None:
        """Nothing is left running."""
        self.send(signal.SIGKILL)
        for child in self.children:
            child.wait()

    def watch(self, each: Callable[[], bool]) -> list[int | None]:
        """Waits until all have ended or `each`, asked between looks, says that it is over."""
        while None in self.codes() and not each():
            time.sleep(LOOK)
        return self.codes()
