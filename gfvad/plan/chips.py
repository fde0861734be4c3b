"""Published figures of accelerators, a chip each.

Sources (2026): Google Cloud TPU documentation, the pages of v4, v5e, v5p and v6e (peak bfloat16
compute, HBM capacity and bandwidth, interchip interconnect bandwidth); NVIDIA's data sheets of
A100 80 GB SXM, H100 SXM and H200 SXM (dense bfloat16, NVLink in both directions).
"""

from __future__ import annotations

from typing import NamedTuple

from gfvad.base.names import nearest
from gfvad.base.types import ConfigError


class Chip(NamedTuple):
    """What one chip has."""

    name: str
    flops: float  # bfloat16 operations a second
    memory: float  # bytes
    bandwidth: float  # of memory, bytes a second
    interconnect: float  # bytes a second, all links in both directions


CHIPS = {
    "v4": Chip("TPU v4", 275e12, 32e9, 1228e9, 300e9),
    "v5e": Chip("TPU v5e", 197e12, 16e9, 819e9, 200e9),
    "v5p": Chip("TPU v5p", 459e12, 95e9, 2765e9, 600e9),
    "v6e": Chip("TPU v6e", 918e12, 32e9, 1640e9, 448e9),
    "a100": Chip("NVIDIA A100 80 GB", 312e12, 80e9, 2039e9, 600e9),
    "h100": Chip("NVIDIA H100", 989e12, 80e9, 3350e9, 900e9),
    "h200": Chip("NVIDIA H200", 989e12, 141e9, 4800e9, 900e9),
}
GPUS = ("a100", "h100", "h200")


class Topology(NamedTuple):
    """Chips that a program is compiled for."""

    name: str  # v5e:2x2, h200:8
    chip: Chip
    gpu: bool
    chips: int


def topology(name: str) -> Topology:
    """'v5e:4x4' (TPU kind and grid) or 'h200:8' (GPU and number). Raises ConfigError."""
    kind, _, grid = name.partition(":")
    if kind not in CHIPS:
        raise ConfigError(
            f"--topology={name}: {kind!r} is not known{nearest(kind, tuple(CHIPS))}; expected one"
            f" of {', '.join(CHIPS)} with chips, as v5e:4x4 or h200:8"
        )
    sides = grid.split("x")
    if not all(side.isdigit() and int(side) > 0 for side in sides):
        raise ConfigError(f"--topology={name}: expected chips, as {kind}:4x4 or h200:8")
    chips = 1
    for side in sides:
        chips *= int(side)
    return Topology(name, CHIPS[kind], kind in GPUS, chips)
