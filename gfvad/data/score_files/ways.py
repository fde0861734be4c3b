"""How scores of a video may stand for its frames.

unit 1    a score a frame; or all but some: 15 fewer are clips of 16 frames, scored for their
          ninth (8 labels before and 7 behind go); 4 fewer are frames predicted from the 4
          before them (4 labels before go); others by --first
unit 16   a score a snippet; a last part of a snippet counts where a score stands for it
unit 0    by --unit=0 alone: the scores cut the video into equal spans
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gfvad.data.ground_truth import SNIPPET

UNITS = (1, SNIPPET)
CUTS = {15: 8, 4: 4}  # frames without a score -> how many of them are the first ones
MOST_CUT = 64  # frames of a video that may have no score


class Choices(NamedTuple):
    """What the command line says of score files."""

    unit: int | None = None  # frames a score stands for; 0: equal spans; None: found out
    first: int | None = None  # frames at the beginning that have no score
    order: tuple[str, ...] = ()  # of the videos in one array
    lengths: tuple[int, ...] = ()  # of the videos in one array, in entries
    partial: bool = False  # videos without scores are left out


class Way(NamedTuple):
    """How scores of N entries stand for a video of T frames."""

    unit: int
    first: int = 0  # labels that are left out at the beginning
    last: int = 0  # and at the end

    def off(self, entries: int, frames: int) -> int:
        """By how many frames the lengths differ."""
        return abs(entries * self.unit - (frames - self.first - self.last)) if self.unit else 0

    def allows(self, entries: int, frames: int) -> bool:
        """Whether the lengths can belong together: a last unit may count or not, and one may be
        lost, whether its score comes once or repeated for each frame."""
        if not self.unit:
            return entries <= frames
        repeated = entries % SNIPPET == 0 and not (self.first or self.last)
        loose = self.unit if self.unit > 1 else SNIPPET * repeated
        return self.off(entries, frames) <= loose

    @property
    def text(self) -> str:
        """In words."""
        if not self.unit:
            return "scores cut each video into equal spans"
        kind = "a score a frame" if self.unit == 1 else f"a score for {self.unit} frames"
        cut = f", {self.first} labels before and {self.last} behind left out"
        return kind + (cut if self.first or self.last else "")


def ways_of(entries: Sequence[int], frames: Sequence[int], choices: Choices) -> list[Way]:
    """The ways to be tried for scores [V] of videos of frames [V]."""
    if choices.unit == 0:
        return [Way(0)]
    ways = [Way(unit) for unit in UNITS]
    if choices.unit is not None:
        ways = [Way(choices.unit)]
    lacking = {t - n for n, t in zip(entries, frames)}
    lacks = lacking.pop() if len(lacking) == 1 else 0
    first = choices.first if choices.first is not None else CUTS.get(lacks)
    if 0 < lacks <= MOST_CUT and first is not None and first <= lacks and choices.unit in (None, 1):
        return [Way(1, first, lacks - first), *(w for w in ways if w.unit != 1)]
    return ways


def counts_of(choices: Choices) -> dict[str, Callable[[int], int]]:
    """How many scores a video of T frames may have, in words."""
    units = UNITS if choices.unit is None else (choices.unit,)
    rules: dict[str, Callable[[int], int]] = {}
    for unit in units:
        if unit == 1:
            rules["a score a frame"] = lambda t: t
            rules |= {f"{c} frames of each without a score": lambda t, c=c: t - c for c in CUTS}
        elif unit:
            rules[f"a score for {unit} frames"] = lambda t, u=unit: t // u
            rules[f"a score for {unit} frames, counted up"] = lambda t, u=unit: -(-t // u)
    return rules
