"""What a mutation is given, and what it says of the right outcome."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SAME, ERROR, EITHER, CHANGES = "same", "error", "either", "changes"
SECRET = "hunter2-geheim"  # a password that may stand nowhere
TAIL = re.compile(r"(__\d+|_i3d|__vggish|__crop\d+)$")


class Effect(NamedTuple):
    """The right outcome of a case.

    same     as if nothing had been changed
    error    a clear error, or a message that names what was passed over
    either   the sound result, a clear error, or another with a message of what was passed over
    changes  another valid result is right, and so is a clear error
    """

    expect: str
    names: tuple[str, ...] = ()  # one of them has to stand in a message
    note: str = ""
    argv: tuple[str, ...] | None = None  # in the place of the command's own
    extra: tuple[str, ...] = ()  # further arguments
    seconds: float = 0.0  # after which the command is ended as by Ctrl-C


class Context(NamedTuple):
    """What a mutation works on: it may change anything in the case's folder."""

    rng: random.Random
    root: Path  # the case's folder
    path: Path  # the file that was drawn
    argv: tuple[str, ...]  # of the command


Mutation = Callable[[Context], Effect]


def names_of(path: Path) -> tuple[str, ...]:
    """What a message may call a file by: its name, its stem, the video that it is of."""
    return tuple(dict.fromkeys((path.name, path.stem, TAIL.sub("", path.stem))))


def effect(expect: str, c: Context, note: str = "", *more: str) -> Effect:
    """An effect on the file of a context."""
    return Effect(expect, (*names_of(c.path), *more), note)
