"""Leaves an ordinary run folder for each setting and seed of a trained group: config,
checkpoints, metrics, scores, results."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.ablation.groups import FAILED, RESULTS, run_folder
from gfvad.ablation.stacked import Stack, Stacked, StackedEvaluator, of_run, one_setting, run_config
from gfvad.ablation.traced import CORRUPTION
from gfvad.ablation.training import RUNNING, Trained
from gfvad.base.types import ScoredVideo
from gfvad.measure.results import atomically
from gfvad.settings import config as config_lib
from gfvad.tasks import job
from gfvad.tasks.fusion import run as fusion_run
from gfvad.tasks.fusion.evaluate import scored_videos
from gfvad.tasks.task import Scored
from gfvad.train import loop
from gfvad.train.checkpoint import VALIDATION, Checkpoints
from gfvad.train.identity import Learnt, learnt
from gfvad.train.logs import Row

Scores = dict[int, np.ndarray]  # video -> [N]


def finish(
    stack: Stack,
    trained: Trained,
    parts: fusion_run.FusionRun,
    workdir: Path,
    seconds: float,
    say: Callable[[str], None],
) -> None:
    """Evaluates a group and writes the folders of its runs that are not finished yet.

    parts: of the group's config; seconds: of one run, its share of the group's. The results are
    those that `gfvad.main` writes of the same weights; figures are left to `python -m gfvad.main
    --mode=evaluate`.
    """
    evaluator = stack.evaluator(parts.mapper)
    scored = {"last": Judged(stack, evaluator, trained.kept.last, parts)}
    standing = trained.standing
    if (
        (standing.best_step > 0)
        & (standing.best_step < stack.config.train.steps)
        & (standing.failed == RUNNING)
    ).any():
        scored["best"] = Judged(stack, evaluator, trained.kept.best, parts)
    places = [tuple(place) for place in np.argwhere(np.ones_like(standing.failed)).tolist()]
    for number, (u, k) in enumerate(places, 1):
        setting, config = stack.group.settings[k], run_config(stack, u, k)
        folder = run_folder(workdir, setting.name, stack.group.seeds[u])
        if (folder / RESULTS).is_file() or (folder / FAILED).is_file():
            continue
        config_lib.save(config, folder)
        write_rows(
            folder / "metrics.jsonl",
            [
                {a: b for a, b in row.items() if a != "run"}
                for row in trained.rows
                if tuple(row["run"]) == (u, k)
            ],
        )
        write_rows(folder / "timing.jsonl", trained.timing)
        if standing.failed[u, k] != RUNNING:
            message = {
                "step": int(standing.failed[u, k]),
                "reason": "a loss or gradient was not a finite number",
            }
            say(
                f"setting {setting.name}, seed {config.seed}: {message['reason']} at step"
                f" {message['step']}; it is left out"
            )
            atomically(
                folder / FAILED,
                lambda file, message=message: file.write(json.dumps(message).encode()),
            )
            continue
        save_checkpoints(stack, trained, (u, k), folder, config, learnt(parts.train))
        rules = [("last", "last")]
        if standing.best_step[u, k]:
            rules.append(
                (
                    "validation-best",
                    "best" if standing.best_step[u, k] < stack.config.train.steps else "last",
                )
            )
        own = dataclasses.replace(parts, config=config, workdir=folder, known={})
        job.write_run(
            own,
            [Scored(rule, *scored[which].of(u, k)) for rule, which in rules],
            lambda: seconds,
        )
        say(
            f"written: setting {setting.name}, seed {config.seed} ({number} of {len(places)} of"
            " this group)"
        )


class Judged:
    """Frame scores of every run by one state of a group. Settings whose test data differs
    (data.corruption) are scored one by one."""

    def __init__(
        self,
        stack: Stack,
        evaluator: StackedEvaluator,
        stacked: Stacked,
        parts: fusion_run.FusionRun,
    ):
        self._parts = parts
        configs = [setting.config for setting in stack.group.settings]
        corruptions = [
            {k: v for k, v in config_lib.flatten(c).items() if k.startswith(CORRUPTION)}
            for c in configs
        ]
        self._one_by_one = any(other != corruptions[0] for other in corruptions)
        test, chosen = range(len(parts.test)), fusion_run.statistics_indices(len(parts.train))
        self._training = evaluator.stacked_scores(stacked, parts.train, chosen)
        if self._one_by_one:
            self._test = [
                evaluator.stacked_scores(one_setting(stacked, k), parts.test, test, config)
                for k, config in enumerate(configs)
            ]
        else:
            self._test = [evaluator.stacked_scores(stacked, parts.test, test)]

    def of(self, seed: int, setting: int) -> tuple[list[ScoredVideo], tuple[float, float]]:
        """(scored test videos, statistics of the training scores) of a run. Args: indices."""
        test = (
            of_run(self._test[setting], seed, 0)
            if self._one_by_one
            else of_run(self._test[0], seed, setting)
        )
        training = of_run(self._training, seed, setting)
        return videos(test, self._parts.test), fusion_run.spread_of_frames(
            videos(training, self._parts.train)
        )


def videos(scores: Scores, split: Any) -> list[ScoredVideo]:
    """Frame scores of the videos of a split that have unit scores."""
    return list(scored_videos(scores, split, list(scores)))


def write_rows(path: Path, rows: list[Row]) -> None:
    """A log as JSON lines."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    atomically(path, lambda file: file.write(text.encode()))


def save_checkpoints(
    stack: Stack, trained: Trained, place: tuple[int, int], folder: Path, config: Any, data: Learnt
) -> None:
    """The last checkpoint of a run and, where it is another one, the best on validation, as its
    own training would leave them."""
    standing, last = trained.standing, stack.config.train.steps
    # of an earlier attempt that was cut short
    shutil.rmtree(folder / loop.CHECKPOINTS, ignore_errors=True)
    empty = {"count": 0, "sums": {}}
    best = int(standing.best_step[place])
    ranked = {VALIDATION: float(standing.best_value[place])} if best else {}
    with Checkpoints(folder / loop.CHECKPOINTS, config, data, write=True) as checkpoints:
        if best and best < last:
            state = stack.member(trained.kept.best, *place)._replace(
                step=np.full_like(trained.kept.last.state.step, best)
            )
            checkpoints.save(best, state, standing.positions[place], empty, ranked)
        validation = [
            row["selection"]
            for row in trained.rows
            if tuple(row["run"]) == place and (row["kind"], row["step"]) == (VALIDATION, last)
        ]
        of_last = {VALIDATION: validation[0]} if validation else {}
        checkpoints.save(
            last,
            stack.member(trained.kept.last, *place),
            trained.positions[place[0]],
            empty,
            of_last,
        )
