"""Reads a sweep: a plain Python file whose get_sweep(config) names settings; every one is checked
before anything runs.

get_sweep is given a copy of the base config (the command line's) and returns a dict with any of
    settings   {name: overrides}; overrides are {key: value}, a key being one of the config's
               ("optim.learning_rate") or "variant" (the name of a variant of the config file,
               applied behind the command line's)
    axes       {key: values}, or {title: {name: overrides}}
    combine    how axes make settings: "each" (default: the base, and each value of each axis by
               itself) or "product"
    base       name of the setting that the others are tested against; default: "base" for axes
               taken each, else the first one
    seeds      how many seeds a setting is trained with (default 5)
    overrides  {key: value} for every setting; the command line wins
    optional   names of settings that are left out, and not an error, where they are impossible for
               the data at hand
A setting that comes out the same as an earlier one is left out, and said so.
"""

from __future__ import annotations

import ast
import itertools
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from gfvad import tasks
from gfvad.base.files import read_text
from gfvad.base.names import nearest
from gfvad.base.types import ConfigError, DataError
from gfvad.settings import config as config_lib
from gfvad.settings import kinds

KEYS = ("settings", "axes", "combine", "base", "seeds", "overrides", "optional")
COMBINE = ("each", "product")
SEEDS = 5
PLAIN = "base"  # name of the unchanged config among axes taken each
NAME = re.compile(r"[A-Za-z0-9_.,=+-]+")  # a setting's name is a folder's
VARIANT = "variant"
# Of every run of a sweep, where neither the sweep nor the command line says otherwise: an interval
# over videos for every protocol of every run would take longer than training, and the report has
# paired ones.
ALWAYS = {"eval.bootstrap": 0, "eval.figures": False}

Overrides = Mapping[str, Any]


class Setting(NamedTuple):
    """One setting of a sweep, ready to run but for its seed."""

    name: str
    config: ConfigDict
    differs: dict[str, Any]  # key -> value, where it differs from the base setting


class Sweep(NamedTuple):
    """What a sweep asks for."""

    name: str
    base: str
    seeds: tuple[int, ...]
    settings: tuple[Setting, ...]
    left_out: dict[str, str]  # name -> why


class Source(NamedTuple):
    """What configs are made from: the command line's config file, variant and overrides."""

    file: str  # configs/NAME.py
    variant: str
    flags: tuple[str, ...]  # --config.KEY=VALUE

    def config(self, variant: str = "") -> ConfigDict:
        """The config with one more variant. Raises ConfigError as the command line does."""
        names = "+".join(filter(None, (self.variant, variant)))
        return tasks.parse(
            [f"--config={self.file}" + (f":{names}" if names else ""), *self.flags]
        ).config

    def fixed(self) -> set[str]:
        """Keys that the command line sets."""
        return {flag.removeprefix("--config.").split("=", 1)[0] for flag in self.flags}


def read_sweep(path: str | Path, source: Source, seeds: int | None = None) -> Sweep:
    """Runs get_sweep of a file and checks every setting. seeds: number that takes the place of the
    sweep's.

    Raises ConfigError naming the file, the setting and the key: unknown keys, names that repeat or
    cannot be folders, impossible values.
    """
    path = Path(path)
    config = source.config()
    given = call(path, config.copy_and_resolve_references())
    known = config_lib.flatten(config)
    for key in given:
        if key not in KEYS:
            raise ConfigError(f"{path}: get_sweep() returns {key!r}{nearest(key, KEYS)}")
    number = given.get("seeds", SEEDS) if seeds is None else seeds
    if not isinstance(number, int) or number < 1:
        raise ConfigError(f"{path}: seeds = {number!r}: expected 1 or more")
    named = name_settings(path, given)
    base = given.get("base", next(iter(named)))
    if base not in named:
        raise ConfigError(f"{path}: base = {base!r}{nearest(str(base), list(named))}")
    optional = tuple(given.get("optional", ()))
    for name in optional:
        if name not in named:
            raise ConfigError(f"{path}: optional names {name!r}{nearest(str(name), list(named))}")
    common = {
        key: value
        for key, value in (ALWAYS | dict(given.get("overrides", {}))).items()
        if key not in source.fixed()
    }
    for name, overrides in (("overrides", common), *named.items()):
        check_keys(path, name, overrides, known)
    settings, left_out = make_settings(path, source, named, base, common, optional)
    first = int(config.seed)
    return Sweep(path.stem, base, tuple(range(first, first + number)), settings, left_out)


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
    names: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
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


def check_keys(path: Path, name: str, overrides: Overrides, known: Mapping[str, Any]) -> None:
    """Raises ConfigError for a key that the config does not have."""
    for key in overrides:
        key = str(key).removeprefix("config.")
        if key == "seed":
            raise ConfigError(
                f"{path}: setting {name!r} sets the seed; every setting is trained with the sweep's"
                " seeds"
            )
        if key != VARIANT and key not in known:
            raise ConfigError(
                f"{path}: setting {name!r}: no such key {key!r}{nearest(key, list(known))} (a"
                f" configuration of kind {known['kind']!r})"
            )


def make_settings(
    path: Path,
    source: Source,
    named: Mapping[str, Overrides],
    base: str,
    common: Overrides,
    optional: Sequence[str],
) -> tuple[tuple[Setting, ...], dict[str, str]]:
    """(all settings, {name: why it is left out}). Raises ConfigError for one that cannot work
    and is not optional."""
    made: dict[str, ConfigDict] = {}
    left_out: dict[str, str] = {}
    # the base first, so that it is never the one left out; else in order
    for name in sorted(named, key=lambda n: n != base):
        try:
            config = apply(source.config, {**common, **named[name]})
        except ConfigError as error:
            if name not in optional or name == base:
                raise ConfigError(f"{path}: setting {name!r}: {error}") from error
            left_out[name] = f"impossible here: {error}"
            continue
        alike = (other for other, c in made.items() if differences(c, config).keys() <= {VARIANT})
        if same := next(alike, None):
            left_out[name] = f"the same as {same!r}"
        else:
            made[name] = config
    kept = [name for name in named if name in made]
    settings = tuple(Setting(n, made[n], differences(made[base], made[n])) for n in kept)
    return settings, left_out


def apply(make: Callable[[str], ConfigDict], overrides: Overrides) -> ConfigDict:
    """The checked config of one setting. Raises ConfigError by key."""
    config = make(overrides.get(VARIANT, ""))
    for key, value in overrides.items():
        key = key.removeprefix("config.")
        if key == VARIANT:
            continue
        before = config_lib.flatten(config)[key]
        try:
            kinds.put(config, key, value)
        except (TypeError, ValueError) as e:
            raise ConfigError(
                f"config.{key} = {value!r}: expected a value like {before!r}"
                f" ({type(before).__name__})"
            ) from e
    tasks.check(config)
    return config


def differences(base: ConfigDict, other: ConfigDict) -> dict[str, Any]:
    """Key -> value of `other`, where it differs from `base`."""
    before, after = config_lib.flatten(base), config_lib.flatten(other)
    return {key: value for key, value in after.items() if before.get(key) != value}
