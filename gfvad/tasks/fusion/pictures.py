"""Which figures a run gets, from what it left behind; how each is drawn stands in figures.py and
figures_model.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gfvad.base.types import ScoredVideo
from gfvad.figures import curves, model
from gfvad.fusion.coefficients import dense_coefficients, is_pictured
from gfvad.measure import calibration
from gfvad.tasks.fusion import registry
from gfvad.tasks.fusion.training import FUSION
from gfvad.train.state import TrainState, first_member

METRICS = "metrics.jsonl"


def draw_run(run: Any, state: TrainState, videos: Sequence[ScoredVideo]) -> list[Path]:
    """Draws everything that a run has the material for into workdir/figures; returns the paths.

    run: run.FusionRun; state: the weights the videos of its test split were scored with.
    """
    folder, dataset, log = run.workdir / "figures", run.dataset, run.workdir / METRICS
    at, _ = calibration.read_calibration(run.origin or run.workdir, int(state.step))
    drawn = [curves.score_timelines(videos, dataset, folder / "score_timelines.png", at)]
    rows = curves.read_log(log) if log.is_file() else []
    if rows:
        drawn.append(curves.learning_curves(rows, dataset, folder / "learning_curves.png"))
    for i in videos_with_a_before(videos, run.test)[:1]:
        for fused in run.evaluator.fused_graphs(state, run.test, [i]):
            if len(fused.graph):
                path = folder / "fused_graph.png"
                drawn.append(model.fused_graph(fused.graph, videos[i], dataset, path))
    if coefficients := fusion_coefficients(run.config, state):
        tensor, names, channels = coefficients
        path = folder / "coefficients.png"
        drawn.append(model.coefficients(tensor, dataset, path, names, channels))
    if usage := expert_usage(rows):
        drawn.append(model.expert_usage(usage, dataset, folder / "expert_usage.png"))
    return drawn


def videos_with_a_before(videos: Sequence[ScoredVideo], split: Any) -> list[int]:
    """Indices of videos with an event and normal units before it, best scored first; where there
    is none, any with an event."""
    events = sorted(
        (i for i, v in enumerate(videos) if len(v.spans)),
        key=lambda i: -curves.video_error(videos[i])[1],
    )
    starts = lambda i: model.unit_starts(videos[i], int(split.lengths[i]))
    before = [i for i in events if model.event_window(videos[i].spans, starts(i)) is not None]
    return before or events


def expert_usage(rows: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Modality -> share of routed slots [E] of the last log row that has it."""
    for row in reversed(rows):
        used = {key: value for key, value in row.items() if key.startswith("usage/")}
        if used:
            return {k.split("/", 1)[1]: np.asarray(x, np.float64) for k, x in used.items()}
    return {}


def fusion_coefficients(
    config: ConfigDict, state: TrainState
) -> tuple[np.ndarray, list[str], int] | None:
    """(A as a dense tensor, its first channel; names of its axes; number of channels); None for
    a model without, or with more graphs than a picture shows."""
    names = registry.graph_names(config.model, config.data.modalities)
    fusion = config.model.fusion
    if FUSION not in state.params or not is_pictured(fusion, len(names)):
        return None
    channels = np.asarray(dense_coefficients(first_member(state.params[FUSION], state), fusion))
    axes = channels.ndim - 1
    pair = [f"graph {i + 1} of the pair" for i in range(axes)]
    return channels[0], names if axes == len(names) else pair, len(channels)
