"""gfvad: graph-fusion video anomaly detection in JAX. What it offers to other people's code, with
an example, stands in `gfvad/library.py`; it is read when it is first asked for."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gfvad.base.errors import ConfigError, DataError
    from gfvad.library import (
        FusionOperator,
        SparseFeatureFilter,
        expand,
        fuse,
        register_expansion,
        register_fusion,
        register_relation,
        relation,
    )

__all__ = [
    "ConfigError",
    "DataError",
    "FusionOperator",
    "SparseFeatureFilter",
    "expand",
    "fuse",
    "register_expansion",
    "register_fusion",
    "register_relation",
    "relation",
]


class _Package(ModuleType):
    """This package: names of the public API are found on demand, and stay what they are when a
    module of the same name (gfvad/shims/score.py) is imported."""

    def __getattr__(self, name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'gfvad' has no attribute {name!r}")
        value = getattr(import_module("gfvad.library"), name)
        super().__setattr__(name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package

# commands by their former names, as `python -m gfvad.ablate`
__path__.append(f"{__path__[0]}/shims")

# `gfvad ...` and `python -m gfvad...`: a command is about to start, its libraries are read first
if sys.argv and (sys.argv[0] == "-m" or sys.argv[0].endswith(("/gfvad", "gfvad.exe"))):
    from gfvad.base import interrupts

    interrupts.leave_quietly()
    del interrupts
