"""Runs the predictive model over whole videos: every frame exactly once, as the one that is
predicted. Beside evaluate.py the only file of eval that uses jax."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
from ml_collections import ConfigDict

from gfvad.base.progress import Progress
from gfvad.base.types import ClipBatch
from gfvad.data.frames.clip_data import ClipData, eval_batches, fit_cells
from gfvad.tasks.prediction import step as clip_step
from gfvad.tasks.prediction.score_terms import Readings
from gfvad.train.parallel import Mapper
from gfvad.train.state import TrainState


class Reader:
    """A model ready to read: mapped over this process's devices once, so that a second
    evaluation compiles nothing."""

    def __init__(self, mapper: Mapper, model: Any, config: ConfigDict):
        self.config, self.mapper, self.model = config, mapper.local(), model
        self._step = self.mapper.map_eval(
            partial(clip_step.eval_step, model=model, cell=config.model.cell)
        )
        self._routing = self.mapper.map_eval(partial(clip_step.routing_step, model=model))

    def read(
        self, state: TrainState, data: ClipData, videos: Sequence[int], label: str
    ) -> list[Readings]:
        """Readings of some videos of a split, in their order, with progress."""
        videos = list(map(int, videos))
        rows: dict[str, list[np.ndarray]] = {}
        with Progress(int(sum(data.lengths[v] for v in videos)), label, unit="frames") as progress:
            for batch, found in self._run(state, data, videos):
                count = int(batch.valid.sum())
                for name, x in found.items():
                    rows.setdefault(name, []).append(np.asarray(x[:count], np.float32))
                progress.advance(count)
        joined = {name: np.concatenate(parts) for name, parts in rows.items()}
        ends = np.cumsum([data.lengths[v] for v in videos])
        return [
            self._readings(data, v, {n: x[end - data.lengths[v] : end] for n, x in joined.items()})
            for v, end in zip(videos, ends)
        ]

    def _run(self, state: TrainState, data: ClipData, videos: Sequence[int], step: Any = None):
        """(batch, its result on the host); the next batch is on the devices before a result is
        read."""
        return self.mapper.stream(
            step or self._step, state, eval_batches(data, videos, self.config.data.eval_batch_size)
        )

    def _readings(self, data: ClipData, video: int, found: dict[str, np.ndarray]) -> Readings:
        speed = (
            fit_cells(np.asarray(data.flow.video(video), np.float32), data.grid)[..., 2]
            if "flow" in found
            else None
        )
        return assemble(self.config, found, speed)

    def bind(self, state: TrainState) -> Callable[[ClipBatch], dict[str, np.ndarray]]:
        """The model with its weights on the devices: a batch of clips -> its results [B, ...] on
        the host, for streams."""
        replicated = self.mapper.replicate(state)
        return lambda batch: self.mapper.to_host(
            self._step(replicated, self.mapper.shard(batch)), len(batch.valid)
        )

    def stream(
        self, state: TrainState, batches: Iterable[ClipBatch]
    ) -> Iterator[tuple[ClipBatch, dict[str, np.ndarray]]]:
        """(batch, its results on the host) of any batches of clips; the next batch is made and
        sent before a result is read."""
        return self.mapper.stream(self._step, state, batches)

    def routing(
        self, state: TrainState, data: ClipData, video: int
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Share of the slots that each expert gets, by layer [layers, E], and the slots of the last
        layer [T, L, E], over one video.

        None for filters that do not choose.
        """
        total, last = 0, []
        for batch, kept in self._run(state, data, [video], self._routing):
            kept = np.asarray(kept)[batch.valid]
            if kept.ndim < 4:
                return None
            total = total + kept.sum((0, 2))
            last.append(kept[:, -1])
        return total / total.sum(1, keepdims=True), np.concatenate(last)

    def errors(
        self, state: TrainState, data: ClipData, videos: Sequence[int] | np.ndarray, count: int
    ) -> dict[str, float]:
        """Mean errors of the predictions on `count` clips of some videos, evenly chosen: what
        training is followed by."""
        places = [(int(v), t) for v in videos for t in range(int(data.lengths[v]))]
        chosen = [
            places[i]
            for i in np.unique(
                np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)
            )
        ]
        size, sums, total = self.config.data.eval_batch_size, {}, 0
        replicated = self.mapper.replicate(state)
        for start in range(0, len(chosen), size):
            part = chosen[start : start + size]
            rows = [data.features(v, t) for v, t in part + [part[-1]] * (size - len(part))]
            valid = np.arange(size) < len(part)
            filled = np.zeros(size, np.int32)
            batch = ClipBatch(
                {k: np.stack([r[k] for r in rows]) for k in rows[0]}, valid, filled, filled, filled
            )
            found = self.mapper.to_host(self._step(replicated, self.mapper.shard(batch)), len(part))
            for name in ("appearance", "flow", "text"):
                if name in found:
                    sums[name] = sums.get(name, 0.0) + float(
                        np.asarray(found[name], np.float64).reshape(len(part), -1).mean(1).sum()
                    )
            total += len(part)
        return {name: value / total for name, value in sums.items()}


def assemble(
    config: ConfigDict, found: Mapping[str, np.ndarray], speed: np.ndarray | None
) -> Readings:
    """Readings of T frames of one video from what the model said of them (`clip_step.eval_step`)
    and the speed of the flow [T, g, g']."""
    data = config.data
    grid = (data.height // config.model.cell, data.width // config.model.cell)
    maps = {"appearance": found["appearance"]}
    if "pace" in found:
        maps["pace"] = resize(found["pace"], grid)
    if "flow" in found:
        maps |= {"flow": found["flow"], "speed": speed}
    if "relation" in config.score.terms:
        rows, columns = data.height // config.model.patch, data.width // config.model.patch
        maps["relation"] = found["relation"].reshape(len(found["relation"]), rows, columns, -1)
    return Readings(maps, found.get("semantic"), found.get("text"))


def resize(maps: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """[T, a, b] -> [T, g, g'] by linear interpolation."""
    if maps.shape[1:] == grid:
        return maps
    return np.stack([cv2.resize(m, grid[::-1], interpolation=cv2.INTER_LINEAR) for m in maps])
