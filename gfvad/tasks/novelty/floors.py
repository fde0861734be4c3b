"""What stands beside the headline of graph novelty: distances to the nearest normal units without
any fusion, and each feature set alone in this model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gfvad.base.types import ScoredVideo
from gfvad.data.unit_videos import UnitVideos
from gfvad.measure import untrained
from gfvad.measure.paired import Beside
from gfvad.tasks.novelty.opened import PLAIN, OpenedModel
from gfvad.tasks.novelty.score import frame_scores

ALONE = "this model, {} alone"
NEAREST = "floor/nearest "


def frame_scores_beside(
    model: OpenedModel, test: UnitVideos, novelty: Sequence[np.ndarray]
) -> Beside:
    """Frame scores of the test split by name.

    floor/nearest SET, floor/sum of the sets and floor/all sets in one space: the highest of a
    frame's objects, nothing passed along tracks; 'this model, SET alone': one relation in place of
    the model's terms, of graph novelty alone. novelty: of the boxes of each test video,
    [n, columns].
    """
    first = model.terms
    sets = [c[0] for c in model.columns[first:] if len(c) == 1]
    singles = {name: first + i for i, name in enumerate(sets)}
    plain: dict[str, Sequence[int]] = {f"nearest {n}": [c] for n, c in singles.items()}
    if len(singles) > 1:
        plain["sum of the sets"] = list(singles.values())
        plain["all sets in one space"] = [len(model.columns) - 1]
    several = len(singles) > 1 and not model.compares
    alone = {ALONE.format(n): [c] for n, c in singles.items()} if several else {}
    variants = {f"floor/{n}": (c, PLAIN) for n, c in plain.items()} | {
        n: (c, model.config.score) for n, c in alone.items()
    }
    scores: dict[str, dict[str, np.ndarray]] = {name: {} for name in variants}
    for i, name in enumerate(test.names):
        first = model.first_set(test, i)
        for variant, (columns, cfg) in variants.items():
            calibration = model.of_columns(columns)
            found = frame_scores(
                novelty[i][:, list(columns)], test.units(i), calibration, cfg, first=first
            )
            scores[variant][name] = found.score
    floor = lambda name: name.startswith("floor/")
    return Beside(
        {n: x for n, x in scores.items() if floor(n)},
        {n: x for n, x in scores.items() if not floor(n)},
    )


def said(beside: Beside, videos: Sequence[ScoredVideo]) -> dict[str, Any]:
    """{'named': {name: micro AUC}, 'tables': [one table], 'floor_commands': {name: command}} for
    results.json."""
    labels = {v.name: v.labels for v in videos}
    scores = {**beside.floors, **beside.singles}
    named = {name: untrained.micro_auc(found, labels) for name, found in scores.items()}
    mine = untrained.micro_auc({v.name: v.scores for v in videos}, labels)
    commands = {
        f"{NEAREST}{n}": "train with"
        f" --config.data.modalities={n} --config.model.terms={n} --config.model.scales=1.0,"
        " --config.score.reach=0 --config.score.prior=0"
        for n in (name.removeprefix(NEAREST) for name in beside.floors if name.startswith(NEAREST))
    }
    return {"named": named, "tables": [table(mine, named)], "floor_commands": commands}


def table(mine: float, named: Mapping[str, float]) -> dict[str, Any]:
    """The model's micro frame AUC and those beside it."""
    rows = [[untrained.MODEL, f"{mine:.4f}"], *([n, f"{x:.4f}"] for n, x in named.items())]
    return {
        "title": "micro frame AUC beside what needs no fusion",
        "header": ["score", "raw"],
        "rows": rows,
    }
