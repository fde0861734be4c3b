"""The command line of `gfvad ablate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gfvad.ablation.sweep import Source, Sweep, Wanted, read_sweep
from gfvad.base.names import nearest
from gfvad.base.types import ConfigError
from gfvad.settings.command_line import find_config

NUMBERS: dict[str, Any] = {"seeds": None, "at_once": 32, "processes": 0, "resamples": 2000}
# group: the one to train, given by the process that shares groups out
WORDS = ("config", "sweep", "workdir", "models", "against", "group")
NEEDED = WORDS[:3]


class Arguments(NamedTuple):
    """What a command line asks for."""

    sweep: Sweep
    workdir: Path
    at_once: int
    processes: int  # 0: to be chosen
    resamples: int
    group: str | None  # the id of the one group to train, without a report
    command: tuple[str, ...]  # the command line as it was


def parse_sweep(argv: Sequence[str]) -> Arguments:
    """Parses a command line (without the command's name) and reads its sweep. Raises ConfigError
    naming the option, the setting or the key."""
    given: dict[str, str] = {}
    flags = []
    for word in argv:
        name, equals, value = word.removeprefix("--").partition("=")
        name = name.replace("at-once", "at_once")  # as other commands spell their options
        if word.startswith("--config."):
            flags.append(word)
        elif word.startswith("--") and equals and name in (*WORDS, *NUMBERS):
            given[name] = value
        else:
            valid = [f"--{n}".replace("_", "-") for n in (*WORDS[:-1], *NUMBERS)]
            raise ConfigError(
                f"unexpected argument {word!r}{nearest(word.split('=', 1)[0], valid)}; options are"
                " written --name=value (see gfvad ablate --help)"
            )
    for name in NEEDED:
        if not given.get(name):
            raise ConfigError(f"--{name}=... is missing (see gfvad ablate --help)")
    file, _, variant = given["config"].partition(":")
    numbers = NUMBERS | {name: whole_number(name, given[name]) for name in NUMBERS if name in given}
    seeds = numbers.pop("seeds")
    path = find_config(given["sweep"], "sweep", "configs/sweeps")
    models = tuple(filter(None, given.get("models", "").split(",")))
    wanted = Wanted(seeds, models, given.get("against", ""))
    sweep = read_sweep(path, Source(file, variant, tuple(flags)), wanted)
    workdir, group, command = Path(given["workdir"]), given.get("group"), tuple(argv)
    return Arguments(sweep, workdir, group=group, command=command, **numbers)


def whole_number(name: str, text: str) -> int:
    """A number of 1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise ConfigError(f"--{name}={text}: expected a whole number of 1 or more")
    return int(text)
