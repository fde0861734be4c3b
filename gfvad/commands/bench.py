"""Measures speed and correctness: benchmarks, coverage of intervals, mutated inputs, kills.

    gfvad bench fusion
    gfvad bench coverage --trials=800 --videos=12,30
    gfvad bench data

Each is a module of gfvad/bench/; gfvad bench NAME --help shows its options.
"""

from __future__ import annotations

import importlib
import pkgutil
import textwrap
from collections.abc import Sequence

from gfvad.base.errors import EXIT_BAD_INPUT, EXIT_DONE, ConfigError, command
from gfvad.base.names import nearest


def names() -> list[str]:
    """Every benchmark: a module of gfvad.bench with run(argv), which may return an exit code."""
    import gfvad.bench

    modules = pkgutil.iter_modules(gfvad.bench.__path__)
    return sorted(module.name for module in modules if not module.name.startswith("_"))


@command
def main(argv: Sequence[str]) -> int:
    """Runs the benchmark named first, with the other arguments; returns the exit code."""
    if not argv or argv[0] in ("-h", "--help"):
        listed = textwrap.fill(f"names: {', '.join(names())}", 100)
        print(f"usage: gfvad bench NAME [options]\n\n{__doc__}\n{listed}")
        return EXIT_DONE if argv else EXIT_BAD_INPUT
    if argv[0] not in names():
        raise ConfigError(
            f"gfvad bench {argv[0]}: no such benchmark{nearest(argv[0], names())} (see gfvad bench"
            " --help)"
        )
    return importlib.import_module(f"gfvad.bench.{argv[0]}").run(argv[1:]) or EXIT_DONE
