"""`gfvad bench data`: how fast videos come from disk and batches from the pipeline, on
a made-up set in a temporary folder."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.options import Parser
from gfvad.base.types import Batch, Video
from gfvad.data import pipeline, streams
from gfvad.data.features import records


class Entry(NamedTuple):
    """One video of the made-up set."""

    name: str
    seed: int
    files: tuple[Path, ...] = ()


class MadeUp:
    """A layout of random videos; `make(entry, split)` gives one, counts: {split: how many}."""

    def __init__(self, name: str, widths: Mapping[str, int], counts: Mapping[str, int], make: Make):
        self.name, self.modalities, self._counts, self._make = name, widths, counts, make

    def entries(self, split: str) -> list[Entry]:
        first = 0 if split == "train" else self._counts["train"]
        return [Entry(f"{split}{i:05d}", first + i) for i in range(self._counts.get(split, 0))]

    def load(self, entry: Entry) -> Video:
        return self._make(entry)


Make = Callable[[Entry], Video]
XD = {"rgb": 1024, "audio": 128}


def like_xd(videos: int, units: int, crops: int) -> MadeUp:
    """Shaped like XD-Violence: 'rgb' [C, N, 1024], 'audio' [1, N, 128], N from half to 1.5 times
    `units`."""

    def make(entry: Entry) -> Video:
        rng = np.random.default_rng(entry.seed)
        n = int(rng.integers(units // 2, units * 3 // 2 + 1))
        rgb = np.abs(rng.standard_normal((crops, n, XD["rgb"]), np.float32))
        audio = np.abs(rng.standard_normal((1, n, XD["audio"]), np.float32))
        features, no_spans = {"rgb": rgb, "audio": audio}, np.zeros((0, 2), np.int64)
        label, frames = entry.seed % 2, 16 * n
        return Video(entry.name, "train", features, label, (), frames, no_spans, (), 16, 24.0)

    return MadeUp("synthetic", XD, {"train": videos}, make)


def _measure(steps: Iterable[tuple[int, int]]) -> tuple[float, float]:
    """(examples/s, MB/s) of going once through (examples, bytes). The first item is not timed."""
    iterator = iter(steps)
    next(iterator)
    start = time.perf_counter()
    examples, size = np.sum(list(iterator), 0)
    seconds = time.perf_counter() - start
    return examples / seconds, size / 1e6 / seconds


def _sizes(batches: Iterable[Batch]) -> Iterator[tuple[int, int]]:
    return ((int(b.valid.sum()), sum(x.nbytes for x in b.features.values())) for b in batches)


def _video_sizes(videos: Iterable[Video]) -> Iterator[tuple[int, int]]:
    return ((1, sum(x.nbytes for x in video.features.values())) for video in videos)


def run(argv: Sequence[str]) -> int:
    """Prints one line a way of reading: examples a second and MB a second handed over (after
    crops and padding, for batches)."""
    parser = Parser("gfvad bench data", __doc__)
    parser.add_argument("--videos", type=int, default=160)
    option = parser.add_argument
    option("--units", type=int, default=200, help="mean units of a video, and train_units")
    option("--crops", type=int, default=5)
    option("--batch", type=int, default=32)
    option("--steps", type=int, default=20, help="training batches timed")
    option("--folder", help="where to write (default: a temporary folder)")
    arguments = parser.parse_args(list(argv))
    data_cfg = ConfigDict(
        {
            "modalities": ("rgb", "audio"),
            "train_units": arguments.units,
            "train_sampling": "uniform",
            "eval_mode": "full",
            "eval_lengths": (arguments.units, 2 * arguments.units),
            "eval_batch_size": 8,
        }
    )
    layout = like_xd(arguments.videos, arguments.units, arguments.crops)
    folder = Path(tempfile.mkdtemp(prefix="gfvad-bench-", dir=arguments.folder))
    try:
        for name, (examples, megabytes) in _rows(layout, folder, data_cfg, arguments):
            print(f"{name:44s} {examples:9,.0f} examples/s {megabytes:9,.0f} MB/s", flush=True)
    finally:
        shutil.rmtree(folder)
    return 0


def _rows(
    layout: MadeUp, folder: Path, data_cfg, arguments
) -> Iterable[tuple[str, tuple[float, float]]]:
    """(what, (examples/s, MB/s)) one after the other."""
    start = time.perf_counter()
    opened = records.open_records(records.prepare(layout, folder / "set", None), "train")
    seconds = time.perf_counter() - start
    rates = (len(opened) / seconds, opened.nbytes() / 1e6 / seconds)
    yield "prepare (incl. making up the numbers)", rates
    for video in opened:
        np.save(folder / f"{video.name}.npy", video.features["rgb"])
    arrays = (np.load(folder / f"{name}.npy") for name in opened.names)
    yield "np.load, one file a video (rgb alone)", _measure((1, x.nbytes) for x in arrays)
    yield "records[i], whole videos", _measure(_video_sizes(opened))
    order = np.random.default_rng(0).permutation(len(opened)).tolist()
    yield "records[i], random order", _measure(_video_sizes(opened[i] for i in order))
    everything = range(len(opened))
    for kept, cache_bytes in (("read through", 0), ("in memory", 1 << 40)):
        for threads in (0, 1, 2, 4):
            examples = streams.Examples(opened, everything, data_cfg, cache_bytes)
            stream = streams.TrainStream(examples, arguments.batch, 0)
            iterator = pipeline.TrainIterator(stream, threads)
            # two passes fill the memory
            for _ in range(-(-2 * len(opened) // arguments.batch) if cache_bytes else 0):
                next(iterator)
            rates = _measure(_sizes(itertools.islice(iterator, arguments.steps)))
            yield f"train_iterator, {kept}, {threads} threads", rates
    for threads in (0, 1, 2):
        batches = pipeline.EvalBatches(opened, everything, data_cfg, cache_bytes=0, threads=threads)
        yield f"eval_batches, read through, {threads} threads", _measure(_sizes(batches))
