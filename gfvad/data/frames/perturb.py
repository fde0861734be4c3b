"""Synthetic events in held-out normal video: what the weights of the score's terms are chosen on,
so that no test label is needed.

Several kinds (gfvad/data/frames/event_kinds.py), by chance; none knows anything of what the test
videos hold. With any of them, four times out of five, the descriptions begin with a clause about
something that no normal description speaks of. A kind that would change nothing that can be seen
(an empty room played faster) gives way to another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter

from gfvad.data.frames.event_kinds import KINDS

FOREIGN = (
    "a dog runs loose across the way",
    "thick smoke rises from a bin",
    "a person lies on the ground",
    "a tree has fallen over the path",
    "a ladder stands against a lamp post",
    "two people are fighting",
    "a large balloon floats over the crowd",
    "someone carries a long plank",
    "water floods the ground",
    "a horse is led along",
    "a flag is being waved",
    "a tent stands in the middle of the way",
)
WORDED = 0.8  # share of events that the descriptions speak of
LENGTHS = (25, 50)  # frames of an event
GAP = 25  # normal frames between events
FIRST = 5  # at least that many before the first one, at most GAP
VISIBLE = 3.0  # grey levels that an event changes somewhere, on average over its frames
WINDOW = 12  # ... in a window of a twelfth of the picture a side


class Perturbed(NamedTuple):
    """A changed copy of one video."""

    frames: np.ndarray  # uint8 [T, H, W, C]
    texts: list[str] | None
    labels: np.ndarray  # uint8 [T], 1 within an event
    kinds: list[str]  # of each frame; "" outside of events


def perturb(
    frames: np.ndarray,
    texts: Sequence[str] | None,
    rng: np.random.Generator,
    kinds: Sequence[str] = tuple(KINDS),
) -> Perturbed:
    """Puts events into a copy of a video [T, H, W, C] (texts: one a frame), normal and abnormal
    stretches in turn.

    A video of at most FIRST + LENGTHS[0] frames stays as it is; one of more than GAP + LENGTHS[0]
    has an event for certain, where something can be seen of one.
    """
    out, found = frames.copy(), [""] * len(frames)
    said = list(texts) if texts is not None else None
    start = int(rng.integers(FIRST, GAP + 1))
    while start + LENGTHS[0] < len(frames):
        length = int(min(rng.integers(LENGTHS[0], LENGTHS[1] + 1), len(frames) - start))
        end, left = start + length, list(kinds)
        while left:
            kind = left.pop(int(rng.integers(len(left))))
            KINDS[kind](out, frames, start, length, rng)
            if visible(out[start:end], frames[start:end]):
                break
            out[start:end] = frames[start:end]
        else:
            kind = ""
        found[start:end] = [kind] * length
        if said is not None and kind and rng.random() < WORDED:
            clause = FOREIGN[int(rng.integers(len(FOREIGN)))]
            said[start:end] = [f"{clause.capitalize()}. {t}" for t in said[start:end]]
        start += length + GAP
    return Perturbed(out, said, np.array([bool(kind) for kind in found], np.uint8), found)


def visible(changed: np.ndarray, frames: np.ndarray) -> bool:
    """Whether frames [n, H, W, C] differ enough from what they were for an event to be seen."""
    apart = np.abs(changed.astype(np.int16) - frames).mean((0, 3))
    window: Any = [max(side // WINDOW, 1) for side in apart.shape]  # the stub knows one side
    return float(uniform_filter(apart, window, mode="nearest").max()) >= VISIBLE
