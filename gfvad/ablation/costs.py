"""What the models of an ablation cost, measured one after another in one run on an otherwise idle
machine: parameters, training, scoring.

A step is timed on batches of the run's own stream, without reading them; scoring is that of the
whole test split, reading included.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from gfvad.ablation.sweep import Setting
from gfvad.base import run_files
from gfvad.base.files import read_json, write_text
from gfvad.base.progress import Progress
from gfvad.measure.results import json_tree
from gfvad.tasks import job, parse, task_of
from gfvad.train import loop
from gfvad.train.state import parameter_count

FILE = "costs.json"
STEPS, TIMES = 5, 3  # of training and of scoring that are timed, after one that compiles


class Cost(NamedTuple):
    """Of one setting."""

    parameters: int
    step_seconds: float  # median
    compile_seconds: float  # the first step less such a one
    training_seconds: float  # compilation and all steps; without evaluation
    frames_a_second: float  # of video, scored; median


def measure(folder: Path) -> Cost:
    """Of a finished run's folder."""
    arguments = parse([f"--workdir={folder}", "--mode=evaluate"])
    mapper = job.devices(arguments.config)
    task = task_of(arguments.config)
    run = task.open_run(arguments, mapper, loop.quiet)
    parameters, step, compiled = time_steps(loop.SingleRun(run.training()))
    chosen = task.kept_weights(run, "last")
    seconds, frames = [], 0
    for _ in range(1 + TIMES):
        started = time.perf_counter()
        frames = sum(len(video.scores) for video in task.score_test(run, chosen))
        seconds.append(time.perf_counter() - started)
    speed = frames / statistics.median(seconds[1:])
    return Cost(parameters, step, compiled, compiled + step * run.config.train.steps, speed)


def time_steps(run: loop.SingleRun) -> tuple[int, float, float]:
    """(parameters, seconds a step, seconds of compilation) of a run's first steps."""
    state = run.initial()
    replicas, mapped, mapper = run.mapper.replicate(state), run.mapped_step(), run.mapper
    taken = []
    for _ in range(min(STEPS + 1, max(run.config.train.steps, 1))):
        batch = mapper.shard(next(run.batches))
        started = time.perf_counter()
        replicas, _ = jax.block_until_ready(mapped(replicas, batch))
        taken.append(time.perf_counter() - started)
    step = statistics.median(taken[1:] or taken)
    return parameter_count(state), step, max(taken[0] - step, 0.0)


def of_settings(
    workdir: Path, settings: Iterable[Setting], folder_of: Callable[[Setting], Path]
) -> dict[str, Cost]:
    """Setting -> what it costs, kept in costs.json of an ablation's folder: measured anew, all of
    them, where one is missing, for only figures of one run can be compared."""
    wanted = {s.name: folder_of(s) for s in settings}
    known = earlier_costs(workdir)
    if wanted.keys() <= known.keys():
        return {name: known[name] for name in wanted}
    found: dict[str, Cost] = {}
    with Progress(len(wanted), "what each model costs", "models") as progress:
        for name, folder in wanted.items():
            found[name] = measure(folder)
            progress.advance()
    tree: dict[str, Any] = {name: cost._asdict() for name, cost in found.items()}
    with run_files.owned_comparison(workdir).staged() as staging:
        write_text(staging / FILE, json.dumps(json_tree(tree), indent=1))
    return found


def earlier_costs(workdir: Path) -> dict[str, Cost]:
    """What was measured before; {} where nothing was."""
    path = workdir / FILE
    if not path.is_file():
        return {}
    tree = read_json(path, "what models cost: remove it, and it is measured anew")
    fields = set(Cost._fields)
    return {n: Cost(**c) for n, c in tree.items() if isinstance(c, dict) and set(c) == fields}
