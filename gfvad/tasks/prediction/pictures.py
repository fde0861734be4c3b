"""Chooses what of a predictive run is drawn: timelines, learning curves, heat maps, terms,
experts, one annotated clip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base import run_files
from gfvad.figures import curves, experts, heatmaps
from gfvad.figures import video as clip_video
from gfvad.figures.heatmaps import ScoredFrames
from gfvad.tasks.prediction import score_terms

PAGES = 12  # videos that get a page of heat maps
METRICS = "metrics.jsonl"


def draw_run(report: Any, workdir: Path, reader: Any, state: Any) -> list[Path]:
    """Draws everything into workdir/figures; returns the paths. report: report.Report of the test
    split; reader, state: the model that it is of."""
    folder, dataset, videos = workdir / "figures", report.config.data.dataset, report.videos
    heat, masks, log = report.heat, report.truth.masks, workdir / METRICS
    run_files.owned_run(workdir).claim(
        f"figures/{name}" for v in videos for name in (f"heat_{v.name}.png", f"clip_{v.name}.mp4")
    )
    at = report.scorer.threshold()
    drawn = [curves.score_timelines(videos, dataset, folder / "score_timelines.png", at)]
    if log.is_file():
        drawn.append(curves.learning_curves(log, dataset, folder / "learning_curves.png"))
    limits = heatmaps.limits_of(np.concatenate([h["total"].ravel() for h in heat]))
    weights = {n: w for n, w in score_terms.place_weights(report.weights).items() if w > 0}
    for i, video in list(enumerate(videos))[:PAGES]:
        weighted = {n: w * heat[i][n] for n, w in weights.items() if n in heat[i]}
        clip = ScoredFrames(
            report.data.frames.video(i), heat[i]["total"], video.scores, weighted, limits
        )
        page, title = folder / f"heat_{video.name}.png", f"{dataset}, test video {video.name}"
        mask = None if masks is None else masks[i]
        drawn.append(heatmaps.heatmap_page(page, clip, mask, title))
    told = lambda v: (0 < v.labels.mean() < 1) * curves.video_error(v)[1]
    best = max(range(len(videos)), key=lambda i: told(videos[i]))
    video = videos[best]
    shares = {n: w * report.terms[best][n] for n, w in report.weights.items()}
    about = video.name, video.scores, shares, video.spans, video.fps
    drawn.append(heatmaps.term_timeline(folder / "terms.png", *about))
    drawn += use_of_experts(report, reader, state, best, folder)
    drawn.append(annotated(report, best, shares, limits, folder))
    return drawn


def annotated(
    report: Any,
    index: int,
    shares: Mapping[str, np.ndarray],
    limits: tuple[float, float],
    folder: Path,
) -> Path:
    """The annotated mp4 of a few seconds around the first event of a video of the test split."""
    video, maps = report.videos[index], report.heat[index]["total"]
    fps = video.fps or 10.0
    length = max(int(report.config.score.clip_seconds * fps), 2)
    first = int(video.spans[0][0]) - length // 3 if len(video.spans) else 0
    start = max(0, min(first, len(video.scores) - length))
    stop = min(start + length, len(video.scores))
    spans = np.clip(np.asarray(video.spans).reshape(-1, 2) - start, 0, stop - start)
    clip = ScoredFrames(
        report.data.frames.video(index)[start:stop],
        maps[start:stop],
        video.scores[start:stop],
        {n: x[start:stop] for n, x in shares.items()},
        limits,
    )
    inside = spans[spans[:, 1] > spans[:, 0]]
    return clip_video.write_annotated(folder / f"clip_{video.name}.mp4", clip, inside, fps)


def use_of_experts(report: Any, reader: Any, state: Any, video: int, folder: Path) -> list[Path]:
    """Use of the experts over one video: by layer, by place and by time; nothing for a filter
    without a choice."""
    routed = reader.routing(state, report.data, video)
    if routed is None:
        return []
    usage, slots = routed  # [layers, E], [T, L, E] of the last layer
    cfg = report.config
    rows, columns = cfg.data.height // cfg.model.patch, cfg.data.width // cfg.model.patch
    place = slots.sum(0).argmax(-1).reshape(rows, columns)
    return [
        experts.expert_usage(
            folder / "experts.png",
            usage,
            place,
            slots.mean(1),
            f"video {report.data.names[video]}",
            float(report.data.fps[video]),
        )
    ]
