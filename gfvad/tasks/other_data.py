"""Evaluating a run on other data than its own: `--mode=evaluate --workdir=RUN --data=FOLDER
--output=FOLDER`. The run's folder is only read."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import ConfigError, DataError
from gfvad.data import manifest as manifest_lib
from gfvad.data.features import layouts, records
from gfvad.data.features.source import SIMULATED, Source, cache_dir
from gfvad.data.frames.source import open_split
from gfvad.measure import calibration, tables
from gfvad.settings.command_line import Arguments
from gfvad.tasks.fusion import job, registry
from gfvad.tasks.fusion.evaluate import Evaluator
from gfvad.tasks.prediction import job as clip_job
from gfvad.tasks.prediction import report as clip_report
from gfvad.tasks.prediction import run_scorer
from gfvad.train import loop, parallel
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.identity import ON, alone, claim_output, on, stated


def evaluate(arguments: Arguments) -> int:
    """Evaluates a run of the fusion of features on the test split of another folder, or of other
    prepared records. Returns the exit code.

    Scores are normalised by no training videos (that protocol is left out), for the run's own need
    not be there.
    """
    started = time.monotonic()
    config, mapper = _begin(arguments)
    job.check_batches(config, mapper)
    source = _source(config, arguments.data)
    test = records.open_records(
        source.records, "test", config.data.modalities, config.data.on_corrupt
    )
    # the checkpoint has them
    zeros = {
        m: {key: np.zeros(width, np.float32) for key in ("mean", "std")}
        for m, width in test.dims.items()
    }
    model = registry.build_model(config, test.dims, zeros)
    rule = job.RULES.get(arguments.checkpoint, f"step {arguments.checkpoint}")
    with alone(arguments.output, what="evaluation"):
        with Checkpoints(arguments.workdir / loop.CHECKPOINTS, config) as kept:
            restored = kept.restore(arguments.checkpoint, job.template(config, model, test))
        videos = job.score_videos(
            Evaluator(mapper, model, config),
            restored.state,
            test,
            f"scoring the test split ({rule})",
        )
        other = config.copy_and_resolve_references()
        other.data.root = str(source.root or "")
        other.data.records = "" if source.root else str(source.records)
        parts = job.Parts(
            other, arguments.output, source, None, test, model, mapper, loop.to_stderr
        )
        extra = {**stated(test=test), ON: on(arguments.workdir, arguments.data)}
        alarm = calibration.read_calibration(arguments.workdir, restored.step)
        tree = job.write_run(
            parts,
            [job.Scored(rule, videos, None, restored.step, alarm)],
            lambda: time.monotonic() - started,
            extra,
        )
    tables.print_table(tree)
    print(
        f"\nresults  {arguments.output / 'results.json'}, {arguments.output / 'results.md'}\nscores"
        f"   {arguments.output / job.SCORES}"
    )
    return 0


def evaluate_clips(arguments: Arguments) -> int:
    """Evaluates a run of the predictive model on the test split of another folder of frames.
    Returns the exit code."""
    started = time.monotonic()
    config, mapper = _begin(arguments)
    say = loop.to_stderr
    other = config.copy_and_resolve_references()
    other.data.root = str(arguments.data)
    # named by the run; where the other folder has none of that name, they are looked for
    for key in ("spans", "masks"):
        if other.data[key] and not (arguments.data / other.data[key]).exists():
            other.data[key] = ""
    truth = clip_job.ground_truth(other)
    found = run_scorer.find(config, arguments.workdir, arguments.checkpoint, say)
    test = open_split(other, "test", say, found.flow_size)
    truth = truth or clip_job.ground_truth(other, test.lengths)
    if test.text_width != found.text_width:
        raise DataError(
            f"{arguments.data}: descriptions of width {test.text_width}, the run reads"
            f" {found.text_width}; expected the same inputs as the run's"
        )
    with alone(arguments.output, what="evaluation"):
        run = run_scorer.complete(found, mapper, say)
        readings = run.reader.read(run.state, test, range(len(test)), "scoring the test split")
        extra = stated(test=test)
        extra["content"]["test"]["ground truth"] = clip_job.truth_digest(truth)
        rule = job.RULES.get(arguments.checkpoint, f"step {arguments.checkpoint}")
        report = clip_report.Report(
            other,
            arguments.output,
            test,
            truth,
            run.scorer.calibration,
            run.scorer.causal,
            run.scorer.chosen,
            readings,
            rule,
            mapper,
            started,
            (run.scorer.threshold(), run.scorer.threshold_rule()),
            {**extra, ON: on(arguments.workdir, arguments.data)},
        )
        clip_report.write(report, run.reader, run.state, say)
    return 0


def _begin(arguments: Arguments) -> tuple[ConfigDict, parallel.Mapper]:
    """What both kinds refuse before any work."""
    job.require_checkpoints(arguments.workdir)
    if not arguments.data.exists():
        raise ConfigError(
            f"--data={arguments.data}: not found; expected a folder of features, frames or prepared"
            " records"
        )
    claim_output(arguments.output, arguments.workdir, arguments.data)
    parallel.initialise_distributed()
    config = arguments.config
    mapper = parallel.make_mapper(config.parallel.backend, config.parallel.devices)
    if mapper.process_count > 1:
        raise ConfigError(
            "--data: an evaluation on other data runs in one process, found"
            f" {mapper.process_count}; start one"
        )
    return config, mapper


def _source(config: ConfigDict, folder: Path) -> Source:
    """The records of a folder: as they are where it holds prepared ones, else prepared in the
    cache."""
    if (folder / manifest_lib.INDEX).is_file() and (folder / manifest_lib.MANIFEST).is_file():
        dataset = records.open_records(
            folder, "test", config.data.modalities, config.data.on_corrupt
        ).dataset
        return Source(dataset, None, folder, dataset.endswith(SIMULATED))
    data_cfg = config.data.copy_and_resolve_references()
    data_cfg.root, data_cfg.records = str(folder), ""
    layout = layouts.open_layout(data_cfg)
    out = (
        cache_dir(data_cfg)
        / "prepared"
        / f"{data_cfg.dataset}-on-{manifest_lib.digest([str(folder.resolve()), repr(data_cfg.to_dict())])[:10]}"
    )
    path = records.prepare(layout, out, own=True)
    return Source(data_cfg.dataset, folder, path, False)
