"""Which figures a run gets, from what it left behind; how each is drawn stands in figures.py and
figures_model.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.types import ScoredVideo
from gfvad.figures import curves, model

METRICS = "metrics.jsonl"


def draw(
    workdir: Path,
    dataset: str,
    evaluator: Any,
    state: Any,
    split: Any,
    videos: Sequence[ScoredVideo],
    coefficients: tuple[np.ndarray, Sequence[str], int] | None,
) -> list[Path]:
    """Draws everything that a run has the material for into workdir/figures; returns the paths.

    evaluator: eval/evaluate.Evaluator; state: the weights the videos were scored with; split: their
    records; coefficients: A as a dense tensor of the first channel, the names of the graphs and the
    number of channels, None for a model without.
    """
    folder = workdir / "figures"
    drawn = [curves.score_timelines(videos, dataset, folder / "score_timelines.png")]
    rows = curves.read_log(workdir / METRICS) if (workdir / METRICS).is_file() else []
    if rows:
        drawn.append(curves.learning_curves(rows, dataset, folder / "learning_curves.png"))
    for i in videos_with_a_before(videos, split)[:1]:
        for fused in evaluator.fused_graphs(state, split, [i]):
            if len(fused.graph):
                drawn.append(
                    model.fused_graph(fused.graph, videos[i], dataset, folder / "fused_graph.png")
                )
    if coefficients is not None:
        drawn.append(
            model.coefficients(
                coefficients[0], dataset, folder / "coefficients.png", *coefficients[1:]
            )
        )
    usage = expert_usage(rows)
    if usage:
        drawn.append(model.expert_usage(usage, dataset, folder / "expert_usage.png"))
    return drawn


def videos_with_a_before(videos: Sequence[ScoredVideo], split: Any) -> list[int]:
    """Indices of videos with an event and normal units before it, best scored first; where there
    is none, any with an event."""
    events = sorted(
        (i for i, v in enumerate(videos) if len(v.spans)),
        key=lambda i: -curves.video_error(videos[i])[1],
    )
    windows = {
        i: model.event_window(videos[i].spans, model.unit_starts(videos[i], int(split.lengths[i])))
        for i in events
    }
    return [i for i in events if windows[i] is not None] or events


def expert_usage(rows: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Modality -> share of routed slots [E] of the last log row that has it."""
    for row in reversed(rows):
        found = {
            key.split("/", 1)[1]: np.asarray(value, np.float64)
            for key, value in row.items()
            if key.startswith("usage/")
        }
        if found:
            return found
    return {}
