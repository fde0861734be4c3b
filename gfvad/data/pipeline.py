"""From records to batches: shuffling, sharding by process, crops, static lengths. The only importer of grain.

Everything is a function of a place in one global stream of examples: global batch k holds places k * B ... (k + 1) * B - 1, and process r
of P takes those with (place - k * B) % P == r. So neither the examples nor their random numbers depend on the number of processes, and a
position is one number. grain maps batch numbers to batches on its threads and keeps that number.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import grain
import numpy as np

from gfvad.data import sampling
from gfvad.data.manifest import digest
from gfvad.types import Batch, ConfigError, DataError

TRAIN_CACHE_BYTES = 1 << 30  # decoded training videos are kept in memory where they fit in this; else each is read when it is drawn
EVAL_CACHE_BYTES = 1 << 28
MAX_PLACE = 2**31 - 1  # Batch.position is int32


def _modalities(records, data_cfg) -> tuple[str, ...]:
    """The modalities to read; DataError where the records lack one."""
    missing = [m for m in data_cfg.modalities if m not in records.modalities]
    if missing:
        raise DataError(f"{records!r} has no modality {missing[0]!r} (config.data.modalities); prepare the set with it or choose of those")
    return tuple(data_cfg.modalities)


def _reader(records, indices: Sequence[int], modalities: Sequence[str], cache_bytes: int) -> Callable[[int], dict[str, np.ndarray]]:
    """video index -> {modality: [C, n, D]}, remembering all videos where they fit in `cache_bytes`. Safe to call from several threads."""

    def read(i: int) -> dict[str, np.ndarray]:
        features = records[i].features
        return {m: features[m] for m in modalities}

    if records.nbytes(indices) <= cache_bytes:
        read = lru_cache(maxsize=None)(read)
    read(int(indices[0]))  # a damaged set shows here, in the caller's thread and before any compilation
    return read


def _local_size(batch_size: int, process_count: int, key: str) -> int:
    if batch_size % process_count:
        nearest = -(-batch_size // process_count) * process_count
        raise ConfigError(f"{key} is {batch_size}; expected a multiple of the {process_count} processes, e.g. {nearest}")
    return batch_size // process_count


def _require_finite(features: Mapping[str, np.ndarray], videos: Sequence[int], records) -> None:
    """DataError naming the first video of a batch [B, ..., N, D] with a NaN or infinite value."""
    for m, x in features.items():
        if not np.isfinite(x).all():
            row = next(b for b in range(len(x)) if not np.isfinite(x[b]).all())
            count = int((~np.isfinite(x[row])).sum())
            raise DataError(
                f"{records.split}/{records.names[videos[row]]}: modality {m!r} has {count} NaN or infinite values; expected finite "
                f"numbers. Extract this video again or leave it out (python -m gfvad.prepare --check finds all of them)"
            )


class TrainStream:
    """The endless stream of training examples, at random access: local_batch(k) depends on nothing but its arguments here.

    Each global batch is half normal, half abnormal (an odd size alternates); either kind is shuffled anew in every pass over its videos.
    Where only one kind exists, batches hold that kind.
    """

    def __init__(self, records, indices, data_cfg, batch_size: int, seed: int, process_index: int, process_count: int, cache_bytes: int):
        self._records, self._seed, self._batch_size = records, seed, batch_size
        self._units, self._mode = int(data_cfg.train_units), str(data_cfg.train_sampling)
        self._places = process_index + process_count * np.arange(_local_size(batch_size, process_count, "train.batch_size"))
        indices = np.sort(np.asarray(indices, np.int64))
        unknown = indices[records.labels[indices] < 0]
        if len(unknown) or not len(indices):
            example = f", e.g. {records.names[unknown[0]]!r}" if len(unknown) else ""
            found = f"{len(unknown)} videos without a label{example}" if len(indices) else "no videos"
            raise DataError(f"{records!r}: {found}; training needs at least one video and a label for each")
        self._members = [indices[records.labels[indices] == label] for label in (0, 1)]
        self._order = lru_cache(maxsize=8)(lambda kind, epoch: sampling.epoch_order(len(self._members[kind]), seed, kind, epoch))
        self._read = _reader(records, indices, _modalities(records, data_cfg), cache_bytes)
        # what a saved position is worth nothing without
        names = digest([records.names[i] for i in indices])[:16]
        self.identity = {
            "seed": int(seed), "batch_size": int(batch_size), "videos": names,
            "units": self._units, "sampling": self._mode, "modalities": list(data_cfg.modalities),
        }  # fmt: skip

    def _abnormal_before(self, k: int) -> int:
        """Abnormal examples in all global batches before batch k."""
        normal, abnormal = map(len, self._members)
        return k * self._batch_size // 2 if normal and abnormal else k * self._batch_size if abnormal else 0

    def video_at(self, place: int) -> int:
        """Index of the video at a place of the global stream; in a batch, the normal ones come first."""
        k, offset = divmod(place, self._batch_size)
        before, after = self._abnormal_before(k), self._abnormal_before(k + 1)
        normals = self._batch_size - (after - before)
        kind, drawn = (0, k * self._batch_size - before + offset) if offset < normals else (1, before + offset - normals)
        epoch, turn = divmod(drawn, len(self._members[kind]))
        return int(self._members[kind][self._order(kind, epoch)[turn]])

    def example(self, place: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """({modality: float32 [N, D]}, mask [N]): one random crop, the same of every modality that has crops, at the static length."""
        features = self._read(self.video_at(place))
        rng = sampling.example_rng(self._seed, place)
        crop = int(rng.integers(max(len(x) for x in features.values())))
        n = next(iter(features.values())).shape[1]
        units = sampling.sample_units(n, self._units, self._mode, rng)
        return {m: sampling.take(x[crop if len(x) > 1 else 0], units) for m, x in features.items()}, units.mask

    def local_batch(self, k: int) -> Batch:
        """This process's part [B / P] of global batch k."""
        places = k * self._batch_size + self._places
        videos = np.array([self.video_at(place) for place in places.tolist()], np.int32)
        examples, masks = zip(*[self.example(place) for place in places.tolist()])
        features = {m: np.stack([example[m] for example in examples]) for m in examples[0]}  # [B, N, D]
        _require_finite(features, videos, self._records)
        label = self._records.labels[videos].astype(np.float32)
        valid, start = np.ones(len(videos), bool), np.zeros(len(videos), np.int32)
        return Batch(features, np.stack(masks), label, valid, videos, start, places.astype(np.int32))


class TrainIterator(Iterator[Batch]):
    """Endless iterator over a TrainStream or ClipStream whose position can be saved and restored, on any number of processes."""

    def __init__(self, stream: TrainStream | ClipStream, threads: int):
        self._identity = stream.identity
        # building ahead on threads changes nothing but the time: a batch is a function of its number
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2, threads))
        batches = grain.MapDataset.range(MAX_PLACE // stream.identity["batch_size"]).map(stream.local_batch)
        self._iterator = iter(batches.to_iter_dataset(options))

    def __next__(self) -> Batch:
        state = self._iterator.get_state()
        try:
            return next(self._iterator)
        except BaseException:  # also an interrupt: grain has lost the batch it was waiting for, so go back to it
            self._iterator.set_state(state)
            raise

    def get_state(self) -> dict:
        """The position as plain numbers and strings (JSON): the next batch and what the stream consists of."""
        return {"next_batch": int(self._iterator.get_state()["next_index"]), **self._identity}

    def set_state(self, state: Mapping) -> None:
        """Continues at a saved position, bitwise. Raises DataError where the stream is another one."""
        differ = [key for key, value in self._identity.items() if state.get(key) != value]
        if differ:
            found = ", ".join(f"{key} {state.get(key)!r} (now {self._identity[key]!r})" for key in differ)
            raise DataError(f"the saved data position belongs to another stream: {found}. Restore what it was, or start a new run")
        self._iterator.set_state({"next_index": int(state["next_batch"])})


def train_iterator(
    records, indices, data_cfg, batch_size: int, seed: int, process_index: int = 0, process_count: int = 1,
    *, cache_bytes: int = TRAIN_CACHE_BYTES, threads: int | None = None,
) -> TrainIterator:  # fmt: skip
    """Endless, deterministic iterator of local training batches (numpy, [batch_size / process_count]); see TrainStream.

    `indices` are those of the training part in `records`; `data_cfg` is config.data. Videos are kept decoded where they fit in
    `cache_bytes`. threads=0 builds each batch when it is asked for; None: one, or as many as cores (at most 8) where videos are read.
    Raises DataError for no or unlabelled videos, a missing modality or NaN features (on drawing them), ConfigError where batch_size is no
    multiple of process_count.
    """
    if threads is None:
        threads = 1 if records.nbytes(indices) <= cache_bytes else min(8, os.cpu_count() or 1)
    return TrainIterator(TrainStream(records, indices, data_cfg, batch_size, seed, process_index, process_count, cache_bytes), threads)


class ClipStream:
    """An endless stream of examples of any source, at random access: each epoch holds every example once, shuffled anew."""

    def __init__(self, make_example, size: int, batch_size: int, seed: int, process_index: int, process_count: int, identity: Mapping):
        if size < 1:
            raise DataError(f"{size} training examples; expected at least one")
        self._make, self._size, self._batch_size = make_example, int(size), batch_size
        self._places = process_index + process_count * np.arange(_local_size(batch_size, process_count, "train.batch_size"))
        self._order = lru_cache(maxsize=2)(lambda epoch: sampling.epoch_order(self._size, seed, 0, epoch))
        self.identity = {"seed": int(seed), "batch_size": int(batch_size), "examples": self._size, **identity}

    def local_batch(self, k: int) -> Any:
        """This process's part of global batch k: the examples' fields stacked to [B / P, ...], `position` their places in the stream."""
        places = k * self._batch_size + self._places
        batch = stack([self._make(int(self._order(place // self._size)[place % self._size]), place) for place in places.tolist()])
        position = places.astype(np.int32)
        return {**batch, "position": position} if isinstance(batch, Mapping) else batch._replace(position=position)


def stack(examples: Sequence[Any]) -> Any:
    """Examples of one structure (mappings and NamedTuples, nested, of arrays) as one, each array with a leading axis [B, ...]."""
    if isinstance(examples[0], Mapping):
        return {key: stack([example[key] for example in examples]) for key in examples[0]}
    if hasattr(examples[0], "_fields"):
        return type(examples[0])(*map(stack, zip(*examples)))
    return np.stack(examples)


def clip_iterator(
    make_example: Callable[[int, int], Any], size: int, batch_size: int, seed: int, process_index: int = 0, process_count: int = 1,
    *, identity: Mapping[str, Any] = {}, threads: int = 1,
) -> TrainIterator:  # fmt: skip
    """Endless, deterministic iterator of local batches over examples 0 ... size - 1, made by make_example(i, place) on grain's threads.

    `place` is the example's in the global stream, to draw random numbers from (`sampling.example_rng`). An example is a dict of numpy
    arrays, or a NamedTuple with a field `position`, and may be nested; the batch is the same, stacked, with `position` int32 [B] the places.
    `identity` (JSON) says what the examples are: a saved position is refused by an iterator of another one.
    Raises DataError for no examples, ConfigError where batch_size is no multiple of process_count.
    """
    return TrainIterator(ClipStream(make_example, size, batch_size, seed, process_index, process_count, identity), threads)


class EvalGroup(NamedTuple):
    """One global evaluation batch: at most eval_batch_size windows of one static shape."""

    length: int  # N
    crops: dict[str, int]  # C_m
    windows: list[tuple[int, sampling.Window]]  # (video index, window)


def eval_plan(records, indices, data_cfg) -> list[EvalGroup]:
    """All windows of the given videos, grouped by static shape: shortest length first, videos in the given order."""
    by_shape: dict[tuple, list] = {}
    modalities = _modalities(records, data_cfg)
    for i in map(int, indices):
        n, crops = int(records.lengths[i]), tuple(int(records.crops[m][i]) for m in modalities)
        whole = [sampling.Window(0, n, int(data_cfg.train_units))]
        for window in sampling.windows(n, data_cfg.eval_lengths) if data_cfg.eval_mode == "full" else whole:
            by_shape.setdefault((window.length, crops), []).append((i, window))
    size = int(data_cfg.eval_batch_size)
    return [
        EvalGroup(length, dict(zip(modalities, crops)), windows[a : a + size])
        for (length, crops), windows in sorted(by_shape.items())
        for a in range(0, len(windows), size)
    ]


class EvalBatches:
    """Iterable of local evaluation batches; len() is their number, the same on every process, and so are their shapes."""

    def __init__(self, records, indices, data_cfg, process_index: int, process_count: int, cache_bytes: int, threads: int):
        self._records, self._threads = records, threads
        self._mode, self._size = data_cfg.eval_mode, int(data_cfg.eval_batch_size)
        self._rows = process_index + process_count * np.arange(_local_size(self._size, process_count, "data.eval_batch_size"))
        indices = np.asarray(indices, np.int64)
        self._plan = eval_plan(records, indices, data_cfg)
        self._read = _reader(records, indices, _modalities(records, data_cfg), cache_bytes) if self._plan else None

    def __len__(self) -> int:
        return len(self._plan)

    def __iter__(self) -> Iterator[Batch]:
        options = grain.ReadOptions(num_threads=self._threads, prefetch_buffer_size=max(1, self._threads))
        return iter(grain.MapDataset.range(len(self)).map(self.local_batch).to_iter_dataset(options))

    def local_batch(self, k: int) -> Batch:
        """This process's part of global batch k; rows without a window have valid False, video -1 and label -1."""
        group, rows = self._plan[k], len(self._rows)
        dims = self._records.dims
        features = {m: np.zeros((rows, c, group.length, dims[m]), np.float32) for m, c in group.crops.items()}  # [B, C, N, D]
        mask, valid = np.zeros((rows, group.length), bool), self._rows < len(group.windows)
        video, start = np.full(rows, -1, np.int32), np.zeros(rows, np.int32)
        for row in np.flatnonzero(valid):
            video[row], window = group.windows[self._rows[row]]
            start[row] = window.start
            mask[row] = self._fill({m: x[row] for m, x in features.items()}, int(video[row]), window)
        _require_finite(features, video, self._records)
        label = np.where(valid, self._records.labels[video], -1).astype(np.float32)
        return Batch(features, mask, label, valid, video, start, (k * self._size + self._rows).astype(np.int32))

    def _fill(self, out: Mapping[str, np.ndarray], video: int, window: sampling.Window) -> np.ndarray:
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


def eval_batches(
    records, indices, data_cfg, process_index: int = 0, process_count: int = 1, *, cache_bytes: int = EVAL_CACHE_BYTES, threads: int = 1
) -> EvalBatches:
    """Iterable of numpy batches (features [B / P, C_m, N, D_m]) that hold every unit of every given video exactly once over all processes.

    eval_mode 'full': own length, padded to one of eval_lengths, or cut into windows (one example each, with `start`) where it is longer
    than the last. 'segments': train_units segment means, one example a video. All processes get the same number of batches of the same
    shapes. Order is fixed; few batches are in memory at a time. Raises DataError as train_iterator does, ConfigError for an indivisible
    batch size.
    """
    return EvalBatches(records, indices, data_cfg, process_index, process_count, cache_bytes, threads)
