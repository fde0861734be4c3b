"""Leaves an ordinary run folder for each setting and seed of a trained group: config,
checkpoints, metrics, scores, results."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.ablation.group_run import GroupRun
from gfvad.ablation.groups import FAILED, RESULTS, run_folder, with_seed
from gfvad.base.files import write_text
from gfvad.settings import config as config_lib
from gfvad.tasks.task import RunFolder
from gfvad.train.checkpoint import VALIDATION, Checkpoints
from gfvad.train.logs import Row
from gfvad.train.loop import CHECKPOINTS, Trained
from gfvad.train.run import RUNNING, Place


def write_folders(run: GroupRun, trained: Trained, workdir: Path, seconds: float) -> None:
    """Evaluates a group and writes the folders of its runs that are not finished yet.

    seconds: of one run, its share of the group's. The results are those that a run's own evaluation
    gives of the same weights; figures are left to it (`gfvad evaluate`).
    """
    standing, group, last = run.standing, run.program.group, run.config.train.steps
    states = {"last": trained.state}
    alive = standing.failed == RUNNING
    if (alive & (standing.best_step > 0) & (standing.best_step < last)).any():
        states["best"] = run.best
    judge = run.settings.judge(run.program, states)
    for number, place in enumerate(np.ndindex(*run.shape), 1):
        setting, seed = group.settings[place[1]], group.seeds[place[0]]
        folder = run_folder(workdir, setting.name, seed)
        if (folder / RESULTS).is_file() or (folder / FAILED).is_file():
            continue
        config = with_seed(setting.config, seed)
        config_lib.save(config, folder)
        own = [dict(row) for row in trained.history if tuple(row["run"]) == place]
        for row in own:
            del row["run"]
        write_rows(folder / "metrics.jsonl", own)
        write_rows(folder / "timing.jsonl", trained.timing)
        if not alive[place]:
            step, reason = int(standing.failed[place]), "a loss or gradient was not a finite number"
            message = {"step": step, "reason": reason}
            run.say(f"setting {setting.name}, seed {seed}: {reason} at step {step}; it is left out")
            write_text(folder / FAILED, json.dumps(message))
            continue
        save_checkpoints(run, trained, place, folder, config)
        rules, best = {"last": "last"}, int(standing.best_step[place])
        if best:
            rules["validation-best"] = "best" if best < last else "last"
        judge(RunFolder(place, config, folder, rules, seconds))
        run.say(
            f"written: setting {setting.name}, seed {seed} ({number} of {group.size} of this group)"
        )


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """A log as JSON lines."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def save_checkpoints(
    run: GroupRun, trained: Trained, place: Place, folder: Path, config: ConfigDict
) -> None:
    """The last checkpoint of a run and, where it is another one, the best on validation, as its
    own training would leave them."""
    standing, last = run.standing, config.train.steps
    # of an earlier attempt that was cut short
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    empty: dict[str, Any] = {"count": 0, "sums": {}}
    best = int(standing.best_step[place])
    with Checkpoints(folder / CHECKPOINTS, config, run.identity, write=True) as checkpoints:
        if best and best < last:
            state = run.program.run_state(run.best, *place)
            state = state._replace(step=np.full_like(state.step, best))
            ranked = {VALIDATION: float(standing.best_value[place])}
            checkpoints.save(best, state, standing.positions[place], empty, ranked)
        value = float(standing.best_value[place] if best == last else standing.last_value[place])
        ranked = {VALIDATION: value} if np.isfinite(value) else {}
        position = run.batches.get_state()[place[0]]
        state = run.program.run_state(trained.state, *place)
        checkpoints.save(last, state, position, empty, ranked)
