"""`gfvad bench data`: how fast videos come from disk and batches from the pipeline, on
a made-up set in a temporary folder."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.options import Parser
from gfvad.base.types import Video
from gfvad.data import pipeline, streams
from gfvad.data.features import records


class Entry(NamedTuple):
    """One video of the made-up set."""

    name: str
    seed: int
    files: tuple[Path, ...] = ()


class Synthetic:
    """A layout of random features shaped like XD-Violence: 'rgb' [C, N, 1024], 'audio' [1, N,
    128], N from half to 1.5 times `units`."""

    name = "synthetic"
    modalities = {"rgb": 1024, "audio": 128}

    def __init__(self, videos: int, units: int, crops: int):
        self._videos, self._units, self._crops = videos, units, crops

    def entries(self, split: str) -> list[Entry]:
        return (
            [Entry(f"{split}{i:05d}", i) for i in range(self._videos)] if split == "train" else []
        )

    def load(self, entry: Entry) -> Video:
        rng = np.random.default_rng(entry.seed)
        n = int(rng.integers(self._units // 2, self._units * 3 // 2 + 1))
        rgb = np.abs(rng.standard_normal((self._crops, n, 1024), np.float32))
        audio = np.abs(rng.standard_normal((1, n, 128), np.float32))
        no_spans = np.zeros((0, 2), np.int64)
        return Video(
            entry.name,
            "train",
            {"rgb": rgb, "audio": audio},
            entry.seed % 2,
            (),
            16 * n,
            no_spans,
            (),
            16,
            24.0,
        )


def _measure(steps: Iterable, size_of: Callable[[object], tuple[int, int]]) -> tuple[float, float]:
    """(examples/s, MB/s) of going through an iterable once; size_of(item) -> (examples, bytes).
    The first item is not timed."""
    iterator = iter(steps)
    next(iterator)
    examples = size = 0
    start = time.perf_counter()
    for item in iterator:
        n, b = size_of(item)
        examples, size = examples + n, size + b
    seconds = time.perf_counter() - start
    return examples / seconds, size / 1e6 / seconds


def _batch_size(batch) -> tuple[int, int]:
    return int(batch.valid.sum()), sum(x.nbytes for x in batch.features.values())


def _video_size(video: Video) -> tuple[int, int]:
    return 1, sum(x.nbytes for x in video.features.values())


def run(argv: Sequence[str]) -> int:
    """Prints one line a way of reading: examples a second and MB a second handed over (after
    crops and padding, for batches)."""
    parser = Parser("gfvad bench data", __doc__)
    parser.add_argument("--videos", type=int, default=160)
    parser.add_argument(
        "--units", type=int, default=200, help="mean units of a video, and train_units"
    )
    parser.add_argument("--crops", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20, help="training batches timed")
    parser.add_argument(
        "--folder", default=None, help="where to write (default: a temporary folder)"
    )
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
    layout = Synthetic(arguments.videos, arguments.units, arguments.crops)
    folder = Path(tempfile.mkdtemp(prefix="gfvad-bench-", dir=arguments.folder))
    try:
        for name, (examples, megabytes) in _rows(layout, folder, data_cfg, arguments):
            print(f"{name:44s} {examples:9,.0f} examples/s {megabytes:9,.0f} MB/s", flush=True)
    finally:
        shutil.rmtree(folder)
    return 0


def _rows(
    layout: Synthetic, folder: Path, data_cfg, arguments
) -> Iterable[tuple[str, tuple[float, float]]]:
    """(what, (examples/s, MB/s)) one after the other."""
    start = time.perf_counter()
    opened = records.open_records(records.prepare(layout, folder / "set", None), "train")
    seconds = time.perf_counter() - start
    yield (
        "prepare (incl. making up the numbers)",
        (
            len(opened) / seconds,
            opened.nbytes() / 1e6 / seconds,
        ),
    )
    for video in opened:
        np.save(folder / f"{video.name}.npy", video.features["rgb"])
    yield (
        "np.load, one file a video (rgb alone)",
        _measure((np.load(folder / f"{n}.npy") for n in opened.names), lambda x: (1, x.nbytes)),
    )
    yield "records[i], whole videos", _measure(opened, _video_size)
    order = np.random.default_rng(0).permutation(len(opened)).tolist()
    yield "records[i], random order", _measure((opened[i] for i in order), _video_size)
    for kept, cache_bytes in (("read through", 0), ("in memory", 1 << 40)):
        for threads in (0, 1, 2, 4):
            examples = streams.Examples(opened, range(len(opened)), data_cfg, cache_bytes)
            stream = streams.TrainStream(examples, arguments.batch, 0)
            iterator = pipeline.TrainIterator(stream, threads)
            # two passes fill the memory
            for _ in range(-(-2 * len(opened) // arguments.batch) if cache_bytes else 0):
                next(iterator)
            yield (
                f"train_iterator, {kept}, {threads} threads",
                _measure(itertools.islice(iterator, arguments.steps), _batch_size),
            )
    for threads in (0, 1, 2):
        batches = pipeline.EvalBatches(
            opened, range(len(opened)), data_cfg, cache_bytes=0, threads=threads
        )
        yield f"eval_batches, read through, {threads} threads", _measure(batches, _batch_size)
