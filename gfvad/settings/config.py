"""Configurations: what is wrong with one is said by key, before any device work; how it is stored,
read again and named."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

import gfvad
from gfvad.base.errors import ConfigError, DataError
from gfvad.base.files import lies_at, read_json, write_text
from gfvad.base.registry import read_plugins
from gfvad.settings import kinds
from gfvad.settings.declared import Setting

CONFIG = "config.json"  # in a run's folder
WRITTEN_BY = "gfvad_version"  # key of config.json that is none of the config


def flatten(config: ConfigDict, prefix: str = "") -> dict[str, object]:
    """Dotted key -> value of every leaf of a config; an empty group is one."""
    leaves: dict[str, object] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        leaves.update(
            flatten(value, f"{name}.")
            if isinstance(value, ConfigDict) and len(value)
            else {name: value}
        )
    return leaves


def validate(config: ConfigDict) -> None:
    """Refuses, by key, values that no setting of the config's kind may have; 'a,b' given for a
    tuple of names is split. What settings must have in common is the task's (`gfvad.tasks.check`).
    """
    table, leaves = kinds.settings_of(config), flatten(config)
    check_values(leaves)
    if missing := sorted(table.keys() - leaves.keys() - {"kind"}):
        raise ConfigError(
            f"config.{missing[0]} is missing; expected every key of a configuration of kind"
            f" {kinds.kind_of(leaves)!r} (configs/)"
        )
    for key, value in leaves.items():
        if key in table and table[key].names:
            kinds.put(config, key, table[key].normal(value))


def check_values(leaves: Mapping[str, object]) -> None:
    """Refuses values of another type than their setting's, out of its range, or none of its
    choices. leaves: dotted key -> value. Raises ConfigError."""
    table = kinds.settings_of(leaves)
    for key, value in leaves.items():
        if key in table:
            table[key].check(value)
        elif above := [
            group for i in range(1, key.count(".") + 1) if (group := key.rsplit(".", i)[0]) in table
        ]:
            raise ConfigError(
                f"config.{above[0]}: keys below it, such as {key}; expected one value"
            )


def load(workdir: str | Path) -> ConfigDict:
    """The config stored in a run's folder. Raises ConfigError, naming the file and the key."""
    path = Path(workdir) / CONFIG
    if not lies_at(path):
        raise ConfigError(
            f"{path}: not found; expected a run's folder, or give --config=configs/NAME.py"
        )
    try:
        # which key is not finite is said below
        tree = read_json(path, "the config of a run", finite=False)
    except DataError as error:
        raise ConfigError(f"not a config: {error}; or give --config=configs/NAME.py") from None
    version = str(tree.pop(WRITTEN_BY, "(an early version, which left no number)"))
    here = f"this is gfvad {gfvad.__version__}"
    try:
        table = kinds.settings_of(tree)
    except ConfigError:
        raise ConfigError(
            f"{path}: kind = {tree['kind']!r}, written by gfvad {version}; {here}, which knows"
            f" {', '.join(kinds.KINDS)}"
        ) from None
    try:
        config = ConfigDict(with_tuples(tree))
        leaves = flatten(config)
        if leaves.keys() - table.keys():
            read_plugins()  # which may declare more
        for key, value in kinds.earlier(leaves, table).items():
            if key not in leaves:
                kinds.put(config, key, value)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path}: not a config ({error}); give --config=configs/NAME.py"
        ) from None
    leaves = flatten(config)
    with stored(workdir):
        check_values(leaves)
    if strange := sorted(leaves.keys() - table.keys()):
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise ConfigError(
            f"{path}: key {strange[0]!r}{more} is unknown here: the run was written by gfvad"
            f" {version}, {here}; use the version that wrote it, or take the key out if you added"
            " it"
        )
    if missing := sorted(table.keys() - leaves.keys()):
        raise ConfigError(
            f"{path}: key {missing[0]!r} is missing (the run was written by gfvad {version});"
            " expected every key of the config: give --config=configs/NAME.py"
        )
    return config


@contextlib.contextmanager
def stored(workdir: str | Path) -> Iterator[None]:
    """Within it, errors of a config name the file that it was read from."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(
            f"{Path(workdir) / CONFIG}: {error}; the file was changed or is damaged: put it back,"
            " or give --config=configs/NAME.py"
        ) from None


def save(config: ConfigDict, workdir: Path) -> None:
    """Writes config.json, with the version that writes it, into a run's folder (whole or not at
    all). Raises DataError where it cannot."""
    text = json.dumps({**config.to_dict(), WRITTEN_BY: gfvad.__version__}, indent=1, sort_keys=True)
    write_text(workdir / CONFIG, text)


def config_hash(config: ConfigDict) -> str:
    """Eight hex digits that change with any value that can change a result."""
    leaves = telling(config, lambda setting: setting.hashed)
    return hashlib.sha256(json.dumps(leaves, sort_keys=True, default=list).encode()).hexdigest()[:8]


def telling(config: ConfigDict, counts: Callable[[Setting], bool]) -> dict[str, object]:
    """Dotted key -> value of the settings that tell configurations apart: those that count, but no
    new one where it does what was done before it came, or nothing at all."""
    leaves, table = flatten(config), kinds.settings_of(config)

    def silent(setting: Setting, value: object) -> bool:
        idle = bool(setting.only_with) and not leaves[setting.only_with]
        return setting.quiet and (idle or value == setting.before)

    return {
        key: value
        for key, value in leaves.items()
        if key not in table or (counts(table[key]) and not silent(table[key], value))
    }


def with_tuples(tree: Any) -> Any:
    """JSON lists back to the tuples they were."""
    if isinstance(tree, dict):
        return {k: with_tuples(v) for k, v in tree.items()}
    return tuple(with_tuples(v) for v in tree) if isinstance(tree, list) else tree
