"""How often the 95 % intervals over videos hold the true value: sets of videos drawn from
populations whose frame AUC and AP are known.

Each population says what share of its videos holds an event, how far events stand out, and how much
videos differ in their level and in how clear their event is; frames of a video are correlated in
time. The truth is that of TRUTH videos of it. Printed: the share of the drawn sets whose interval,
as the evaluation computes it (measure/protocols.py, `micro`), holds the truth, its mean width, and
what plain percentiles of the same resamples would cover. No data set takes part.
"""

from __future__ import annotations

import functools
import time
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from gfvad.base.options import Parser
from gfvad.measure import bootstrap
from gfvad.measure.frames import Runs, compress
from gfvad.measure.metrics import ranking_metrics
from gfvad.measure.protocols import micro

METRICS = ("auc", "ap")
TRUTH = 20_000  # videos that stand for the whole population
RESAMPLES = 1000


class Population(NamedTuple):
    """Videos as they come; scores in units of the noise of a frame."""

    events: float  # share of the videos that hold one
    strength: float  # how far its frames stand out, on average
    clear: float  # deviation of that between videos
    level: float  # deviation of a whole video's scores
    memory: float  # correlation of neighbouring frames


POPULATIONS = {
    "even": Population(0.5, 1.0, 0.3, 0.3, 0.5),
    "mixed": Population(0.5, 1.2, 0.8, 0.6, 0.8),
    "levels": Population(0.7, 1.5, 0.5, 1.0, 0.8),
    "strong": Population(0.6, 3.5, 1.5, 0.8, 0.5),  # a few videos decide
    "all": Population(1.0, 3.0, 1.2, 0.6, 0.8),  # every video holds an event, as on Ped2
}


class Coverage(NamedTuple):
    """One metric of sets of one size from one population."""

    population: str
    videos: int
    metric: str
    truth: float
    covered: float  # share of the sets
    width: float  # mean
    percentiles: float  # share that plain percentiles would cover


def draw_videos(population: Population, count: int, rng: np.random.Generator) -> list[Runs]:
    """`count` videos of 10 to 150 frames, half of which have fewer than 30."""
    videos = []
    for _ in range(count):
        frames = int(np.clip(rng.lognormal(3.4, 0.5), 10, 150))
        labels = np.zeros(frames, np.uint8)
        if rng.random() < population.events:
            length = min(max(1, int(frames * rng.beta(2, 3))), frames - 1)
            start = int(rng.integers(0, frames - length + 1))
            labels[start : start + length] = 1
        noise, memory = rng.normal(size=frames), population.memory
        noise[1:] *= np.sqrt(1 - memory**2)  # every frame of deviation 1
        level = population.level * rng.normal()
        strength = population.strength + population.clear * rng.normal()
        scores = level + np.asarray(lfilter([1], [1, -memory], noise)) + strength * labels
        videos.append(compress(scores, labels))
    return videos


@functools.cache
def truth_of(name: str, seed: int) -> dict[str, float]:
    """Metrics of a whole population."""
    videos = draw_videos(POPULATIONS[name], TRUTH, np.random.default_rng((seed, 1)))
    return ranking_metrics(bootstrap.counts(bootstrap.pool(videos)))


def measure(name: str, videos: int, trials: int, seed: int = 0) -> list[Coverage]:
    """Coverage of METRICS over `trials` sets of so many videos; sets of one class, which get no
    interval, are drawn again."""
    population, truth = POPULATIONS[name], truth_of(name, seed)
    rng, held, widths, plain = np.random.default_rng((seed, 2, videos)), [], [], []
    while len(held) < trials:
        drawn_set = draw_videos(population, videos, rng)
        metrics = micro(drawn_set, RESAMPLES, seed)
        found = [interval for m in METRICS if (interval := metrics[m][1]) is not None]
        if len(found) < len(METRICS):
            continue
        pooled = bootstrap.pool(drawn_set)
        resamples = bootstrap.draw(bootstrap.presence(pooled), RESAMPLES, seed)
        spread = bootstrap.resampled_ranking(pooled, resamples, names=METRICS)
        ends = [np.asarray(bootstrap.percentiles(spread[m]), float) for m in METRICS]
        held.append([own[0] <= truth[m] <= own[1] for m, own in zip(METRICS, found)])
        widths.append([own[1] - own[0] for own in found])
        plain.append([p[0] <= truth[m] <= p[1] for m, p in zip(METRICS, ends)])
    columns = (np.mean(held, 0), np.mean(widths, 0), np.mean(plain, 0))
    return [
        Coverage(name, videos, m, truth[m], *(float(c[i]) for c in columns))
        for i, m in enumerate(METRICS)
    ]


def run(argv: list[str]) -> None:
    parser = Parser("gfvad bench coverage", __doc__)
    parser.add_argument(
        "--videos",
        default="12,18,24,30,60",
        help="sizes of the test sets (default: 12,18,24,30,60)",
    )
    parser.add_argument("--trials", type=int, default=400, help="sets drawn of each (default: 400)")
    parser.add_argument(
        "--populations",
        default=",".join(POPULATIONS),
        help=f"some of {', '.join(POPULATIONS)} (default: all)",
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    names, sizes = args.populations.split(","), args.videos.split(",")
    if unknown := sorted(set(names) - set(POPULATIONS)):
        parser.error(
            f"--populations: {', '.join(unknown)}; expected some of {', '.join(POPULATIONS)}"
        )
    if not all(s.isdecimal() and int(s) >= 2 for s in sizes) or args.trials < 1:
        parser.error(
            f"--videos={args.videos} --trials={args.trials}; expected whole numbers of 2 or more"
            " videos, and 1 or more trials"
        )
    started = time.monotonic()
    print(
        f"{args.trials} sets each, {RESAMPLES} resamples; one standard error at 0.95:"
        f" {np.sqrt(0.95 * 0.05 / args.trials):.3f}"
    )
    print(
        f"{'videos':>6}  {'population':<10} {'metric':<6} {'truth':>6} {'covered':>8} {'width':>6}"
        f" {'percentiles':>12}  method"
    )
    for size in map(int, sizes):
        for name in names:
            for c in measure(name, size, args.trials, args.seed):
                print(
                    f"{size:6}  {name:<10} {c.metric.upper():<6} {c.truth:6.3f} {c.covered:8.3f}"
                    f" {c.width:6.3f} {c.percentiles:12.3f}  {bootstrap.method(size)}",
                    flush=True,
                )
    print(f"{time.monotonic() - started:.0f} s")
