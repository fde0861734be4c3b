"""`--mode=score` of a run of the fusion of features: frame scores of videos without labels, from
their features."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from gfvad.base import run_files
from gfvad.data.features import layouts, records
from gfvad.data.features.source import cache_dir
from gfvad.measure import finite
from gfvad.settings.command_line import Arguments
from gfvad.tasks.fusion import job, registry
from gfvad.tasks.fusion.evaluate import Evaluator
from gfvad.train import loop, parallel
from gfvad.train.checkpoint import Checkpoints


@run_files.claims_output
def score(arguments: Arguments) -> int:
    """Scores videos without labels by a checkpoint of a run, on this machine's devices. Returns the
    exit code.

    A modality that the input has not is zeros, and a warning says so, as long as another one is
    there.
    """
    config = arguments.config
    job.require_checkpoints(arguments.workdir)
    mapper = parallel.make_mapper(config.parallel.backend, config.parallel.devices)
    job.check_batches(config, mapper)
    cache = cache_dir(config.data)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = tempfile.TemporaryDirectory(dir=cache, prefix="score-")
    with temporary as folder, Checkpoints(arguments.workdir / loop.CHECKPOINTS, config) as kept:
        widths = kept.feature_widths(arguments.checkpoint, config.data.modalities)
        layout = layouts.open_input(
            arguments.input, config.data.modalities, config.data, arguments.captions, widths
        )
        for line in layout.warnings():
            loop.to_stderr(f"warning: {line}")
        lost = layouts.drop_unusable(layout)
        videos = records.open_records(
            records.prepare(layout, Path(folder) / "input"), "test", config.data.modalities
        )
        # the feature statistics are among the checkpoint's constants; here they only have to have
        # the right shape
        zeros = {
            m: {key: np.zeros(width, np.float32) for key in ("mean", "std")}
            for m, width in videos.dims.items()
        }
        model = registry.build_model(config, videos.dims, zeros)
        state = kept.restore(arguments.checkpoint, job.template(config, model, videos)).state
        undamaged = config.copy_and_resolve_references()
        undamaged.data.corruption.at = "none"  # what is given is scored as it is
        scored = job.score_videos(Evaluator(mapper, model, undamaged), state, videos, "scoring")
        scored, unusable = finite.divide(scored, lambda i: videos[i].features)
    return finite.write_usable(
        arguments.output, scored, lost | unusable, {m: [] for m in layout.missing} | layout.gaps
    )
