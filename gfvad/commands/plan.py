"""Compiles a training for accelerators that are not here, and says what it needs of them.

    gfvad plan --config=xd --topology=v5e:2x2
    gfvad plan --config=ped2:paper --topology=v5e:4x4 --topology=v5p:2x2x2 --out=plans/ped2
    gfvad plan --config=ucf --topology=h200:8

The real training and evaluation steps are compiled by the TPU's own compiler (extra tpu, on any
processor), or lowered for CUDA: no data is read. Said of each topology: whether it compiles,
memory, operations, bytes, collectives, time by published rates, what binds, hours of the training,
and where scaling stops (docs/scaling.md).

  --config=NAME[:VARIANT]  what is trained; --config.KEY=VALUE changes a setting
  --topology=KIND:GRID     chips: v4, v5e, v5p, v6e with a grid; a100, h100, h200 with a number
  --widths=NAME:D,...      widths of feature sets, where they are not the usual ones
  --out=DIR                plan.json, plan.csv and plan.md go there
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gfvad.base.errors import EXIT_DONE, EXIT_SOME_FAILED, ConfigError, command
from gfvad.base.options import joined

OWN = ("topology", "widths", "out")


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code: 1 where a step does not compile or fit."""
    words = joined(argv)
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return EXIT_DONE
    given: dict[str, list[str]] = {name: [] for name in OWN}
    rest = []
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and equals and name in given:
            given[name].append(value)
        else:
            rest.append(word)
    if not given["topology"]:
        raise ConfigError(
            "--topology=... is missing, as --topology=v5e:2x2 (see gfvad plan --help)"
        )
    # programs are compiled for chips that are not here: those that are must not be taken
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # and what is kept of programs can be read by chips that are there alone
    os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")
    from gfvad.plan import job
    from gfvad.plan.chips import topology
    from gfvad.tasks import parse

    places = [topology(name) for text in given["topology"] for name in text.split(",")]
    widths = widths_of(given["widths"])
    if not any(word.startswith("--config=") for word in rest):
        raise ConfigError("--config=... is missing (see gfvad plan --help)")
    out = Path(given["out"][-1]).expanduser() if given["out"] else None
    config = parse(rest).config
    title = next(word for word in rest if word.startswith("--config=")).partition("=")[2]
    return EXIT_DONE if job.run_plan(config, title, places, widths, out) else EXIT_SOME_FAILED


def widths_of(given: Sequence[str]) -> dict[str, int]:
    """'rgb:1024,audio:128' -> {rgb: 1024, audio: 128}. Raises ConfigError."""
    widths = {}
    for word in ",".join(given).split(","):
        if not word:
            continue
        name, _, width = word.partition(":")
        if not name or not width.isdigit():
            raise ConfigError(f"--widths: {word!r}; expected NAME:D, as rgb:1024,audio:128")
        widths[name] = int(width)
    return widths
