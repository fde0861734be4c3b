"""Frame scores of videos in bulk for `--mode=score`, by the stores of frames and flow."""

from __future__ import annotations

import numpy as np

from gfvad.base.types import DataError, ScoredVideo
from gfvad.data.frames.clip_data import open_split
from gfvad.measure import finite
from gfvad.settings.command_line import Arguments
from gfvad.tasks import job
from gfvad.tasks.prediction import score_rule, trained
from gfvad.tasks.prediction.run import check_score
from gfvad.tasks.scoring import FrameScores
from gfvad.train import loop


def frame_scores(arguments: Arguments) -> FrameScores:
    """Frame scores of a folder of videos or frames, or of one video, by a checkpoint of a run."""
    config, say = arguments.config, loop.to_stderr
    job.require_checkpoints(arguments.workdir)
    mapper = job.devices(config)
    found = trained.find(config, arguments.workdir, arguments.checkpoint, say)
    if found.train is not None:
        check_score(config, found.train)
    if found.text_width and not arguments.captions:
        raise DataError(
            f"{arguments.input}: the model reads descriptions; give them by --captions=FILE (JSON"
            " lines, docs/data.md), or train with the variant no_text"
        )
    wanted = config.copy_and_resolve_references()
    wanted.data.root, wanted.data.layout = str(arguments.input), "any"
    texts = str(arguments.captions.resolve()) if arguments.captions else ""
    wanted.data.train_descriptions = wanted.data.test_descriptions = texts
    videos = open_split(wanted, "test", say, found.flow_size)
    run = trained.complete(found, mapper, say)
    readings = run.reader.read(run.state, videos, range(len(videos)), "scoring")
    rule, nothing = run.scorer, np.zeros((0, 2), np.int64)
    scored = []
    for name, reading in zip(videos.names, readings, strict=True):
        scores = score_rule.frame_scores_of(reading, rule.calibration, rule.chosen, config.score)
        unknown = np.zeros(0, np.uint8), -1, (), nothing, (), 1, 0.0
        scored.append(ScoredVideo(name, scores, *unknown))
    return FrameScores(*finite.divide(scored))
