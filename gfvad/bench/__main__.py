"""python -m gfvad.bench NAME [options]: runs gfvad/bench/NAME.py; without a name, lists what
there is."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import sys

import gfvad.bench
from gfvad.base.errors import command


def names() -> list[str]:
    """Every benchmark: a module of gfvad.bench with run(argv), which may return an exit code."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(gfvad.bench.__path__)
        if not module.name.startswith("_")
    )


@command
def main(argv: list[str]) -> int:
    """Runs the benchmark named first, with the other arguments; returns the exit code (2: no
    such benchmark)."""
    listing = (
        f"usage: python -m gfvad.bench NAME [options]\nbenchmarks: {', '.join(names())} (--help"
        " after a name shows its options)"
    )
    if not argv or argv[0] in ("-h", "--help"):
        print(listing)
        return 0 if argv else 2
    if argv[0] not in names():
        near = difflib.get_close_matches(argv[0], names(), 1)
        print(
            f"no benchmark {argv[0]!r}{f'; did you mean {near[0]!r}?' if near else ''}\n{listing}",
            file=sys.stderr,
        )
        return 2
    return importlib.import_module(f"gfvad.bench.{argv[0]}").run(argv[1:]) or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
