"""`gfvad bench ablate`: settings of one shape trained side by side by `gfvad ablate`,
against as many runs of `gfvad train` one after the other.

A made-up set in the shapes of UCF-Crime (40 units, 400 class scores and 384 numbers of text),
configs/ucf.py, learning rates times seeds. Both sides are run as a user would run them, as
commands, with the same config (no bootstrap of single runs, no figures), and each is timed as a
whole; the time of the training loops alone (without start, compilation, evaluation and saving) is
what both write to timing.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.options import Parser
from gfvad.base.types import Video
from gfvad.data.features import records

WIDTHS = {"i3d_logits": 400, "text": 384}
UNITS, UNIT_FRAMES = 40, 16
SWEEP = (
    "def get_sweep(config):\n    return {{'axes': {{'optim.learning_rate': {rates}}}, 'combine':"
    " 'product', 'seeds': {seeds}}}\n"
)


class Entry(NamedTuple):
    """One video of the made-up set."""

    name: str
    seed: int
    files: tuple[Path, ...] = ()


class MadeUp:
    """A layout of random features in the shapes of UCF-Crime; abnormal videos stand out a little
    in their first half."""

    name = "ucf_crime"
    modalities = WIDTHS

    def __init__(self, train: int, test: int):
        self._counts = {"train": train, "test": test}

    def entries(self, split: str) -> list[Entry]:
        first = 0 if split == "train" else self._counts["train"]
        return [Entry(f"{split}{i:05d}", first + i) for i in range(self._counts[split])]

    def load(self, entry: Entry) -> Video:
        rng, label = np.random.default_rng(entry.seed), entry.seed % 2
        features = {
            m: rng.standard_normal((1, UNITS, width), np.float32) for m, width in WIDTHS.items()
        }
        features["i3d_logits"][:, : UNITS // 2, :20] += label
        features["text"] /= np.linalg.norm(features["text"], axis=-1, keepdims=True)
        frames = UNITS * UNIT_FRAMES
        spans = np.array([[0, frames // 2]] if label else np.zeros((0, 2)), np.int64)
        kind = ("made-up",) * label
        return Video(
            entry.name,
            entry.name[:-5],
            features,
            label,
            kind,
            frames,
            spans,
            kind,
            UNIT_FRAMES,
            25.0,
        )


def command(*words: str) -> tuple[float, float]:
    """(seconds, seconds of processor time) of a command. Raises SystemExit with its output where
    it fails."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "gfvad.main", *words], capture_output=True, text=True
    )
    seconds, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return seconds, (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )


def loop_seconds(run: Path, steps: int) -> float:
    """Seconds of a run's training loop: its steps at the rate that its log gives (of the run's
    own, or of its whole group's, loop)."""
    rows = [json.loads(line) for line in (run / "timing.jsonl").read_text().splitlines()]
    edges = np.diff([0, *(row["step"] for row in rows)])
    measured = sum(n / row["steps_per_second"] for n, row in zip(edges, rows))
    return float(measured * steps / edges.sum())


def run(argv: list[str]) -> None:
    """Measures and prints."""
    parser = Parser("gfvad bench ablate", __doc__)
    parser.add_argument("--settings", type=int, default=4, help="learning rates")
    parser.add_argument("--seeds", type=int, default=4, help="seeds of each")
    parser.add_argument("--steps", type=int, default=600, help="training steps")
    parser.add_argument("--batch", type=int, default=64, help="videos of a step")
    parser.add_argument("--train", type=int, default=400, help="training videos")
    parser.add_argument("--test", type=int, default=60, help="test videos")
    parser.add_argument(
        "--runs",
        type=int,
        default=0,
        help="how many of the single runs are made, the others taken to last as long (0: all)",
    )
    options = parser.parse_args(argv)
    rates = tuple(round(5e-4 * 2**i, 6) for i in range(options.settings))
    folder = Path(tempfile.mkdtemp(prefix="gfvad-bench-"))
    try:
        data = records.prepare(MadeUp(options.train, options.test), folder / "set", None)
        common = [
            "--config=configs/ucf.py",
            f"--config.data.records={data}",
            f"--config.train.steps={options.steps}",
            f"--config.train.batch_size={options.batch}",
            "--config.eval.bootstrap=0",
            "--config.eval.figures=False",
        ]
        (folder / "sweep.py").write_text(SWEEP.format(rates=rates, seeds=options.seeds))
        places = [(rate, seed) for rate in rates for seed in range(options.seeds)]
        measure(folder, common, places, options)
    finally:
        shutil.rmtree(folder)


def measure(
    folder: Path, common: list[str], places: list[tuple[float, int]], options: argparse.Namespace
) -> None:
    """Runs both sides and prints the table."""
    together = command(
        "ablate",
        *common,
        f"--sweep={folder / 'sweep.py'}",
        f"--workdir={folder / 'ablation'}",
    )
    group_loop = loop_seconds(
        next((folder / "ablation" / "settings").glob("*/seed*")), options.steps
    )
    made = places[: options.runs or len(places)]
    walls, processors, loops = [], [], []
    for i, (rate, seed) in enumerate(made):
        own = [
            f"--config.optim.learning_rate={rate}",
            f"--config.seed={seed}",
            f"--workdir={folder / f'run{i}'}",
        ]
        wall, processor = command("train", *common, *own)
        walls, processors, loops = (
            [*walls, wall],
            [*processors, processor],
            [*loops, loop_seconds(folder / f"run{i}", options.steps)],
        )
    scale = len(places) / len(made)
    load = (
        f", load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        if hasattr(os, "getloadavg")
        else ""
    )
    print(
        f"{options.settings} learning rates x {options.seeds} seeds of configs/ucf.py,"
        f" {options.steps} steps, batch {options.batch}, {options.train} + {options.test} made-up"
        f" videos{load}"
    )
    if scale > 1:
        print(
            f"{len(made)} single runs were made, {len(places) - len(made)} are taken to last as"
            " long"
        )
    print(f"{'':46s}{f'{len(places)} runs, s':>14}{'side by side, s':>17}{'ratio':>8}")
    for what, single, stacked in (
        ("whole commands (start, compilation, loops, evaluation)", sum(walls) * scale, together[0]),
        ("whole commands, processor time", sum(processors) * scale, together[1]),
        ("training loops alone", sum(loops) * scale, group_loop),
        (
            "the rest (start, compilation, evaluation, writing)",
            (sum(walls) - sum(loops)) * scale,
            together[0] - group_loop,
        ),
    ):
        print(f"{what:54s}{single:>6.0f}{stacked:>17.0f}{stacked / single:>8.2f}")
