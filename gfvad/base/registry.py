"""Things of one kind by name: relations, forms of fusion, losses, encoders, ... A registry is the
one place that choices, checks and messages come from.

More can be added from outside, by a call in the user's own file (a config is such a file). A
command that is given no config, as one that scores with a stored run, reads the files that the
environment variable GFVAD_PLUGINS names (joined by ':') when it meets a name that it does not know.
"""

from __future__ import annotations

import os
import re
import runpy
from collections.abc import Callable, Mapping
from typing import TypeVar

from gfvad.base.errors import ConfigError
from gfvad.base.names import nearest

T = TypeVar("T")
PLUGINS = "GFVAD_PLUGINS"
_read: set[str] = set()  # plug-in files that this process has read


class Registry(dict[str, T]):
    """Name -> entry, for one setting that chooses among them."""

    def __init__(self, key: str, entries: Mapping[str, T], adopt: Callable[[T], T] | None = None):
        """key: the setting, 'model.relation.similarity'. adopt: turns what comes from outside into
        an entry, and refuses what cannot be one."""
        super().__init__(entries)
        self.key = key
        self._builtin, self._adopt = frozenset(entries), adopt or (lambda entry: entry)

    def find(self, name: str) -> T:
        """The entry of a name. Raises ConfigError, with the key and the nearest name, where there
        is none."""
        if name not in self:
            close = nearest(str(name), tuple(self))
            listed = f" (one of {', '.join(self)})" if "mean" in close else ""
            raise ConfigError(f"config.{self.key} = {name!r}{close}{listed}")
        return self[name]

    def register(self, name: str, entry: T) -> T:
        """Adds an entry of somebody else's, and returns it as it was given.

        A later call replaces what an earlier one added, since a config file may be read twice.
        Raises ConfigError for a name of this package's own, or one that is no identifier.
        """
        if name in self._builtin:
            raise ConfigError(
                f"config.{self.key}: {name!r} is gfvad's own; register yours under another name"
            )
        if not re.fullmatch(r"[A-Za-z]\w*", str(name)):
            raise ConfigError(
                f"config.{self.key}: {name!r} is no name; expected letters, digits and _, as"
                " 'my_form'"
            )
        self[name] = self._adopt(entry)
        return entry

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (read_plugins() and super().__contains__(name))


def read_plugins() -> bool:
    """Runs the files of GFVAD_PLUGINS, each once; whether one was run now."""
    files = [f for f in os.environ.get(PLUGINS, "").split(os.pathsep) if f and f not in _read]
    for file in files:
        _read.add(file)
        if not os.path.isfile(file):
            raise ConfigError(f"{PLUGINS}: {file} is not there; expected Python files, ':' between")
        runpy.run_path(file)
    return bool(files)
