"""An ablation from its sweep to its report: what is missing is trained, group by group, in this
process or in several; then all is compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from gfvad.ablation import folds, group_run, groups, report, run_folders
from gfvad.ablation.arguments import Arguments
from gfvad.ablation.groups import Group
from gfvad.ablation.program import Program
from gfvad.ablation.sweep import Sweep
from gfvad.base import run_files
from gfvad.base.files import remove_tree
from gfvad.base.progress import Progress
from gfvad.base.types import ConfigError
from gfvad.measure.results import json_tree
from gfvad.settings import config as config_lib
from gfvad.tasks import task_of
from gfvad.tasks.task import SweepData
from gfvad.train import layout, loop, parallel
from gfvad.train.identity import alone, refuse_other_data
from gfvad.train.stop import StopRequest

CORES_EACH = 4  # of a group's process, where several are trained at a time

Say = Callable[[str], None]


# what is done with a report once it is written
Then = Callable[[report.Compared | folds.Compared], None]


def ablate(arguments: Arguments, then: Then = lambda compared: None) -> int:
    """Runs a command line; returns the exit code. Raises ConfigError and DataError before
    anything is trained where the input is wrong."""
    say = loop.to_stderr
    if folds.wanted(arguments):
        return folds.ablate(arguments, ablate, say, then)
    if not arguments.group:
        own = run_files.owned_ablation(arguments.workdir)
        own.claim({"sweep.json", *report.FILES, *own.known()})
    plan = prepare(arguments.sweep, arguments.workdir, arguments.at_once, say)
    if arguments.group:  # a part of the command below, which has the lock
        train_missing(plan, arguments.group, say)
        return 0
    with alone(plan.workdir, what="ablation"):
        refuse_other_data_of(plan)
        return train_and_report(plan, arguments, say, then)


def train_and_report(plan: Plan, arguments: Arguments, say: Say, then: Then) -> int:
    """Trains what is missing and writes the report; returns the exit code."""
    todo = missing(plan)
    for group in todo:
        for setting, seed in product(group.settings, group.seeds):
            groups.require_own(plan.workdir, setting, seed)
    keep_sweep(plan)
    runs = sum(group.size for group in todo)
    asked = len(plan.sweep.settings) * len(plan.sweep.seeds)
    say(
        f"ablation {plan.sweep.name}: {len(plan.sweep.settings)} settings x {len(plan.sweep.seeds)}"
        f" seeds; {asked - runs} runs are there, {runs} to train in {len(todo)} groups"
    )
    count = min(arguments.processes or free_processes(), len(todo))
    if count > 1:
        code = train_in_processes(plan, arguments.command, count, say)
        if code:
            return code
    else:
        train_missing(plan, None, say)
    dataset = plan.data[plan.sweep.base].dataset
    then(report.write_report(plan.sweep, plan.workdir, dataset, arguments.resamples, say))
    return 0


def refuse_other_data_of(plan: Plan) -> None:
    """Raises ConfigError where finished runs are on data of another content than what is given
    now: a table would mix them."""
    for setting in plan.sweep.settings:
        content = plan.data[setting.name].content(setting.config)
        for seed in plan.sweep.seeds:
            refuse_other_data(groups.run_folder(plan.workdir, setting.name, seed), content)


def free_processes() -> int:
    """How many groups to train at a time: one where they would share an accelerator, or two
    cores."""
    import jax

    cores = os.cpu_count() or 1
    return max(1, cores // CORES_EACH) if jax.default_backend() == "cpu" and cores > 2 else 1


class Plan(NamedTuple):
    """What an ablation is made of, and where it goes."""

    sweep: Sweep
    workdir: Path
    data: dict[str, SweepData]  # of each setting
    at_once: int  # most runs in one program


def prepare(sweep: Sweep, workdir: Path, at_once: int, say: Say) -> Plan:
    """Finds (or makes) the data of every setting and refuses what cannot work, before anything
    is trained."""
    opened: dict[str, SweepData] = {}
    data = {}
    for setting in sweep.settings:
        config = setting.config
        if config.eval.every_on_test:
            raise ConfigError(
                "config.eval.every_on_test: a sweep does not follow the test split while it trains;"
                " leave it False"
            )
        # corruption changes what is read, not what is there
        key = json.dumps(config.data.to_dict() | {"corruption": None}, sort_keys=True, default=list)
        if key not in opened:
            opened[key] = task_of(config).sweep_data(config, say)
        data[setting.name] = opened[key]
        data[setting.name].fit(config)
    for name, why in sweep.left_out.items():
        say(f"setting {name!r} is left out: {why}")
    data[sweep.base].announce(say)
    return Plan(sweep, workdir, data, at_once)


def train_missing(plan: Plan, only: str | None, say: Say) -> None:
    """Trains and evaluates the groups that are not finished, one after the other; only: the id of
    the one to take.

    Raises Interrupted after SIGTERM or Ctrl-C, when all is saved.
    """
    parallel.initialise_distributed()
    todo = [g for g in missing(plan) if only in (None, g.id)]
    if not todo:
        return
    total = sum(group.size * group.config.train.steps for group in todo)
    with Progress(total, f"ablation {plan.sweep.name}", "steps") as progress:
        for number, group in enumerate(todo, 1):
            names = ", ".join(setting.name for setting in group.settings)
            say(
                f"group {number} of {len(todo)} ({group.id}): {len(group.settings)} settings x"
                f" {len(group.seeds)} seeds: {names}"
            )
            train_group(plan, group, progress, say)


def missing(plan: Plan) -> list[Group]:
    """The groups that are left to train."""
    return groups.plan(plan.workdir, plan.sweep.settings, plan.sweep.seeds, plan.at_once)


def train_group(plan: Plan, group: Group, progress: Progress, say: Say) -> None:
    """Trains one group from where it stands, writes its runs' folders and clears its own away."""
    started = time.monotonic()
    config = group.config
    mapper = parallel.make_mapper(**config.parallel)
    if mapper.process_count > 1:
        raise ConfigError(
            f"an ablation runs in one process, found {mapper.process_count}; give each process a"
            " --workdir of its own, or start one"
        )
    layout.check_batches(config, mapper.n_global)
    configs = [groups.with_seed(s.config, group.seeds[0]) for s in group.settings]
    settings = plan.data[group.settings[0].name].group(configs, mapper, say)
    folder, program = groups.begin(plan.workdir, group), Program(group, settings.tasks)
    run = group_run.GroupRun(program, settings, mapper, say, progress.advance)
    trained = loop.train(run, folder)
    seconds = (time.monotonic() - started) / group.size
    run_folders.write_folders(run, trained, plan.workdir, seconds)
    remove_tree(folder, (groups.RECORD, *run_files.LOGS, loop.CHECKPOINTS))


def train_in_processes(plan: Plan, command: Sequence[str], count: int, say: Say) -> int:
    """The same in up to `count` processes at a time, a group each; command: the command line that
    started this one.

    A signal to this process is passed on, and every process saves. Returns the first exit code that
    is not 0.
    """
    todo = missing(plan)
    for group in todo:
        # on disk, so that every process makes the same groups of what is left
        groups.begin(plan.workdir, group)
    waiting, running, code = [group.id for group in todo], {}, 0
    with StopRequest() as stop:
        while waiting or running:
            while waiting and len(running) < count and not code and not stop.signum:
                name = waiting.pop(0)
                running[name] = subprocess.Popen(
                    [sys.executable, "-m", "gfvad.main", "ablate", *command, f"--group={name}"]
                )
            for name, process in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    code = code or process.returncode
            if stop.signum or code:
                waiting = []
            if stop.signum:
                for process in running.values():
                    process.send_signal(stop.signum)
                for process in running.values():
                    process.wait()
                return 128 + stop.signum
            time.sleep(0.2)
    if code:
        say(f"a group ended with exit code {code}; the same command goes on with what is left")
    return code


def keep_sweep(plan: Plan) -> None:
    """Leaves beside the results what was asked for: sweep.json."""
    sweep = plan.sweep
    base = next(setting for setting in sweep.settings if setting.name == sweep.base)
    tree = {
        "sweep": sweep.name,
        "base": sweep.base,
        "seeds": list(sweep.seeds),
        "settings": {s.name: s.differs for s in sweep.settings},
        "left_out": sweep.left_out,
        "config": config_lib.flatten(base.config),
    }
    text = json.dumps(json_tree(tree), indent=1).encode()
    run_files.owned_ablation(plan.workdir).write("sweep.json", lambda file: file.write(text))
