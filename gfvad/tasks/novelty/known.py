"""What was compared with the bank already: settings of a sweep that differ only in how scores are
made of novelty share it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np

from gfvad.train.state import TrainState

STATES = 2  # that are kept: settings come seed by seed
BANKS = 8  # whose distances are kept: comparators come one after another, each by all seeds


class Known:
    """Novelty of units by the numbers and the bank of one model."""

    def __init__(self) -> None:
        self._found: dict[Hashable, np.ndarray] = {}

    def novelty(self, units: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """What `make` gives, or gave before of the same units."""
        if units not in self._found:
            self._found[units] = make()
        return self._found[units]


class KnownStates:
    """The same of the last few models."""

    def __init__(self, states: int = STATES, banks: int = BANKS):
        """banks: the same of banks alone, whose distances are the floors of comparators."""
        self.states = states
        self.floors = KnownStates(banks, 0) if banks else self
        self._known: OrderedDict[str, Known] = OrderedDict()

    def of(self, state: TrainState, about: Any) -> Known:
        """Of a state, and of what else decides the novelty (by its repr)."""
        digest = hashlib.sha256(repr(about).encode())
        for leaf in jax.tree.leaves(jax.device_get((state.params, state.constants))):
            digest.update(np.ascontiguousarray(leaf).tobytes())
        known = self._known.setdefault(digest.hexdigest(), Known())
        self._known.move_to_end(digest.hexdigest())
        while len(self._known) > self.states:
            self._known.popitem(last=False)
        return known
