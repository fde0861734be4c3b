"""Code from outside the package that registers encoders, layouts and the like, imported when a name
is asked for that nobody has registered.

It is named by the environment variable GFVAD_PLUGINS (files NAME.py or modules, joined by the
system's path separator: ':' on Linux), which processes that a command starts inherit, or by an
installed package's entry points in the group "gfvad.plugins". A user's config is Python: it may
register by itself.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from gfvad.base.errors import ConfigError

VARIABLE, GROUP = "GFVAD_PLUGINS", "gfvad.plugins"
T = TypeVar("T")


def look_up(table: Mapping[str, T], name: str) -> T | None:
    """table[name], after the plugins were imported where it lacks; None where they do not register
    it either. Raises ConfigError as `load_all`."""
    if name not in table:
        load_all()
    return table.get(name)


def use(plugins: Iterable[str]) -> None:
    """Imports files and modules, for this process and those that it starts. Raises ConfigError."""
    named = [os.path.abspath(p) if p.endswith(".py") else p for p in plugins if p]
    known = [p for p in os.environ.get(VARIABLE, "").split(os.pathsep) if p]
    if named:
        os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*known, *named]))
    load_all()


def load_all() -> None:
    """Imports every plugin, each once. Raises ConfigError for one that cannot be imported."""
    for plugin in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        _load(plugin)
    for point in importlib.metadata.entry_points(group=GROUP):
        _load(point.value)


def _load(plugin: str) -> None:
    path = Path(plugin).expanduser()
    name = plugin
    if plugin.endswith(".py"):
        place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
        name = f"gfvad_plugin_{path.stem}_{place}"
    if name in sys.modules:
        return
    try:
        if name == plugin:
            importlib.import_module(name)
            return
        spec = importlib.util.spec_from_file_location(name, path)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    except Exception as error:  # whatever somebody's code raises
        raise ConfigError(
            f"plugin {plugin}: cannot be imported ({type(error).__name__}: {error}); expected a"
            " Python file or module that registers something: mend it, or leave it out of"
            f" {VARIABLE}"
        ) from error
