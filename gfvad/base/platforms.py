"""Which platform a program is compiled for: what a choice between forms of one computation goes by,
never the platform of the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PLATFORM: ContextVar[str] = ContextVar("platform", default="")


@contextmanager
def compiling_for(platform: str) -> Iterator[None]:
    """While a program is traced: `platform` as of a device of JAX (cpu, gpu, tpu)."""
    before = _PLATFORM.set(platform)
    try:
        yield
    finally:
        _PLATFORM.reset(before)


def compiled_for() -> str:
    """The platform of the program that is traced; JAX's default one where nobody has said."""
    if given := _PLATFORM.get():
        return given
    import jax

    return jax.default_backend()
