"""Videos known by their features in plain files, in any layout that a model can be trained on: read
for the scorer, and scored in bulk for `--mode=score`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import DataError, Video
from gfvad.data import streams
from gfvad.data.features import layouts, records
from gfvad.data.features.dataset import cache_dir
from gfvad.data.features.layouts import FrameInputs, Inputs
from gfvad.data.features.layouts.entries import find_files
from gfvad.data.frames import finding
from gfvad.measure import finite
from gfvad.measure.score_result import VideoScores
from gfvad.settings.command_line import Arguments
from gfvad.tasks import job
from gfvad.tasks.fusion import registry, run
from gfvad.tasks.fusion.evaluate import Evaluator
from gfvad.tasks.fusion.standalone import CLOCK
from gfvad.tasks.scoring import FrameScores, Request, VideosToScore, VideoToScore
from gfvad.train import loop
from gfvad.train.checkpoint import Checkpoints

if TYPE_CHECKING:
    from gfvad.tasks.fusion.scorer import WeakScorer

SUFFIXES = (".npy", ".npz", ".csv", ".json")  # of files of features


class FeatureFiles(NamedTuple):
    """An input, opened."""

    layout: Inputs | FrameInputs
    lost: dict[str, str]  # name of a video that cannot be read -> why


def open_files(
    path: str | Path, config: ConfigDict, widths: Mapping[str, int], captions: str | Path | None
) -> FeatureFiles:
    """Features to score. A modality that the input has not is zeros, and a warning says so, as
    long as another one is there. Raises DataError where nothing can be scored."""
    layout = layouts.open_input(path, config.data.modalities, config.data, captions, widths)
    for line in layout.warnings():
        loop.to_stderr(f"warning: {line}")
    return FeatureFiles(layout, layouts.drop_unusable(layout))


def frame_scores(arguments: Arguments) -> FrameScores:
    """Frame scores by a checkpoint of a run, on this machine's devices."""
    config, which = arguments.config, arguments.checkpoint
    assert arguments.input is not None  # the command line asks for it
    job.require_checkpoints(arguments.workdir)
    mapper = job.devices(config)
    cache = cache_dir(config.data)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = tempfile.TemporaryDirectory(dir=cache, prefix="score-")
    with temporary as folder, Checkpoints(arguments.workdir / loop.CHECKPOINTS, config) as kept:
        widths = kept.feature_widths(which, config.data.modalities)
        layout, lost = open_files(arguments.input, config, widths, arguments.captions)
        prepared = records.prepare(layout, Path(folder) / "input")
        videos = records.open_records(prepared, "test", config.data.modalities)
        # the feature statistics are among the checkpoint's constants
        model = registry.build_model(config, videos.dims, registry.unknown_stats(videos.dims))
        state = kept.restore(which, run.template(config, model, videos.dims)).state
        undamaged = config.copy_and_resolve_references()
        undamaged.data.corruption.at = "none"  # what is given is scored as it is
        scored = run.score_videos(Evaluator(mapper, model, undamaged), state, videos, "scoring")
        scored, unusable = finite.divide(scored, lambda i: videos[i].features)
    return FrameScores(scored, lost | unusable, {m: [] for m in layout.missing} | layout.gaps)


def are_given(scorer: WeakScorer, request: Request) -> bool:
    """Whether the one input is files of features, or frames of a layout that makes its features
    itself."""
    path = Path(request.inputs[0]).expanduser()
    if len(request.inputs) != 1 or not path.exists():
        return False
    data = scorer.config.get("data", {})
    if scorer.encoders is None and data.get("layout") == layouts.Ped2Weak.kind:
        return True
    if path.is_file():
        return path.suffix.lower() in SUFFIXES
    files = any(find_files(path, suffix) for suffix in (".npy", ".npz"))
    return files and next(finding.below(path, []), None) is None


def of_files(
    scorer: WeakScorer, request: Request, claim: Callable[[Iterable[str]], None]
) -> VideosToScore:
    """The videos of files of features. Raises DataError as `open_files`, and for an artefact that
    does not say of which layout they are."""
    if "data" not in scorer.config:
        raise DataError(
            f"{scorer.path}: its manifest has no config, so how to read files of features is not"
            " known; expected an artefact of this version: export the run again"
        )
    widths = scorer.units.modalities
    opened = open_files(request.inputs[0], scorer.config, widths, request.descriptions or None)
    entries = {entry.name: entry for entry in opened.layout.entries("test")}
    claim(entries)
    videos = [
        VideoToScore(name, name, partial(of_entry, scorer, opened, entry))
        for name, entry in entries.items()
    ]
    return VideosToScore(videos, list(opened.lost.items()))


def of_entry(scorer: WeakScorer, opened: FeatureFiles, entry: layouts.Entry) -> VideoScores:
    """Scores of one video of files of features: the mean over its crops."""
    layout = opened.layout
    video: Video = layout.load(entry)
    crops = max(len(x) for x in video.features.values())
    units = next(iter(video.features.values())).shape[1]
    clock = streams.clock(video, units)[0, :, 0]
    found = [
        scorer.score(
            video.name,
            {m: x[min(crop, len(x) - 1)] for m, x in video.features.items()} | {CLOCK: clock},
        )
        for crop in range(crops)
    ]
    seconds = (video.unit_frames or video.num_frames / units) / (video.fps or streams.DEFAULT_FPS)
    start = np.arange(units) * seconds
    gaps = {m for m, names in layout.gaps.items() if video.name in names} | set(layout.missing)
    return VideoScores(
        video.name,
        "",
        video.fps,
        video.num_frames,
        start,
        start + seconds,
        np.mean([x["scores"] for x in found], 0),
        {m: np.mean([x["parts"][m] for x in found], 0) for m in found[0]["parts"]},
        found[0]["graph"],
        missing=tuple(m for m in scorer.contributors if m in gaps),
        unit_frames=video.unit_frames,
    )
