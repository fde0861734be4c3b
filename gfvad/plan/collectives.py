"""What chips say to each other in a compiled program, read from its text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_CALL = re.compile(rf"= (.+?) ({'|'.join(KINDS)})(?:-start)?\(")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]")


class Collective(NamedTuple):
    """One kind of exchange in a program."""

    count: int
    bytes: int  # of what it gives on a chip, all calls together


def collectives(program: str) -> Mapping[str, Collective]:
    """Kind -> calls and bytes, of the text of a compiled program (HLO); those that overlap with
    computation ('-start') once."""
    found: dict[str, Collective] = {}
    for line in program.splitlines():
        if match := _CALL.search(line):
            given, kind = match.groups()
            before = found.get(kind, Collective(0, 0))
            found[kind] = Collective(before.count + 1, before.bytes + array_bytes(given))
    return found


def array_bytes(shapes: str) -> int:
    """Bytes of the arrays in the text of a type: f32[8,16]{1,0:T(8,128)}, or a tuple of such."""
    total = 0
    for kind, sides in _ARRAY.findall(shapes):
        bits = 8 if kind == "pred" else int(re.search(r"\d+", kind)[0])  # pyright: ignore
        total += math.prod(int(side) for side in sides.split(",") if side) * bits // 8
    return total
