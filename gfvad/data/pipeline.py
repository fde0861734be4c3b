"""From records to batches: shuffling, sharding by process, crops, static lengths. The only importer
of grain.

Everything is a function of a place in one global stream of examples
(gfvad/data/streams.py), so a position is one number. grain maps batch numbers to batches
on its threads and keeps that number.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import grain
import numpy as np

from gfvad.base.types import Batch, DataError
from gfvad.data import sampling
from gfvad.data.streams import (
    ClipStream,
    TrainStream,
    crops,
    modalities,
    own_places,
    reader,
    require_finite,
    width,
)

EVAL_CACHE_BYTES = 1 << 28
MAX_PLACE = 2**31 - 1  # Batch.position is int32


class TrainIterator(Iterator[Batch]):
    """Endless, deterministic iterator of local training batches (numpy, [batch_size / processes])
    of a stream, whose position can be saved and restored, on any number of processes.

    threads=0 builds each batch when it is asked for; None: one, or as many as cores (at most 8)
    where videos are read. Drawing raises DataError for features that are not finite.
    """

    def __init__(self, stream: TrainStream | ClipStream, threads: int | None = None):
        if threads is None:
            threads = 1 if stream.in_memory else min(8, os.cpu_count() or 1)
        self._identity = stream.identity
        # building ahead on threads changes nothing but the time: a batch is a function of its
        # number
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2, threads))
        batches = grain.MapDataset.range(MAX_PLACE // stream.identity["batch_size"]).map(
            stream.local_batch
        )
        self._iterator = iter(batches.to_iter_dataset(options))

    def __next__(self) -> Batch:
        state = self._iterator.get_state()
        try:
            return next(self._iterator)
        except BaseException:
            # also an interrupt: grain has lost the batch it was waiting for, so go back to it
            self._iterator.set_state(state)
            raise

    def get_state(self) -> dict:
        """The position as plain numbers and strings (JSON): the next batch and what the stream
        consists of."""
        return {"next_batch": int(self._iterator.get_state()["next_index"]), **self._identity}

    def set_state(self, state: Mapping) -> None:
        """Continues at a saved position, bitwise. Raises DataError where the stream is another
        one."""
        differ = [key for key, value in self._identity.items() if state.get(key) != value]
        if differ:
            now = lambda key: f"{key} {state.get(key)!r} (now {self._identity[key]!r})"
            found = ", ".join(map(now, differ))
            raise DataError(
                f"the saved data position belongs to another stream: {found}. Restore what it was,"
                " or start a new run"
            )
        self._iterator.set_state({"next_index": int(state["next_batch"])})


class EvalGroup(NamedTuple):
    """One global evaluation batch: at most eval_batch_size windows of one static shape."""

    length: int  # N
    crops: dict[str, int]  # C_m
    windows: list[tuple[int, sampling.Window]]  # (video index, window)


def eval_plan(records, indices, data_cfg) -> list[EvalGroup]:
    """All windows of the given videos, grouped by static shape: shortest length first, videos in
    the given order."""
    by_shape: dict[tuple, list] = {}
    names = modalities(records, data_cfg)
    for i in map(int, indices):
        n, shown = int(records.lengths[i]), tuple(int(crops(records, m)[i]) for m in names)
        windows = [sampling.Window(0, n, int(data_cfg.train_units))]
        if data_cfg.eval_mode == "full":
            windows = sampling.windows(n, data_cfg.eval_lengths)
        for window in windows:
            by_shape.setdefault((window.length, shown), []).append((i, window))
    size = int(data_cfg.eval_batch_size)
    return [
        EvalGroup(length, dict(zip(names, shown)), windows[a : a + size])
        for (length, shown), windows in sorted(by_shape.items())
        for a in range(0, len(windows), size)
    ]


class EvalBatches:
    """Iterable of local numpy batches (features [B / P, C_m, N, D_m]) that hold every unit of every
    given video exactly once over all processes (r, P); len() is their number.

    eval_mode 'full': own length, padded to one of eval_lengths, or cut into windows (one example
    each, with `start`) where it is longer than the last. 'segments': train_units segment means, one
    example a video. All processes get the same number of batches of the same shapes. Order is
    fixed; few batches are in memory at a time. Raises DataError for a missing modality and features
    that are not finite, ConfigError for an indivisible batch size.
    """

    def __init__(
        self,
        records,
        indices,
        data_cfg,
        process: tuple[int, int] = (0, 1),
        cache_bytes: int = EVAL_CACHE_BYTES,
        threads: int = 1,
    ):
        self._records, self._threads = records, threads
        self._mode, self._size = data_cfg.eval_mode, int(data_cfg.eval_batch_size)
        self._rows = own_places(self._size, process, "data.eval_batch_size")
        indices, names = np.asarray(indices, np.int64), modalities(records, data_cfg)
        self._plan = eval_plan(records, indices, data_cfg)
        self._read = reader(records, indices, names, cache_bytes, data_cfg)

    def __len__(self) -> int:
        return len(self._plan)

    def __iter__(self) -> Iterator[Batch]:
        options = grain.ReadOptions(
            num_threads=self._threads, prefetch_buffer_size=max(1, self._threads)
        )
        batches = grain.MapDataset.range(len(self)).map(self.local_batch)
        return iter(batches.to_iter_dataset(options))

    def local_batch(self, k: int) -> Batch:
        """This process's part of global batch k; rows without a window have valid False, video
        -1 and label -1."""
        group, rows = self._plan[k], len(self._rows)
        # [B, C, N, D]
        features = {
            m: np.zeros((rows, c, group.length, width(self._records, m)), np.float32)
            for m, c in group.crops.items()
        }
        mask, valid = np.zeros((rows, group.length), bool), self._rows < len(group.windows)
        video, start = np.full(rows, -1, np.int32), np.zeros(rows, np.int32)
        for row in np.flatnonzero(valid):
            video[row], window = group.windows[self._rows[row]]
            start[row] = window.start
            own = {m: x[row] for m, x in features.items()}
            mask[row] = self._fill(own, int(video[row]), window)
        require_finite(features, video, self._records)
        label = np.where(valid, self._records.labels[video], -1).astype(np.float32)
        places = (k * self._size + self._rows).astype(np.int32)
        return Batch(features, mask, label, valid, video, start, places)

    def _fill(
        self, out: Mapping[str, np.ndarray], video: int, window: sampling.Window
    ) -> np.ndarray:
        """Writes a window's units into {modality: [C, N, D]} and returns their mask [N]."""
        source = self._read(video)
        if self._mode == "full":
            for m, x in out.items():
                x[:, : window.count] = source[m][:, window.start : window.start + window.count]
            return np.arange(window.length) < window.count
        units = sampling.sample_units(window.count, window.length, "mean")
        for m, x in out.items():
            x[:] = sampling.take(source[m], units)
        return units.mask
