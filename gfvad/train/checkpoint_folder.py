"""The checkpoints of a run's folder, before any array is read: which are there, which are whole,
which is the best, and whose they are."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from gfvad.base.errors import cannot_write
from gfvad.base.types import DataError
from gfvad.train.identity import Learnt
from gfvad.train.run_settings import refuse_others, training_leaves
from gfvad.train.sealed import Damaged, lacks, numbered, read_meta

VALIDATION, TEST = "validation", "test"  # what a checkpoint can be best on
BEST = {"best": VALIDATION, "best_on_test": TEST}


class CheckpointFolder:
    """Which checkpoints of a folder can be used. `checkpoint.py` reads and writes them."""

    def __init__(
        self, folder: Path, config: ConfigDict, data: Learnt | str = "", *, write: bool = False
    ):
        """data: what the run learns from; compared like the config, where it is given.

        write: the one training run of the folder, which also clears away what an earlier one left
        half-done and moves damaged ones to damaged-STEP; without it nothing on disk is touched, so
        a run can be looked at while it trains.
        """
        self.folder = Path(folder).absolute()
        self.expected = training_leaves(config)
        self._data = Learnt(data) if isinstance(data, str) else data
        self._keep, self._write = config.train.keep, write
        if not write and not self.folder.is_dir():
            raise DataError(
                f"{self.folder}: not found; expected the checkpoints of a run: train first, or give"
                " its --workdir"
            )
        if write:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise cannot_write(self.folder, error) from None
        self._bad: set[int] = set()  # known to be damaged
        self._metas: dict[int, dict[str, Any]] = {}  # of those that were looked at, by step
        self._arrays: tuple[int, dict[str, np.ndarray]] | None = None  # the one read last
        self._whole: set[int] = set()  # whose arrays were verified, or saved here
        steps = self.steps()
        self._tell_incomplete(steps)
        if write:
            for step in steps:
                self._meta(step)
        newest = next((step for step in reversed(steps) if self._meta(step)), None)
        if newest is not None:
            self._check_config(newest)

    def steps(self) -> list[int]:
        """Steps of all complete checkpoints that are not known to be damaged, in order."""
        return sorted(
            step
            for step, path in numbered(self.folder).items()
            if step not in self._bad and not lacks(path)
        )

    def step_of(self, which: str | int) -> int | None:
        """The step of the whole checkpoint that 'last', 'best', 'best_on_test' or a number means;
        None where there is none.

        Raises DataError where a number is of a damaged one.
        """
        if which in BEST or which == "last":
            while (step := self._candidate(str(which))) is not None and not self._verify(step):
                pass
            return step
        step = int(which) if str(which).isdecimal() else None
        if step in self._bad or (step in self.steps() and not self._verify(step)):
            raise self._is_damaged(step)
        return step if step in self.steps() else None

    def _is_damaged(self, step: int) -> DataError:
        return DataError(
            f"{self.folder / str(step)}: damaged; whole ones: {self._found()}; give one of them,"
            " last or best"
        )

    def require(self, which: str | int) -> int:
        """As `step_of`. Raises DataError where there is none."""
        step = self.step_of(which)
        if step is None:
            raise DataError(
                f"{self.folder}: no whole checkpoint {which!r}; steps found: {self._found()}; give"
                " last, best or one of them, or train first"
            )
        return step

    def _candidate(self, which: str) -> int | None:
        steps = [step for step in reversed(self.steps()) if self._meta(step)]
        if which == "last":
            return steps[0] if steps else None
        values = ((ranking(self._metas[step]["metrics"], BEST[which]), step) for step in steps)
        value, step = max(values, default=(-math.inf, 0))
        return step if value > -math.inf else None  # of equal ones the newest

    def feature_widths(self, which: str | int, modalities: Sequence[str]) -> dict[str, int]:
        """{modality: D} of the features a checkpoint was trained on, by its feature statistics.
        Raises DataError where there is no such checkpoint."""
        shapes = self._check_config(self.require(which))["shapes"]
        stated = {m: shapes.get(f"constants.constants.mean_{m}", "") for m in modalities}
        found = {m: re.fullmatch(r"\w+\[(\d+)\]", text) for m, text in stated.items()}
        return {m: int(match[1]) for m, match in found.items() if match}

    def _found(self) -> str:
        return ", ".join(map(str, self.steps())) or "none"

    def _meta(self, step: int) -> dict[str, Any] | None:
        """The verified meta of a checkpoint; None (and a word about it) where it is damaged."""
        if step not in self._metas and step not in self._bad:
            try:
                self._metas[step] = read_meta(self.folder / str(step))
            except Damaged as error:
                self._tell(step, error)
        return self._metas.get(step)

    def _verify(self, step: int) -> bool:
        """Whether a checkpoint is whole; a word about it where it is not."""
        if step in self._whole:
            return True
        if self._meta(step) is None:
            return False
        try:
            self._arrays = step, self._read(step)
        except Damaged as error:
            self._tell(step, error)
            return False
        self._whole.add(step)
        return True

    def _tell_incomplete(self, steps: Sequence[int]) -> None:
        """A line about each checkpoint whose copy, or deletion, was cut short. steps: the
        complete ones."""
        for step, path in numbered(self.folder).items():
            if step not in steps and (found := lacks(path)):
                warn(f"{path}: not complete: {found}; it is passed over")

    def _tell(self, step: int, error: Damaged) -> None:
        self._bad.add(step)
        self._metas.pop(step, None)
        moved = "it is moved to damaged-STEP when this run saves"
        warn(
            f"{self.folder / str(step)}: damaged: {error}; the newest whole one before it is used,"
            f" {moved if self._write else 'it is left as it is'}"
        )

    def _check_config(self, step: int) -> Mapping[str, Any]:
        meta = self._meta(step)
        if meta is None:
            raise self._is_damaged(step)
        refuse_others(self.folder / str(step), meta, self.expected, self._data)
        return meta

    def _read(self, step: int) -> dict[str, np.ndarray]:
        """The verified arrays of a checkpoint. Raises Damaged."""
        raise NotImplementedError


def warn(text: str) -> None:
    """Process 0 speaks for all."""
    if jax.process_index() == 0:
        print(f"warning: {text}", file=sys.stderr, flush=True)


def ranking(metrics: Mapping[str, float] | None, name: str) -> float:
    """The value checkpoints are ranked by; the lowest where it was not measured."""
    return (metrics or {}).get(name, -math.inf)
