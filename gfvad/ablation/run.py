"""An ablation from its sweep to its report: what is missing is trained, group by group, in this process or in several; then all is compared."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from gfvad import config as config_lib
from gfvad import job, parallel
from gfvad.ablation import finish, groups, report
from gfvad.ablation import training as training_lib
from gfvad.ablation.groups import Group
from gfvad.ablation.stacked import Stack
from gfvad.ablation.sweep import Setting, Sweep
from gfvad.data import records
from gfvad.data.source import Source, fit_lengths, resolve
from gfvad.progress import Progress
from gfvad.train import loop
from gfvad.types import ConfigError

Say = Callable[[str], None]


class Plan(NamedTuple):
    """What an ablation is made of, and where it goes."""

    sweep: Sweep
    workdir: Path
    sources: dict[str, Source]  # setting -> its data
    at_once: int  # most runs in one program


def prepare(sweep: Sweep, workdir: Path, at_once: int, say: Say) -> Plan:
    """Finds (or makes) the data of every setting and refuses what cannot work, before anything is trained."""
    found: dict[str, Source] = {}
    sources = {}
    for setting in sweep.settings:
        config = setting.config
        if config.eval.every_on_test:
            raise ConfigError("config.eval.every_on_test: a sweep does not follow the test split while it trains; leave it False")
        key = json.dumps(config.data.to_dict() | {"corruption": None}, sort_keys=True, default=list)
        if key not in found:
            found[key] = resolve(config, say)
        sources[setting.name] = found[key]
        fit_lengths(config, found[key])
    for name, why in sweep.left_out.items():
        say(f"setting {name!r} is left out: {why}")
    job.announce(sources[sweep.base], say)
    return Plan(sweep, workdir, sources, at_once)


def train_missing(plan: Plan, only: str | None, say: Say) -> None:
    """Trains and evaluates the groups that are not finished, one after the other; only: the id of the one to take.

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
            say(f"group {number} of {len(todo)} ({group.id}): {len(group.settings)} settings x {len(group.seeds)} seeds: {names}")
            train_group(plan, group, progress, say)


def missing(plan: Plan) -> list[Group]:
    """The groups that are left to train."""
    return groups.plan(plan.workdir, plan.sweep.settings, plan.sweep.seeds, plan.at_once)


def train_group(plan: Plan, group: Group, progress: Progress, say: Say) -> None:
    """Trains one group from where it stands, writes its runs' folders and clears its own away."""
    started = time.monotonic()
    config = group.config
    mapper = parallel.make_mapper(config.parallel.backend, config.parallel.devices)
    if mapper.process_count > 1:
        raise ConfigError(f"an ablation runs in one process, found {mapper.process_count}; give each process a --workdir of its own, or start one")
    job.check_batches(config, mapper)
    parts = job.assemble(config, plan.workdir, plan.sources[group.settings[0].name], mapper, say)
    stack = Stack(group, parts.train.dims, records.feature_stats(parts.source.records))
    folder = groups.begin(plan.workdir, group)
    trained = training_lib.train(stack, folder, parts.train, mapper, say=say, advance=progress.advance)
    finish.finish(stack, trained, parts, plan.workdir, (time.monotonic() - started) / group.size, say)
    shutil.rmtree(folder)


def train_in_processes(plan: Plan, command: Sequence[str], count: int, say: Say) -> int:
    """The same in up to `count` processes at a time, a group each; command: the command line that started this one.

    A signal to this process is passed on, and every process saves. Returns the first exit code that is not 0.
    """
    from gfvad.train.stop import StopRequest

    waiting, running, code = [group.id for group in missing(plan)], {}, 0
    with StopRequest() as stop:
        while waiting or running:
            while waiting and len(running) < count and not code and not stop.signum:
                name = waiting.pop(0)
                running[name] = subprocess.Popen([sys.executable, "-m", "gfvad.ablate", *command, f"--group={name}"])
            for name, process in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    code = code or process.returncode
            if stop.signum or code:
                waiting = []
                for process in running.values():
                    process.send_signal(stop.signum) if stop.signum else None
            if stop.signum:
                for process in running.values():
                    process.wait()
                return 128 + stop.signum
            time.sleep(0.2)
    if code:
        say(f"a group ended with exit code {code}; the same command goes on with what is left")
    return code


def write_report(plan: Plan, resamples: int, say: Say) -> None:
    """ablation.csv, ablation.md and figures of the settings of the sweep, and the table on standard output."""
    report.write(plan.sweep, plan.workdir, plan.sources, resamples, say)


def leave_config(plan: Plan, source_config, setting: Setting) -> None:
    """Keeps beside the results what the sweep was: sweep.json."""
    tree = {"sweep": plan.sweep.name, "base": plan.sweep.base, "seeds": list(plan.sweep.seeds),
            "settings": {s.name: s.differs for s in plan.sweep.settings}, "left_out": plan.sweep.left_out,
            "config": config_lib.flatten(setting.config)}  # fmt: skip
    from gfvad.eval.results import atomically, plain

    atomically(plan.workdir / "sweep.json", lambda file: file.write(json.dumps(plain(tree), indent=1).encode()))


SAY = loop.to_stderr
