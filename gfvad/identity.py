"""What a run learns from, by content: the names of its videos alone would take another set of the same names for the same."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Learnt(NamedTuple):
    """Data as a run's checkpoints and results know it."""

    name: str  # `repr` of its records: dataset, split, number and names of its videos, modalities
    content: Mapping[str, str] = {}  # part ("rgb", "labels and spans", ...) -> digest; {} where it is not known (data or runs of earlier versions)

    def differences(self, other: Mapping[str, str]) -> list[str]:
        """The parts that both know and that differ."""
        return sorted(part for part, digest in self.content.items() if part in other and other[part] != digest)


def learnt(records: Any) -> Learnt:
    """The identity of a split of records, or of clips."""
    return Learnt(repr(records), dict(getattr(records, "content", {})))
