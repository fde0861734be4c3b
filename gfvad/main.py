"""`gfvad COMMAND`, the same as `python -m gfvad.main COMMAND`.

Without a command it trains: `python -m gfvad.main --config=configs/xd.py`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

import gfvad
from gfvad.base.compiled import keep_programs
from gfvad.base.errors import EXIT_BAD_INPUT, EXIT_DONE, ConfigError, command
from gfvad.base.names import nearest
from gfvad.base.places import local_words

COMMANDS = (
    "train",
    "evaluate",
    "explain",
    "score",
    "extract",
    "prepare",
    "ablate",
    "compare",
    "export",
)
COMMANDS += ("convert", "report", "plan", "bench", "doctor")


@command
def main(argv: Sequence[str]) -> int:
    """Runs a command line; returns the exit code: 0 done, 1 some inputs failed, 2 bad input, 3 not
    finite, 75 peers did not come, 130 / 143 interrupted and saved."""
    words = list(argv)
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return EXIT_DONE if words else EXIT_BAD_INPUT
    if words[0] == "--version":
        print(f"gfvad {gfvad.__version__}")
        return EXIT_DONE
    name = "train" if words[0].startswith("-") else words.pop(0)
    if name not in COMMANDS:
        raise ConfigError(f"gfvad {name}: no such command{nearest(name, COMMANDS)} (gfvad --help)")
    keep_programs()
    with local_words(name, words) as words:
        return _module(name).main(words)


def overview() -> str:
    """What `gfvad --help` prints: a line a command."""
    lines = [f"  {name:<9} {(_module(name).__doc__ or '').splitlines()[0]}" for name in COMMANDS]
    return "\n".join(
        (
            "usage: gfvad COMMAND [--name=value ...]\n",
            *lines,
            "\ngfvad COMMAND --help shows its options and examples.",
        )
    )


def _module(name: str):
    return importlib.import_module(f"gfvad.commands.{name}")


def console(*words: str) -> NoReturn:
    """The console script `gfvad`; `words` come before those of the command line."""
    sys.exit(main([*words, *sys.argv[1:]]))


if __name__ == "__main__":
    console()
