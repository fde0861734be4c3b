"""How long a step takes at best: the longest of arithmetic, memory and interconnect, each at its
published rate (the roofline of Williams et al., 2009)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gfvad.plan.chips import Chip
from gfvad.plan.collectives import Collective

SPARE = 0.9  # share of a chip's memory that a program may have; the rest is the runtime's


class Counted(NamedTuple):
    """A compiled step, counted by its compiler; of one chip."""

    flops: float
    moved: float  # bytes that its operations read and write
    arguments: float  # bytes of state and batch
    results: float
    held: float  # bytes in use at most
    of_batch: float  # bytes of the arguments that grow with the batch
    collectives: Mapping[str, Collective]
    seconds: float  # that compiling took


class Times(NamedTuple):
    """Seconds of a step."""

    arithmetic: float
    memory: float
    interconnect: float

    @property
    def step(self) -> float:
        """None of the three can be hidden behind the longest."""
        return max(self)

    @property
    def binds(self) -> str:
        """What the step waits for."""
        return max(zip(self, self._fields))[1]


def times(counted: Counted, chip: Chip, chips: int) -> Times:
    """At the published rates. A ring moves 2 (n - 1) / n of what is reduced through each chip, in
    one direction of its links at a time."""
    exchanged = sum(c.bytes for c in counted.collectives.values())
    around = 2 * (chips - 1) / chips * exchanged / (chip.interconnect / 2)
    return Times(counted.flops / chip.flops, counted.moved / chip.bandwidth, around)


def least_moved(counted: Counted) -> float:
    """Bytes that a step must move: what it is given and what it gives."""
    return counted.arguments + counted.results


def apart(counted: Counted, chip: Chip) -> float:
    """The longest of arithmetic and memory over the least that either could take: 1 is a step that
    moves what it must and no more, or computes all the time."""
    least = max(counted.flops / chip.flops, least_moved(counted) / chip.bandwidth)
    found = times(counted, chip, 1)
    return max(found.arithmetic, found.memory) / max(least, 1e-12)


def largest_batch(counted: Counted, chip: Chip, batch: int) -> int:
    """Examples a chip whose step would fit, by proportion: all that is held grows with the batch,
    but the state. An estimate; 0 where not even the state fits."""
    state = counted.arguments - counted.of_batch
    room = SPARE * chip.memory - state
    each = max(counted.held - state, 1.0) / batch
    return max(int(room // each), 0)
