"""Runs the predictive model over whole videos and streams: every frame exactly once, as the one
that is predicted."""

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
from gfvad.tasks.prediction.picture_bank import small_pictures
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
            for batch, found in self.stream(state, self._batches(data, videos)):
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

    def _batches(self, data: ClipData, videos: Sequence[int]) -> Iterator[ClipBatch]:
        return eval_batches(data, videos, self.config.data.eval_batch_size)

    def _readings(self, data: ClipData, video: int, found: dict[str, np.ndarray]) -> Readings:
        speed = None
        if data.flow is not None and "flow" in found:
            speed = fit_cells(np.asarray(data.flow.video(video), np.float32), data.grid)[..., 2]
        return with_pictures(
            assemble(self.config, found, speed), self.config, data.frames.video(video)
        )

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
        counts, last = [], []
        clips = self._batches(data, [video])
        for batch, kept in self.mapper.stream(self._routing, state, clips):
            kept = np.asarray(kept)[batch.valid]
            if kept.ndim < 4:
                return None
            counts.append(kept.sum((0, 2)))
            last.append(kept[:, -1])
        total = np.sum(counts, 0)
        return total / total.sum(1, keepdims=True), np.concatenate(last)

    def errors(
        self, state: TrainState, data: ClipData, videos: Sequence[int] | np.ndarray, count: int
    ) -> dict[str, float]:
        """Mean errors of the predictions on `count` clips of some videos, evenly chosen: what
        training is followed by."""
        places = [(int(v), t) for v in videos for t in range(int(data.lengths[v]))]
        even = np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)
        chosen = [places[i] for i in np.unique(even)]
        size, sums, model = self.config.data.eval_batch_size, {}, self.bind(state)
        for start in range(0, len(chosen), size):
            part = chosen[start : start + size]
            found = model(batch_of([data.features(v, t) for v, t in part], size))
            for name in ("appearance", "flow", "text"):
                if name in found:
                    each = np.asarray(found[name][: len(part)], np.float64).reshape(len(part), -1)
                    sums[name] = sums.get(name, 0.0) + float(each.mean(1).sum())
        return {name: value / len(chosen) for name, value in sums.items()}


def batch_of(clips: Sequence[Mapping[str, np.ndarray]], size: int) -> ClipBatch:
    """Up to `size` clips as a batch of just that many, the last one repeated where there are
    fewer."""
    rows, zeros = [*clips, *[clips[-1]] * (size - len(clips))], np.zeros(size, np.int32)
    features = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return ClipBatch(features, np.arange(size) < len(clips), zeros, zeros, zeros)


def clip_readings(
    config: ConfigDict, batch: ClipBatch, found: Mapping[str, np.ndarray], count: int
) -> Readings:
    """What the model said of the first `count` clips of a batch, frames of one video."""
    speed = batch.features["flow"][:count, -1, ..., 2] if "flow" in batch.features else None
    rows = {n: np.asarray(x[:count], np.float32) for n, x in found.items()}
    frames = batch.features["frames"][:count, -1]
    return with_pictures(assemble(config, rows, speed), config, frames)


def with_pictures(readings: Readings, config: ConfigDict, frames: np.ndarray) -> Readings:
    """Readings with small pictures of the frames [T, H, W, C], where the score has a term of
    them."""
    if "bank" not in config.score.terms:
        return readings
    return readings._replace(maps={**readings.maps, "pictures": small_pictures(frames)})


def assemble(
    config: ConfigDict, found: Mapping[str, np.ndarray], speed: np.ndarray | None
) -> Readings:
    """Readings of T frames of one video from what the model said of them (`clip_step.eval_step`)
    and the speed of the flow [T, g, g']."""
    data, model = config.data, config.model
    maps = {"appearance": found["appearance"]}
    if "pace" in found:
        maps["pace"] = resize(found["pace"], (data.height // model.cell, data.width // model.cell))
    if "flow" in found and speed is not None:
        maps |= {"flow": found["flow"], "speed": speed}
    if "relation" in config.score.terms:
        rows, columns = data.height // model.patch, data.width // model.patch
        maps["relation"] = found["relation"].reshape(len(found["relation"]), rows, columns, -1)
    return Readings(maps, found.get("semantic"), found.get("text"))


def resize(maps: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """[T, a, b] -> [T, g, g'] by linear interpolation."""
    if maps.shape[1:] == grid:
        return maps
    return np.stack([cv2.resize(m, grid[::-1], interpolation=cv2.INTER_LINEAR) for m in maps])
