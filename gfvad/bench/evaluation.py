"""`gfvad bench evaluation`: what the complete evaluation of a set costs, on simulated scores.

The set is of XD-Violence's size: 800 videos, 500 of them with events of six classes, 2.3 million
frames, a noisy score a unit of 16 frames. Prints wall and processor seconds of the parts, then of
everything that `gfvad train` evaluates of such a run (all protocols, resamples, per class, latency,
calibration, mAP), and the most memory that was resident. Figures are not drawn.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from gfvad.base.options import Parser
from gfvad.base.types import ScoredVideo
from gfvad.measure import localisation, protocols
from gfvad.measure.frames import labels_from_spans, unit_to_frames

UNIT_FRAMES = 16
ABNORMAL = 5 / 8  # share of videos with events
CLASSES = ("abuse", "accident", "explosion", "fighting", "riot", "shooting")
TRAINING = (0.3, 0.2)  # mean and standard deviation of scores on a training split
GROWTH = (12_500, 25_000, 50_000, 100_000)  # units of one video


def simulate(videos: int, frames: int, unit: int = UNIT_FRAMES, seed: int = 0) -> list[ScoredVideo]:
    """V scored videos of `frames` frames in all: noisy unit scores in [0, 1], higher within
    events, a unit of `unit` frames."""
    rng = np.random.default_rng(seed)
    share = rng.lognormal(0.0, 0.8, videos)
    edges = np.round(np.r_[0, np.cumsum(share)] / share.sum() * frames).astype(int)
    lengths = np.maximum(np.diff(edges), 4 * unit)
    found = []
    for i, length in enumerate(lengths):
        kind = CLASSES[i % len(CLASSES)]
        events = int(rng.integers(1, 4)) if i < ABNORMAL * videos else 0
        ends = np.sort(rng.choice(length, 2 * events, replace=False)).reshape(-1, 2)
        labels = labels_from_spans(ends, int(length))
        units = -(-int(length) // unit)
        logits = rng.normal(-1.0, 1.2, units) + rng.normal(0, 0.7)
        logits += 1.5 * labels[np.arange(units) * unit]
        scores = unit_to_frames(1 / (1 + np.exp(-logits)), int(length), unit)
        own = (kind,) if events else ()
        truth = int(events > 0), own, ends.astype(np.int64), own * events
        found.append(ScoredVideo(f"v{i}", scores, labels, *truth, unit, 24.0))
    return found


def structureless(units: int, seed: int = 0) -> np.ndarray:
    """Frame scores [16 units] of one video without any structure: as many proposals as can be."""
    scores = np.random.default_rng(seed).random(units)
    return unit_to_frames(scores, units * UNIT_FRAMES, UNIT_FRAMES)


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """(wall, processor) seconds of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def peak() -> float:
    """The most memory of this process that was resident so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(argv: Sequence[str]) -> int:
    """Prints a line a part: wall and processor seconds, most resident memory so far."""
    parser = Parser("gfvad bench evaluation", __doc__)
    option = parser.add_argument
    option("--videos", type=int, default=800)
    option("--frames", type=int, default=2_300_000)
    option("--unit", type=int, default=UNIT_FRAMES, help="frames of a unit; 1: no two scores alike")
    option("--resamples", type=int, default=1000)
    option("--growth", default=",".join(map(str, GROWTH)), help="units of one noisy video each")
    arguments = parser.parse_args(list(argv))
    settings = lambda n: SimpleNamespace(ema=(0.9,), gaussian=(5.0,), bootstrap=n)
    n = arguments.resamples
    videos = simulate(arguments.videos, arguments.frames, arguments.unit)
    print(f"{'simulated scores':40s} {'':24s} {peak():7.0f} MB", flush=True)
    extras = lambda n: protocols.extra_records(videos, protocols.HEADLINE, n, 0)
    parts: dict[str, Callable[[], Any]] = {
        "mAP": lambda: localisation.mean_average_precision(videos),
        "extras, without resamples": lambda: extras(0),
        f"extras, {n} resamples": lambda: extras(n),
        "everything, without resamples": lambda: protocols.protocol_matrix(
            videos, settings(0), TRAINING
        ),
        f"everything, {n} resamples": lambda: protocols.protocol_matrix(
            videos, settings(n), TRAINING
        ),
    }
    for units in map(int, filter(None, arguments.growth.split(","))):
        scores = structureless(units)
        parts[f"proposals of a noisy video, {units} units"] = lambda scores=scores: (
            localisation.proposals(scores, 0.0)
        )
    for name, work in parts.items():
        wall, processor = timed(work)
        line = f"{name:40s} {wall:7.2f} s {processor:7.2f} s busy {peak():7.0f} MB"
        print(line, flush=True)
    return 0
