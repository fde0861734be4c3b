"""One dialect of command lines: `--name=value` or `--name value`, a help with examples, and a
misspelt name answered by the nearest one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from gfvad.base.errors import ConfigError
from gfvad.base.names import nearest
from gfvad.base.secrets import redact


class Parser(argparse.ArgumentParser):
    """A command's options. What is wrong with a command line is a ConfigError that gives no
    password away."""

    def __init__(self, prog: str, about: str | None):
        """prog: 'gfvad score'. about: what it does, shown as it stands, with its examples."""
        layout = partial(argparse.RawDescriptionHelpFormatter, width=100, max_help_position=28)
        super().__init__(prog=prog, description=about, formatter_class=layout, allow_abbrev=False)

    def parse_args(self, args: Sequence[str] | None = None, namespace=None) -> argparse.Namespace:
        """Parses words (default: those of this process). Raises ConfigError."""
        words = list(sys.argv[1:] if args is None else args)
        options = [name for name in self._option_string_actions if name.startswith("--")]
        end = words.index("--") if "--" in words else len(words)
        for word in words[:end]:
            name = word.partition("=")[0]
            if name.startswith("--") and name not in options:
                self.error(f"no option {name}{nearest(name, options)}")
            if word == "--out=":  # an unset variable of the shell, not the current folder
                self.error("--out=: empty; expected a place to write to")
        return super().parse_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError."""
        raise ConfigError(f"{redact(message)} (see {self.prog} --help)")


def joined(argv: Sequence[str]) -> list[str]:
    """`--name value` as `--name=value`, for command lines on which every option but --help has a
    value."""
    words: list[str] = []
    for word in argv:
        before = words[-1] if words else ""
        if before.startswith("--") and "=" not in before and before != "--help":
            if not word.startswith("--"):
                words[-1] = f"{before}={word}"
                continue
        words.append(word)
    return words
