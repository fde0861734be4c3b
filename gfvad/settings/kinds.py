"""Which settings a configuration has: those that its kind of task declares, and what others add."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from gfvad.base.errors import ConfigError
from gfvad.settings import fusion, novelty, prediction
from gfvad.settings.declared import Setting

Leaves = Mapping[str, Any] | ConfigDict  # of a configuration, or itself
DEFAULT = "weak"  # of configurations without a kind
KINDS: dict[str, dict[str, Setting]] = {DEFAULT: {}, "predictive": {}, "novelty": {}}


def register(kind: str, *settings: Setting) -> None:
    """Declares further settings of a kind of task; configs/*.py may add their own before they build
    their configuration. A setting that came with a package version of 0.2 or later (`since`) leaves
    the hashes of runs without it alone.

    Raises ConfigError for a key that the kind has already.
    """
    table = KINDS.setdefault(kind, {})
    for setting in settings:
        if table.setdefault(setting.key, setting) != setting:
            raise ConfigError(f"setting {setting.key!r} is declared already for kind {kind!r}")


def kind_of(leaves: Leaves) -> str:
    """The kind of a configuration, or of its leaves. Raises ConfigError for one that is unknown."""
    kind = leaves.get("kind", DEFAULT)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"config.kind = {kind!r}: expected one of {', '.join(KINDS)}")
    return kind


def settings_of(leaves: Leaves) -> Mapping[str, Setting]:
    """Key -> setting of a configuration, or of its leaves."""
    return KINDS[kind_of(leaves)]


def keys_where(holds: Callable[[Setting], Any]) -> tuple[str, ...]:
    """Keys, of any kind, whose setting has a property."""
    settings = (setting for table in KINDS.values() for setting in table.values())
    return tuple(dict.fromkeys(setting.key for setting in settings if holds(setting)))


def default_config(kind: str = DEFAULT) -> ConfigDict:
    """A new configuration of a kind, every setting at its default."""
    config = ConfigDict()
    for setting in KINDS[kind].values():
        put(config, setting.key, setting.default)
    return config


def put(config: ConfigDict, key: str, value: object) -> None:
    """Sets a dotted key, groups above it included."""
    *groups, leaf = key.split(".")
    for group in groups:
        if group not in config:
            config[group] = ConfigDict()
        config = config[group]
    config[leaf] = value


def earlier(leaves: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """The leaves of an earlier version, with those of `keys` that came later, each at the value
    that does what was done before it."""
    table = settings_of(leaves)
    later = {key: table[key].before for key in keys if key in table and table[key].since}
    return {**later, **leaves}


register("weak", *fusion.SETTINGS)
register("predictive", *prediction.SETTINGS)
register("novelty", *novelty.SETTINGS)
