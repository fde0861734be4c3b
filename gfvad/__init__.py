"""gfvad: graph-fusion video anomaly detection in JAX.

What it offers to other people's code, with an example, stands in `gfvad/library.py`, and what
registers parts of their own in `gfvad/plugins.py`. Both are read when they are first asked for.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from gfvad.base.errors import ConfigError, DataError
    from gfvad.library import (
        FusionOperator,
        SparseFeatureFilter,
        expand,
        fuse,
        load,
        relation,
        score,
    )
    from gfvad.plugins import (
        register_encoder,
        register_expansion,
        register_fusion,
        register_layout,
        register_loss,
        register_model,
        register_relation,
    )

__all__ = [
    "ConfigError",
    "DataError",
    "FusionOperator",
    "SparseFeatureFilter",
    "expand",
    "fuse",
    "load",
    "register_encoder",
    "register_expansion",
    "register_fusion",
    "register_layout",
    "register_loss",
    "register_model",
    "register_relation",
    "relation",
    "score",
]


class _Package(ModuleType):
    """This package: names of the public API are found on demand, and stay what they are when a
    module of the same name (gfvad/shims/score.py) is imported."""

    def __getattr__(self, name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'gfvad' has no attribute {name!r}")
        module = "gfvad.plugins" if name.startswith("register_") else "gfvad.library"
        value = getattr(import_module(module), name)
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
