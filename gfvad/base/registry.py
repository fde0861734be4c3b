"""Things of one kind by name: relations, forms of fusion, losses, models, ... A registry is the one
place that choices, checks and messages come from.

More come from outside, by a call in the user's own file (a config is such a file), or by where they
lie: 'package.module:name'. A command that is given no config, as one that scores by a stored run,
reads the files that the environment variable GFVAD_PLUGINS names (joined by ':') when it meets a
name that it does not know.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar

from gfvad.base.errors import ConfigError
from gfvad.base.names import nearest

T = TypeVar("T")
PLUGINS = "GFVAD_PLUGINS"
_read: set[str] = set()  # plug-in files that this process has read


class Registry(dict[str, T], Generic[T]):
    """Name -> what it stands for, of one setting."""

    def __init__(
        self, key: str, entries: Mapping[str, T] = {}, adopt: Callable[[Any], T] | None = None
    ):
        """key: the setting that holds such a name, 'model.relation.similarity'. adopt: turns what
        comes from outside into an entry, and refuses what cannot be one."""
        super().__init__(entries)
        self.key = key
        self._adopt: Callable[[Any], T] = adopt or (lambda value: value)
        self._defined = {name: _place(value) for name, value in entries.items()}

    def register(self, name: str, value: Any) -> Any:
        """Adds a name, and returns the value as it was given.

        What is defined at the same place replaces what stood there, since a config file may be read
        twice. Raises ConfigError for a name that stands for something else, or that is none.
        """
        if not str(name).isidentifier():
            raise ConfigError(f"{self.key}: {name!r} is no name; expected one as my_name")
        if super().__contains__(name) and self._defined.get(name) != _place(value):
            raise ConfigError(f"{self.key}: {name!r} is registered already; expected a new name")
        self[name] = self._adopt(value)
        self._defined[name] = _place(value)
        return value

    def find(self, name: str) -> T:
        """What a name stands for. Raises ConfigError, with the nearest name, where it is unknown or
        cannot be imported."""
        if super().__contains__(name) or (read_plugins() and super().__contains__(name)):
            return self[name]
        module, _, attribute = str(name).partition(":")
        if not attribute:
            raise ConfigError(
                f"config.{self.key} = {name!r}{nearest(str(name), tuple(self))} (one of"
                f" {', '.join(self)}, or package.module:name)"
            )
        try:
            return self._adopt(getattr(import_module(module), attribute))
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"config.{self.key} = {name!r}: {error}; expected package.module:name of something"
                " that can be imported"
            ) from None

    def __contains__(self, name: object) -> bool:
        """Whether `find` may know it: what has a ':' is looked for only there."""
        known = super().__contains__
        return known(name) or ":" in str(name) or (read_plugins() and known(name))


def read_plugins() -> bool:
    """Runs the files of GFVAD_PLUGINS, each once; whether one was run now."""
    files = [f for f in os.environ.get(PLUGINS, "").split(os.pathsep) if f and f not in _read]
    for file in files:
        _read.add(file)
        if not os.path.isfile(file):
            raise ConfigError(f"{PLUGINS}: {file} is not there; expected Python files, ':' between")
        runpy.run_path(file)
    return bool(files)


def _place(value: Any) -> tuple[Any, ...]:
    """Where a value is defined: a function or class by module and name, others by themselves."""
    if isinstance(value, tuple):
        return tuple(map(_place, value))
    name = getattr(value, "__qualname__", None)
    return (getattr(value, "__module__", ""), name) if name else (value,)
