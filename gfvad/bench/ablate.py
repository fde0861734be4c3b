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

import numpy as np

from gfvad.base.options import Parser
from gfvad.base.types import Video
from gfvad.bench.data import Entry, MadeUp
from gfvad.bench.fusion import busy
from gfvad.data.features import records

WIDTHS = {"i3d_logits": 400, "text": 384}
UNITS, UNIT_FRAMES = 40, 16
SWEEP = (
    "def get_sweep(config):\n    return {{'axes': {{'optim.learning_rate': {rates}}}, 'combine':"
    " 'product', 'seeds': {seeds}}}\n"
)


def made_up(entry: Entry) -> Video:
    """Random features in the shapes of UCF-Crime; abnormal videos stand out a little in their first
    half."""
    rng, label = np.random.default_rng(entry.seed), entry.seed % 2
    features = {
        m: rng.standard_normal((1, UNITS, width), np.float32) for m, width in WIDTHS.items()
    }
    features["i3d_logits"][:, : UNITS // 2, :20] += label
    features["text"] /= np.linalg.norm(features["text"], axis=-1, keepdims=True)
    frames, kind, name = UNITS * UNIT_FRAMES, ("made-up",) * label, entry.name
    spans = np.array([[0, frames // 2]] if label else np.zeros((0, 2)), np.int64)
    return Video(name, name[:-5], features, label, kind, frames, spans, kind, UNIT_FRAMES, fps=25.0)


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
    option = parser.add_argument
    option("--settings", type=int, default=4, help="learning rates")
    option("--seeds", type=int, default=4, help="seeds of each")
    option("--steps", type=int, default=600, help="training steps")
    option("--batch", type=int, default=64, help="videos of a step")
    option("--train", type=int, default=400, help="training videos")
    option("--test", type=int, default=60, help="test videos")
    option("--runs", type=int, default=0, help="how many of the single runs are made, 0: all")
    options = parser.parse_args(argv)
    rates = tuple(round(5e-4 * 2**i, 6) for i in range(options.settings))
    folder = Path(tempfile.mkdtemp(prefix="gfvad-bench-"))
    try:
        counts = {"train": options.train, "test": options.test}
        layout = MadeUp("ucf_crime", WIDTHS, counts, made_up)
        data = records.prepare(layout, folder / "set", None)
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
        measure_both(folder, common, places, options)
    finally:
        shutil.rmtree(folder)


def measure_both(
    folder: Path, common: list[str], places: list[tuple[float, int]], options: argparse.Namespace
) -> None:
    """Runs both sides and prints the table."""
    sweep, ablation = folder / "sweep.py", folder / "ablation"
    together = command("ablate", *common, f"--sweep={sweep}", f"--workdir={ablation}")
    group_loop = loop_seconds(next((ablation / "settings").glob("*/seed*")), options.steps)
    made = places[: options.runs or len(places)]
    single = []  # (wall, processor, loop) of each run
    for i, (rate, seed) in enumerate(made):
        own = (f"--config.optim.learning_rate={rate}", f"--config.seed={seed}")
        run = folder / f"run{i}"
        taken = command("train", *common, *own, f"--workdir={run}")
        single.append((*taken, loop_seconds(run, options.steps)))
    wall, processor, loop = np.sum(single, 0) * len(places) / len(made)
    print(
        f"{options.settings} learning rates x {options.seeds} seeds of configs/ucf.py,"
        f" {options.steps} steps, batch {options.batch}, {options.train} + {options.test} made-up"
        f" videos{busy()}"
    )
    if guessed := len(places) - len(made):
        print(f"{len(made)} single runs were made, {guessed} are taken to last as long")
    print(f"{'':46s}{f'{len(places)} runs, s':>14}{'side by side, s':>17}{'ratio':>8}")
    for what, one, stacked in (
        ("whole commands (start, compilation, loops, evaluation)", wall, together[0]),
        ("whole commands, processor time", processor, together[1]),
        ("training loops alone", loop, group_loop),
        (
            "the rest (start, compilation, evaluation, writing)",
            wall - loop,
            together[0] - group_loop,
        ),
    ):
        print(f"{what:54s}{one:>6.0f}{stacked:>17.0f}{stacked / one:>8.2f}")
