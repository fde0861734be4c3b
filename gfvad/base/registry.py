"""What a setting of the configuration names: ours by short names, anybody's by registering, or by
where it lies: 'package.module:name'."""

from __future__ import annotations

import importlib
from typing import Generic, TypeVar

from gfvad.base.errors import ConfigError
from gfvad.base.names import nearest

T = TypeVar("T")


class Registry(dict[str, T], Generic[T]):
    """Name -> what it stands for. key: the setting that holds such a name, for messages."""

    def __init__(self, key: str):
        super().__init__()
        self.key = key

    def register(self, name: str, value: T) -> T:
        """Adds a name. Raises ConfigError for one that stands for something else."""
        if super().__contains__(name) and self[name] != value:
            raise ConfigError(f"{self.key}: {name!r} is registered already; expected a new name")
        self[name] = value
        return value

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and ":" in name)

    def find(self, name: str) -> T:
        """What a name stands for. Raises ConfigError where it is unknown or cannot be imported."""
        if name in self.keys():
            return self[name]
        module, _, attribute = name.partition(":")
        if not attribute:
            raise ConfigError(
                f"config.{self.key} = {name!r}{nearest(name, tuple(self))} (one of"
                f" {', '.join(self)}, or package.module:name)"
            )
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"config.{self.key} = {name!r}: {error}; expected package.module:name of something"
                " that can be imported"
            ) from None
