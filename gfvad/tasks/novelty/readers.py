"""What runs a trained model over the units of a video: graph novelty with the columns that stand
beside a headline, or a comparator with the floors beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.data.unit_videos import UnitVideos
from gfvad.tasks.novelty.compared_step import WindowBatch, term_scores
from gfvad.tasks.novelty.comparing import Compared
from gfvad.tasks.novelty.model import BANK, GraphNovelty, build_model, sets_alone, with_columns
from gfvad.tasks.novelty.registry import build_compared, is_comparator
from gfvad.tasks.novelty.score import Reader
from gfvad.tasks.novelty.windows import series_of, window_rows
from gfvad.train.parallel import Mapper
from gfvad.train.state import TrainState

ROWS, MASK = "window rows", "window mask"  # beside the feature sets of a video


class ComparedReader(Reader):
    """Runs a comparator over units. Its columns are the comparator's terms, and, where
    they are wanted, the distances that floors are made of, which the reader `floors` gives."""

    def __init__(self, mapper: Mapper, model: Compared, config: ConfigDict, floors: bool):
        """floors: whether they are wanted."""
        super().__init__(mapper, model, config.data.eval_batch_size)
        self.length, self.stride = model.window, int(config.model.stride)
        if floors:
            beside = build_model(config, dict(model.widths), model.bank, model.banks)
            beside = beside.clone(terms=sets_alone(config))
            self.floors = Reader(mapper, beside, self.batch)
            self.columns = (*model.terms, *beside.terms)
        self._floors_of: tuple[TrainState, TrainState] | None = None

    def program(self) -> Callable[..., Any]:
        """The scores of a batch."""
        return partial(term_scores, model=self.model)

    def inputs(self, videos: UnitVideos, index: int) -> dict[str, np.ndarray]:
        """The feature sets, and the rows of each unit's window."""
        tracks = videos.tracks[index]
        rows = np.arange(len(tracks.frame))
        there, mask = window_rows(rows, series_of(tracks), self.length, self.stride)
        return {**videos.features(index), ROWS: there, MASK: mask}

    @staticmethod
    def batch_of(
        features: Mapping[str, np.ndarray],
        camera: np.ndarray,
        part: np.ndarray,
        rows: np.ndarray,
        size: int,
    ) -> WindowBatch:
        """The windows of the units at some rows, as of Reader."""
        there, none = features[ROWS][rows], np.zeros(len(rows), np.int32)
        sets = {n: x[there] for n, x in features.items() if n not in (ROWS, MASK)}
        valid = np.arange(len(rows)) < size
        return WindowBatch(sets, features[MASK][rows], camera, none, valid, none)

    def beside_of(self, state: TrainState) -> TrainState:
        """Graph novelty before any step, with the bank of a comparator's state."""
        assert self.floors is not None
        if self._floors_of is None or self._floors_of[0] is not state:
            self._floors_of = state, unfitted(self.floors.model, state)
        return self._floors_of[1]


def unfitted(model: GraphNovelty, state: TrainState) -> TrainState:
    """Graph novelty before any step, with the bank of a comparator's state."""
    params = {
        "scale": np.zeros(len(model.widths), np.float32),
        "weight": np.zeros(len(model.terms), np.float32),
        "offset": np.zeros((), np.float32),
    }
    bank = {name: x for name, x in state.constants[BANK].items() if name != "inner"}
    return state._replace(params=params, constants={BANK: bank}, opt_state=())


def built(config: ConfigDict, told: Mapping[str, Any]) -> GraphNovelty | Compared:
    """The model of a kept calibration."""
    banks = int(told.get("banks", 1))
    if not is_comparator(config):
        return build_model(config, told["widths"], told["bank"], banks)
    codes = banks if banks > 1 else len(told["cameras"])
    return build_compared(config, told["widths"], told["bank"], banks, codes)


def reader_of(
    config: ConfigDict, mapper: Mapper, model: Any, state: TrainState, compared: bool
) -> tuple[Reader, TrainState]:
    """What reads units by a trained model, and the state that it reads by; compared: with the
    columns that stand beside a headline."""
    if is_comparator(config):
        return ComparedReader(mapper, model, config, compared), state
    if compared:
        model, state = with_columns(model, state, config)
    return Reader(mapper, model, config.data.eval_batch_size), state
