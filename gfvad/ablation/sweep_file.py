"""A sweep's file: runs its get_sweep(config) and gives each of its settings a name
(gfvad/ablation/sweep.py says what it returns)."""

from __future__ import annotations

import ast
import itertools
import re
import sys
import traceback
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from gfvad.base.files import read_text
from gfvad.base.names import nearest
from gfvad.base.types import ConfigError, DataError
from gfvad.settings import kinds

COMBINE = ("each", "product")
PLAIN = "base"  # name of the unchanged config among axes taken each
NAME = re.compile(r"[A-Za-z0-9_.,=+-]+")  # a setting's name is a folder's

Overrides = Mapping[str, Any]


def call(path: Path, config: ConfigDict) -> Mapping[str, Any]:
    """What the file's get_sweep(config) returns."""
    try:
        text = read_text(path, "Python with get_sweep(config)")
    except DataError as e:
        raise ConfigError(str(e)) from None
    try:
        tree = ast.parse(text, str(path))
    except (SyntaxError, RecursionError, MemoryError) as e:
        line, message = getattr(e, "lineno", 0), getattr(e, "msg", type(e).__name__)
        raise ConfigError(
            f"{path}, line {line}: {message}; expected Python with get_sweep(config)"
        ) from e
    refuse_repeated_names(path, tree)
    # where classes of models that it defines find their names; never that of another module
    module = types.ModuleType(f"gfvad sweep {path.stem}")
    module.__file__, names = str(path), vars(module)
    sys.modules[module.__name__] = module
    try:
        # a sweep is a program, as a config file is
        exec(compile(tree, str(path), "exec"), names)  # noqa: S102
        given = names["get_sweep"](config) if callable(names.get("get_sweep")) else None
    except Exception as e:
        *_, (innermost, _) = traceback.walk_tb(e.__traceback__)
        reason = f"failed: {type(e).__name__}: {e}"
        if innermost.f_globals.get("__name__", "").startswith("ml_collections"):
            reason = (
                f"asks for a key that a configuration of kind {kinds.kind_of(config)!r} has not"
                f" ({' '.join(str(e).split())}); expected a sweep for that kind (docs/ablation.md),"
                " or another --config"
            )
        raise ConfigError(f"{path}: get_sweep() {reason}") from e
    if not isinstance(given, Mapping) or not (given.get("settings") or given.get("axes")):
        raise ConfigError(
            f"{path}: get_sweep(config) is missing or returned {type(given).__name__}; expected a"
            " dict with settings or axes (docs/ablation.md)"
        )
    return given


def refuse_repeated_names(path: Path, tree: ast.AST) -> None:
    """Raises ConfigError where a dict display of the file has a name twice: Python would
    silently keep the last."""
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.Dict)):
        keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
        for key in keys:
            if keys.count(key) > 1:
                raise ConfigError(
                    f"{path}, line {node.lineno}: {key!r} stands {keys.count(key)} times in one"
                    " dict; give each setting a name of its own"
                )


def name_settings(path: Path, given: Mapping[str, Any]) -> dict[str, Overrides]:
    """Name -> overrides of all settings. Raises ConfigError for a name that repeats or cannot be
    a folder."""
    combine = given.get("combine", "each")
    if combine not in COMBINE:
        raise ConfigError(f"{path}: combine = {combine!r}{nearest(str(combine), COMBINE)}")
    axes = [axis(path, title, values) for title, values in given.get("axes", {}).items()]
    pairs: list[tuple[str, Overrides]] = list(given.get("settings", {}).items())
    if axes and combine == "each":
        base = given.get("base", PLAIN)
        if base not in dict(pairs):  # else it is spelt out among the settings
            pairs.append((base, {}))
        pairs += itertools.chain(*(one.items() for one in axes))
    elif axes:
        for combination in itertools.product(*(one.items() for one in axes)):
            merged: dict[str, Any] = {}
            for _, overrides in combination:
                merged |= overrides
            pairs.append((",".join(name for name, _ in combination), merged))
    named = dict(pairs)
    for name, overrides in pairs:
        if not isinstance(name, str) or not NAME.fullmatch(name) or name.startswith("."):
            raise ConfigError(
                f"{path}: setting {name!r}: a name is also a folder's; use letters, digits and any"
                " of _ . , = + -"
            )
        if sum(name.lower() == other.lower() for other, _ in pairs) > 1:
            raise ConfigError(f"{path}: setting {name!r} stands twice; give each a name of its own")
        if not isinstance(overrides, Mapping):
            raise ConfigError(
                f"{path}: setting {name!r}: found {overrides!r}, expected a dict of config keys and"
                " values"
            )
    return named


def axis(path: Path, title: str, values: Any) -> dict[str, Overrides]:
    """Name -> overrides of one axis."""
    if isinstance(values, Mapping):
        return dict(values)
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ConfigError(
            f"{path}: axis {title!r}: found {values!r}, expected values of that key, or a dict of"
            " named overrides"
        )
    return {
        f"{title.removeprefix('config.').rsplit('.', 1)[-1]}={spell(value)}": {title: value}
        for value in values
    }


def spell(value: Any) -> str:
    """A value as part of a name: 0.001, a+b."""
    if isinstance(value, (tuple, list)):
        return "+".join(map(spell, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
