"""Streams of training examples at random access: which video stands at a place of the global
stream, and the example made of it. Numpy only.

Everything is a function of a place: global batch k holds places k * B ... (k + 1) * B - 1, and
process r of P takes those with (place - k * B) % P == r. So neither the examples nor their random
numbers depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from gfvad.base.seals import lines_hash
from gfvad.base.types import Batch, ConfigError, DataError
from gfvad.data import corrupt, damage, sampling
from gfvad.data.glances import GLANCE, Glances, marked

# decoded training videos are kept in memory where they fit in this; else each is read when it is
# drawn
TRAIN_CACHE_BYTES = 1 << 30


# what goes beside the modalities where data.clock is on: when a unit is, [1, N, 1] in seconds
CLOCK = "clock"
NONE = np.zeros(0, np.int64)  # glances of a video without
Indices = Sequence[int] | np.ndarray
DEFAULT_FPS = 25.0  # of videos that do not say their own


def modalities(records, data_cfg) -> tuple[str, ...]:
    """The modalities to read, and the clock where it is asked for; DataError where the records
    lack one."""
    missing = [m for m in data_cfg.modalities if m not in records.modalities]
    if missing:
        raise DataError(
            f"{records!r} has no modality {missing[0]!r} (config.data.modalities); prepare the set"
            " with it or choose of those"
        )
    return tuple(data_cfg.modalities) + ((CLOCK,) if data_cfg.get("clock") else ())


def width(records, name: str) -> int:
    """D of a modality; 1 of the clock."""
    return 1 if name == CLOCK else records.dims[name]


def example_features(dims: Mapping[str, int], data_cfg) -> dict[str, np.ndarray]:
    """Features of an example of the right shapes, {modality: zeros [N, D]}, the clock where it
    is asked for."""
    shapes = {m: dims[m] for m in data_cfg.modalities}
    shapes |= {CLOCK: 1} if data_cfg.get("clock") else {}
    return {m: np.zeros((data_cfg.train_units, d), np.float32) for m, d in shapes.items()}


def crops(records, name: str) -> np.ndarray:
    """int [V] crops of a modality; 1 of the clock."""
    return np.ones(len(records.names), np.int64) if name == CLOCK else records.crops[name]


def clock(video, units: int) -> np.ndarray:
    """float32 [1, N, 1]: the middles of a video's units in seconds from its start (DEFAULT_FPS
    where it does not say its frames a second)."""
    frames = video.unit_frames or video.num_frames / units
    seconds = (np.arange(units) + 0.5) * (frames / (video.fps or DEFAULT_FPS))
    return seconds.astype(np.float32)[None, :, None]


def reader(
    records, indices: np.ndarray, names: Sequence[str], cache_bytes: int, data_cfg
) -> Callable[[int], corrupt.Features]:
    """video index -> {modality: [C, n, D]}, corrupted where data.corruption says so
    (gfvad/data/corrupt.py), with the clock beside the modalities where it is among the names.

    Remembers all videos where they fit in `cache_bytes`. Safe to call from several threads.
    """

    def read(i: int) -> corrupt.Features:
        features = records[i].features
        return {m: features[m] for m in names if m != CLOCK}

    found = stored = corrupt.reader(read, records, data_cfg.get("corruption"))
    if CLOCK in names:
        found = lambda i: {**stored(i), CLOCK: clock(records.meta(i), int(records.lengths[i]))}
    if records.nbytes(indices) <= cache_bytes:
        found = lru_cache(maxsize=None)(found)
    # a damaged set shows here, in the caller's thread and before any compilation
    for i in indices[:1].tolist():
        found(i)
    return found


def own_places(batch_size: int, process: tuple[int, int], key: str) -> np.ndarray:
    """int [B / P]: places of a global batch of `key` that process r of P, (r, P), takes. Raises
    ConfigError where B is no multiple of P."""
    rank, count = process
    if batch_size % count:
        nearest = -(-batch_size // count) * count
        raise ConfigError(
            f"{key} is {batch_size}; expected a multiple of the {count} processes, e.g. {nearest}"
        )
    return rank + count * np.arange(batch_size // count)


def require_finite(features: Mapping[str, np.ndarray], videos: np.ndarray, records) -> None:
    """DataError naming the first video of a batch [B, ..., N, D] with a NaN or infinite value."""
    for m, x in features.items():
        if not np.isfinite(x).all():
            row = next(b for b in range(len(x)) if not np.isfinite(x[b]).all())
            count = int((~np.isfinite(x[row])).sum())
            raise DataError(
                f"{records.split}/{records.names[videos[row]]}: modality {m!r} has {count} NaN or"
                " infinite values; expected finite numbers. Extract this video again or leave it"
                " out (gfvad prepare --check finds all of them)"
            )


class Examples:
    """Videos of a training set as examples of the static length N, read once where they fit in
    `cache_bytes`; streams of several seeds may share one. indices: of the training part in
    `records`; data_cfg: config.data; glances: where given, their marks [N, 1] go beside the
    modalities.

    Where the sampling of units draws no random number (uniform, mean) and all examples fit too, the
    finished ones are kept. Raises DataError for no or unlabelled videos and a missing modality.
    """

    def __init__(
        self,
        records,
        indices: Indices,
        data_cfg,
        cache_bytes: int = TRAIN_CACHE_BYTES,
        glances: Glances | None = None,
    ):
        self.records, self.data_cfg, self.glances = records, data_cfg, glances
        self.indices = np.sort(np.asarray(indices, np.int64))
        unknown = self.indices[records.labels[self.indices] < 0]
        if len(unknown) or not len(self.indices):
            found = "no videos"
            if len(unknown):
                first = records.names[unknown[0]]
                found = f"{len(unknown)} videos without a label, e.g. {first!r}"
            raise DataError(
                f"{records!r}: {found}; training needs at least one video and a label for each"
            )
        self._units, self._mode = int(data_cfg.train_units), str(data_cfg.train_sampling)
        names = modalities(records, data_cfg)
        self._read, self._kept = reader(records, self.indices, names, cache_bytes, data_cfg), {}
        most = np.max([crops(records, m)[self.indices] for m in names], axis=0)  # [videos]
        size = 4 * self._units * sum(width(records, m) for m in names) * int(most.sum())
        held = records.nbytes(self.indices)
        self.in_memory = held <= cache_bytes
        self._keep = self._mode != "window" and size + held <= cache_bytes

    def example(
        self, video: int, rng: np.random.Generator
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """({modality: float32 [N, D]}, mask [N]): one random crop, the same of every modality that
        has crops, at the static length.

        Do not write into the arrays. Raises DataError where a feature is not a finite number.
        """
        features = self._read(video)
        crop = int(rng.integers(max(len(x) for x in features.values())))
        if (video, crop) in self._kept:
            return self._kept[video, crop]
        n = next(iter(features.values())).shape[1]
        units = sampling.sample_units(n, self._units, self._mode, rng)
        taken = {m: sampling.take(x[crop if len(x) > 1 else 0], units) for m, x in features.items()}
        require_finite({m: x[None] for m, x in taken.items()}, np.array([video]), self.records)
        if self.glances is not None:
            taken[GLANCE] = marked(units, self.glances.units.get(video, NONE))
        if self._keep:
            self._kept[video, crop] = taken, units.mask
        return taken, units.mask


class TrainStream:
    """The endless stream of training examples, at random access: local_batch(k) depends on nothing
    but its arguments here.

    Each global batch is half normal, half abnormal (an odd size alternates); either kind is
    shuffled anew in every pass over its videos. Where only one kind exists, batches hold that kind.
    """

    def __init__(
        self, examples: Examples, batch_size: int, seed: int, process: tuple[int, int] = (0, 1)
    ):
        records, indices, data_cfg = examples.records, examples.indices, examples.data_cfg
        self._examples, self._records, self._seed = examples, records, seed
        self._batch_size = batch_size
        self._places = own_places(batch_size, process, "train.batch_size")
        self.in_memory = examples.in_memory
        self._members = [indices[records.labels[indices] == label] for label in (0, 1)]
        self._order = lru_cache(maxsize=8)(
            lambda kind, epoch: sampling.epoch_order(len(self._members[kind]), seed, kind, epoch)
        )
        # what a saved position is worth nothing without
        names = lines_hash([records.names[i] for i in indices])[:16]
        self.identity = {
            "seed": int(seed),
            "batch_size": int(batch_size),
            "videos": names,
            "units": int(data_cfg.train_units),
            "sampling": str(data_cfg.train_sampling),
            "modalities": list(data_cfg.modalities),
        }
        if examples.glances is not None:
            self.identity["glances"] = examples.glances.digest
        self._damage = data_cfg.get("damage") if damage.active(data_cfg.get("damage")) else None
        if self._damage is not None:
            self.identity["damage"] = self._damage.to_dict()

    def _abnormal_before(self, k: int) -> int:
        """Abnormal examples in all global batches before batch k."""
        normal, abnormal = map(len, self._members)
        drawn = k * self._batch_size if abnormal else 0
        return drawn // 2 if normal else drawn

    def video_at(self, place: int) -> int:
        """Index of the video at a place of the global stream; in a batch, the normal ones come
        first."""
        k, offset = divmod(place, self._batch_size)
        before, after = self._abnormal_before(k), self._abnormal_before(k + 1)
        normals = self._batch_size - (after - before)
        kind, drawn = 1, before + offset - normals
        if offset < normals:
            kind, drawn = 0, k * self._batch_size - before + offset
        epoch, turn = divmod(drawn, len(self._members[kind]))
        return int(self._members[kind][self._order(kind, epoch)[turn]])

    def example(self, place: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The example at a place of the global stream, as `Examples.example`, after
        config.data.damage."""
        draw = lambda video: self._examples.example(video, sampling.example_rng(self._seed, place))
        features, mask = draw(self.video_at(place))
        if self._damage is None:
            return features, mask
        rng, name = sampling.damage_rng(self._seed, place), self._damage.modality
        normal = self._members[0] if len(self._members[0]) else self._members[1]
        another = lambda: draw(int(rng.choice(normal)))[0][name]
        changed = damage.damaged(features[name], self._damage, rng, another)
        return {**features, name: changed}, mask

    def local_batch(self, k: int) -> Batch:
        """This process's part [B / P] of global batch k."""
        places = k * self._batch_size + self._places
        videos = np.array([self.video_at(place) for place in places.tolist()], np.int32)
        examples, masks = zip(*[self.example(place) for place in places.tolist()])
        # [B, N, D]
        features = {m: np.stack([example[m] for example in examples]) for m in examples[0]}
        label = self._records.labels[videos].astype(np.float32)
        valid, start = np.ones(len(videos), bool), np.zeros(len(videos), np.int32)
        return Batch(
            features, np.stack(masks), label, valid, videos, start, places.astype(np.int32)
        )


class Source(Protocol):
    """Examples 0 ... size - 1 of any kind: a mapping of numpy arrays, or a NamedTuple with a field
    `position`, and may be nested."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the examples are (JSON)."""
        ...

    def __len__(self) -> int: ...

    def example(self, i: int, place: int) -> Any:
        """Example i; place: in the global stream, to draw random numbers from."""


class ClipStream:
    """An endless stream of the examples of any source, at random access: each epoch holds every
    example once, shuffled anew. Raises DataError for no examples."""

    in_memory = True

    def __init__(
        self, source: Source, batch_size: int, seed: int, process: tuple[int, int] = (0, 1)
    ):
        self._make, self._size, self._batch_size = source.example, len(source), batch_size
        if self._size < 1:
            raise DataError(f"{self._size} training examples; expected at least one")
        self._places = own_places(batch_size, process, "train.batch_size")
        self._order = lru_cache(maxsize=2)(
            lambda epoch: sampling.epoch_order(self._size, seed, 0, epoch)
        )
        own = {"seed": int(seed), "batch_size": int(batch_size), "examples": self._size}
        self.identity = {**own, **source.identity}

    def local_batch(self, k: int) -> Any:
        """This process's part of global batch k: the examples' fields stacked to [B / P, ...],
        `position` their places in the stream."""
        places = k * self._batch_size + self._places
        drawn = lambda place: int(self._order(place // self._size)[place % self._size])
        batch = stack([self._make(drawn(place), place) for place in places.tolist()])
        position = places.astype(np.int32)
        if isinstance(batch, Mapping):
            return {**batch, "position": position}
        return batch._replace(position=position)


def stack(examples: Sequence[Any]) -> Any:
    """Examples of one structure (mappings and NamedTuples, nested, of arrays) as one, each array
    with a leading axis [B, ...]."""
    if isinstance(examples[0], Mapping):
        return {key: stack([example[key] for example in examples]) for key in examples[0]}
    if hasattr(examples[0], "_fields"):
        return type(examples[0])(*map(stack, zip(*examples)))
    return np.stack(examples)
