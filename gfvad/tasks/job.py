"""The jobs behind the command line, top to bottom, for every task: train (and evaluate), evaluate,
evaluate on other data. What differs between tasks is asked of an `OpenRun`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from gfvad.base import run_files
from gfvad.base.errors import EXIT_NOT_FINITE
from gfvad.base.files import write_text
from gfvad.base.types import ConfigError, DataError, ScoredVideo
from gfvad.measure import (
    calibration,
    explained,
    finite,
    paired,
    protocols,
    results,
    tables,
    whole_clips,
)
from gfvad.settings import config as config_lib
from gfvad.settings.command_line import Arguments
from gfvad.tasks import task_of
from gfvad.tasks.task import OpenRun, Restored, Scored
from gfvad.train import layout, loop, parallel
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.identity import alone, claim_output, refuse_other_data, skipped_text
from gfvad.train.meter import NonFiniteError

# checkpoint -> its name in results
RULES = {"last": "last", "best": "validation-best", "best_on_test": protocols.BEST_ON_TEST}
SCORES = "scores.npz"


@run_files.claims_run
def train(arguments: Arguments) -> int:
    """Trains (or goes on), then evaluates. Returns the exit code."""
    started = time.monotonic()
    run = begin(arguments)
    with alone(run.workdir, run.mapper.process_index):
        if (folder := run.workdir / loop.CHECKPOINTS).is_dir():
            with Checkpoints(folder, run.config, run.identity):
                pass  # opening refuses another configuration before anything is written over
        refuse_other_data(run.workdir, run.content()["content"])
        require_test_of_results(run)
        if run.mapper.process_index == 0:
            config_lib.save(run.config, run.workdir)
            run.keep()
        try:
            loop.train(loop.SingleRun(run.training()), run.workdir)
        except NonFiniteError as error:
            print(f"error: {error}", file=sys.stderr)
            return EXIT_NOT_FINITE
        return evaluate_run(run, "last", started)


@run_files.claims_results
def evaluate(arguments: Arguments) -> int:
    """Evaluates the checkpoints of a run again. Returns the exit code."""
    started = time.monotonic()
    require_checkpoints(arguments.workdir)
    run = begin(arguments)
    with alone(run.workdir, run.mapper.process_index):
        refuse_other_data(run.workdir, run.content()["content"])
        require_test_of_results(run)
        return evaluate_run(run, arguments.checkpoint, started)


def evaluate_elsewhere(arguments: Arguments) -> int:
    """Evaluates a run on the test split of other data, arguments.data, into arguments.output; the
    run's folder is only read. Returns the exit code.

    Scores are normalised by no training videos (that protocol is left out), for the run's own need
    not be there.
    """
    started = time.monotonic()
    require_checkpoints(arguments.workdir)
    assert arguments.data is not None and arguments.output is not None
    if not arguments.data.exists():
        raise ConfigError(
            f"--data={arguments.data}: not found; expected a folder of features, frames or prepared"
            " records"
        )
    claim_output(arguments.output, arguments.workdir, arguments.data)
    mapper = devices(arguments.config)
    if mapper.process_count > 1:
        raise ConfigError(
            "--data: an evaluation on other data runs in one process, found"
            f" {mapper.process_count}; start one"
        )
    run = task_of(arguments.config).open_elsewhere(arguments, mapper, loop.to_stderr)
    with alone(arguments.output, what="evaluation"):
        return evaluate_run(run, arguments.checkpoint, started)


def begin(arguments: Arguments) -> OpenRun:
    """The run that a command line means; see `Task.open_run`."""
    mapper = devices(arguments.config)
    say = loop.to_stderr if mapper.process_index == 0 else loop.quiet
    run = task_of(arguments.config).open_run(arguments, mapper, say)
    say(f"run: {arguments.workdir}")
    return run


def devices(config: ConfigDict) -> parallel.Mapper:
    """The devices of all processes. Raises DataError unless batches divide over them."""
    parallel.initialise_distributed()
    mapper = parallel.make_mapper(**config.parallel)
    layout.check_batches(config, mapper.n_global)
    return mapper


def require_checkpoints(workdir: Path) -> None:
    """Raises DataError where a folder is not that of a trained run."""
    if not (workdir / loop.CHECKPOINTS).is_dir():
        raise DataError(
            f"{workdir / loop.CHECKPOINTS}: not found; expected the folder of a trained run: train"
            " first, or give --workdir=RUN"
        )


def require_test_of_results(run: OpenRun) -> None:
    """Raises ConfigError where a folder has results on a labelled test split and the run has none:
    they are not replaced by nothing."""
    if not has_test(run) and results.has_values(run.workdir):
        raise ConfigError(
            f"{run.workdir / 'results.json'}: results on a labelled test split, which this command"
            " leaves out (config.data.test = ''); give the split again, or another --workdir"
        )


def has_test(run: OpenRun) -> bool:
    """Whether there is a labelled test split to evaluate on."""
    return "test" in run.splits


def evaluate_run(run: OpenRun, which: str, started: float) -> int:
    """Scores the test split, evaluates every protocol, writes results, scores and figures,
    prints the tables. Without a test split: writes and prints what is known."""
    if not has_test(run):
        run.say(f"{results.NO_TEST}")
    found = run.checkpoints(which)
    scored = [run.evaluate(chosen) for chosen in found]
    if run.mapper.process_index:
        return 0
    if has_test(run):
        run.say(
            f"evaluating every protocol, {run.config.eval.bootstrap} bootstrap resamples"
            f" ({', '.join(each.rule for each in scored)})"
        )
    shown = shown_of(run, found[0], scored[0].videos)
    tree = write_run(run, scored, lambda: time.monotonic() - started, shown)
    drawn = run.draw(found[0], scored[0].videos) if run.config.eval.figures else []
    run_files.drawn(run.workdir, drawn)
    tables.print_table(tree)
    for split in run.splits.values():
        if getattr(split, "skipped", None):
            print(f"note: {skipped_text(split)}")
    folder = run.workdir
    print(f"\nresults  {folder / 'results.json'}, {folder / 'results.md'}")
    if has_test(run):
        print(f"scores   {folder / SCORES}")
    else:
        print(what_now(folder))
    if drawn:
        print(f"figures  {', '.join(str(path) for path in drawn)}")
    return 0


def shown_of(run: OpenRun, chosen: Restored, videos: Sequence[ScoredVideo]) -> dict[str, Any]:
    """What results.json says of the highest score of the test split (no label chooses it):
    {'explained': ..., 'tables': [...]}; {} where nothing is shown (eval.figures)."""
    if not run.config.eval.figures or not videos:
        return {}
    index = explained.highest([v.scores for v in videos])
    try:
        found = task_of(run.config).explain(run, chosen, index)
    except explained.NotExplained:
        return {}
    return {
        "explained": explained.as_tree(found),
        "tables": explained.as_tables(found, "the highest score"),
    }


def write_run(
    run: OpenRun,
    scored: Sequence[Scored],
    seconds: Callable[[], float],
    also: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """Evaluates every protocol and writes scores.npz, results.md and results.json, the last one
    last: it says that a run is finished.

    Without a test split there are neither records nor scores.npz.

    Args: scored: of each rule, the one whose scores are kept first; seconds: how long the run took;
    also: what results.json says besides, its tables after all others.
    Returns the tree of results.json.
    """
    folder, cfg = run.workdir, run.config
    rows: list[protocols.Record] = []
    alarms = [e.alarm or calibration.read_calibration(folder, e.step) for e in scored]
    for each in scored:
        finite.require(folder / SCORES, each.videos, run.features)
    for each, alarm in zip(scored, alarms, strict=True) if has_test(run) else ():
        rows += protocols.protocol_matrix(
            each.videos, cfg.eval, each.statistics, checkpoint=each.rule, seed=cfg.seed
        )
        rows += whole_clips.records(each.videos, alarm, each.rule, cfg.eval.bootstrap, cfg.seed)
    videos = scored[0].videos
    beside = paired.Beside()
    if has_test(run):
        rows += run.records()
        beside = run.beside(videos)
    tested = paired.against(videos, beside, cfg.eval.bootstrap)
    meta = facts(run, videos, seconds()) | run.about(videos) | run.content()
    if shown := paired.table(tested.rows):
        meta |= {"paired": tested.rows, "tables": [*meta.get("tables", ()), shown]}
    meta |= {**also, "tables": [*meta.get("tables", ()), *also["tables"]]} if also else {}
    meta["alarms"] = dict(zip(("threshold", "rule"), alarms[0], strict=True))
    tree = results.build_results(rows, meta) if has_test(run) else results.unevaluated(meta)
    with run_files.owned_run(folder).staged(last="results.json") as staging:
        if has_test(run):
            results.write_scores(staging / SCORES, videos)
        if tested.resampled:
            results.write_scores(staging / paired.FILE, tested.resampled)
        write_text(staging / "results.md", tables.markdown(tree))
        return results.write_tree(staging / "results.json", tree)


def what_now(folder: Path) -> str:
    """What is to be done with a run that nothing was evaluated of."""
    return (
        f"alarms   gfvad score --model={folder} VIDEOS --out=FOLDER\n"
        f"labels   gfvad evaluate --workdir={folder} --data=FOLDER --output=FOLDER, with a labelled"
        " test split in the first one"
    )


def facts(run: OpenRun, videos: Sequence[ScoredVideo], seconds: float) -> dict[str, Any]:
    """What results.json says besides the values, of every task."""
    config = run.config
    without_seed = config.copy_and_resolve_references()
    # neither changes a value that is averaged over seeds
    without_seed.seed = without_seed.eval.bootstrap = 0
    return {
        "dataset": run.dataset,
        "split": config.data.test_name if has_test(run) else "none",
        "ground_truth_frames": sum(len(v.scores) for v in videos),
        "positive_frames": sum(int(v.labels.sum()) for v in videos),
        "seed": config.seed,
        "config_hash": config_lib.config_hash(config),
        "group": config_lib.config_hash(without_seed),
        "label": " + ".join(run.inputs) + (f" ({config.variant})" if config.variant else ""),
        "device": f"{run.mapper.n_global} x {jax.devices()[0].device_kind}, {run.mapper.backend}",
        "wall_seconds": seconds,
        "metric": config.eval.metric,
        "config": config.to_dict(),
    }
