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

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from gfvad import tasks
from gfvad.ablation.sweep_file import Overrides, call, name_settings
from gfvad.base.names import nearest
from gfvad.base.types import ConfigError
from gfvad.settings import config as config_lib
from gfvad.settings import kinds

KEYS = ("settings", "axes", "combine", "base", "seeds", "overrides", "optional")
SEEDS = 5
VARIANT = "variant"
# Of every run of a sweep, where neither the sweep nor the command line says otherwise: an interval
# over videos for every protocol of every run would take longer than training, and the report has
# paired ones.
ALWAYS = {"eval.bootstrap": 0, "eval.figures": False}


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


class Wanted(NamedTuple):
    """What of a sweep a command line takes."""

    seeds: int | None = None  # in place of the sweep's
    models: tuple[str, ...] = ()  # see `taken`; (): all settings
    against: str = ""  # in place of the sweep's base


def read_sweep(path: str | Path, source: Source, wanted: Wanted | None = None) -> Sweep:
    """Runs get_sweep of a file and checks every setting.

    Raises ConfigError naming the file, the setting and the key: unknown keys, names that repeat or
    cannot be folders, impossible values.
    """
    path, wanted = Path(path), wanted or Wanted()
    config = source.config()
    given = call(path, config.copy_and_resolve_references())
    known = config_lib.flatten(config)
    for key in given:
        if key not in KEYS:
            raise ConfigError(f"{path}: get_sweep() returns {key!r}{nearest(key, KEYS)}")
    number = given.get("seeds", SEEDS) if wanted.seeds is None else wanted.seeds
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
    named = taken(path, named, base, source, wanted)
    base = spelt(wanted.against, named) or wanted.against or base
    common = {
        key: value
        for key, value in (ALWAYS | dict(given.get("overrides", {}))).items()
        if key not in source.fixed()
    }
    for name, overrides in (("overrides", common), *named.items()):
        check_keys(path, name, overrides, known)
    kept = [name for name in optional if name in named]
    settings, left_out = make_settings(path, source, named, base, common, kept)
    first = int(config.seed)
    return Sweep(path.stem, base, tuple(range(first, first + number)), settings, left_out)


def taken(
    path: Path, named: Mapping[str, Overrides], base: str, source: Source, wanted: Wanted
) -> dict[str, Overrides]:
    """The settings that a command line takes, the base among them. Each word is a setting's name
    (with - or _), `all` of them, a variant of the config, or the path of another sweep's file, all
    of whose settings are taken.

    Raises ConfigError for a word that is none of them.
    """
    found: dict[str, Overrides] = {}
    for word in (*(wanted.models or ("all",)), wanted.against or base):
        if word == "all":
            found |= named
        elif name := spelt(word, {**named, **found}):
            found[name] = {**named, **found}[name]
        elif word.endswith(".py"):
            config = source.config().copy_and_resolve_references()
            given = call(Path(word), config)
            if given.get("overrides"):
                raise ConfigError(
                    f"--models={word}: get_sweep() returns 'overrides', which would hold for the"
                    " other models too; state what differs in each of its settings"
                )
            found |= name_settings(Path(word), given)
        else:
            found[word] = {VARIANT: word}
            try:
                source.config(word)
            except ConfigError as error:
                hint = nearest(word, list(named))
                raise ConfigError(
                    f"--models: {word!r}{hint}: no setting of {path} ({', '.join(named)}), no file"
                    f" of a sweep, and no variant of the config: {error}"
                ) from None
    first = spelt(wanted.against or base, found) or ""
    return {first: found[first], **found}


def spelt(word: str, named: Mapping[str, Overrides]) -> str | None:
    """The name that a word means, - and _ alike; None: none."""
    plain = word.replace("_", "-")
    return next((name for name in named if name.replace("_", "-") == plain), None)


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
