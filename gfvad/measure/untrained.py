"""What stands beside the headline of a weakly supervised set: scores that needed no training, and
other ground truths in use, as micro frame AUC by name.

A layout gives both (`Layout.untrained`, `Layout.other_truths`); where it gives neither, nothing is
added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gfvad.base.types import ScoredVideo
from gfvad.measure.frames import unit_to_frames
from gfvad.measure.metrics import roc_auc

MODEL = "this model"
HEADLINE = "as the headline"
Labels = Mapping[str, np.ndarray]  # video -> uint8 [T]


def beside(
    videos: Sequence[ScoredVideo],
    untrained: Mapping[str, Mapping[str, np.ndarray]],
    truths: Mapping[str, Labels],
) -> dict[str, Any]:
    """{'named': {name: micro AUC}, 'tables': [one table]} for results.json; the model itself under
    its own ground truth is the headline, not named.

    videos: the model's frame scores under the headline's ground truth; untrained {name: {video:
    unit scores [N]}}; truths {name: {video: labels [T]}}, with T no longer than the headline's. A
    frame's score does not depend on the ground truth.
    """
    every = {HEADLINE: {v.name: v.labels for v in videos}, **truths}
    scores = {MODEL: {v.name: v.scores for v in videos}, **of_frames(videos, untrained)}
    named, header, rows = {}, ["score"], []
    for truth, labels in every.items():
        abnormal = sum(int(y.sum()) for y in labels.values())
        frames = sum(map(len, labels.values()))
        header.append(f"{truth} ({frames:,} frames, {abnormal:,} abnormal)")
    for name, own in scores.items():
        values = {truth: micro_auc(own, labels) for truth, labels in every.items()}
        rows.append([name, *(f"{value:.4f}" for value in values.values())])
        # 'floor/X', 'floor/X, snippets counted down'
        named |= {name if t == HEADLINE else f"{name}, {t}": v for t, v in values.items()}
    del named[MODEL]
    title = "micro frame AUC by ground truth, beside what needs no training"
    return {"named": named, "tables": [{"title": title, "header": header, "rows": rows}]}


def of_frames(
    videos: Sequence[ScoredVideo], untrained: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, dict[str, np.ndarray]]:
    """'floor/NAME' -> video -> frame scores [T], of unit scores; arguments as `beside`."""
    return {
        f"floor/{name}": {
            v.name: unit_to_frames(units[v.name], len(v.scores), v.unit_frames or 1) for v in videos
        }
        for name, units in untrained.items()
    }


def micro_auc(scores: Mapping[str, np.ndarray], labels: Labels) -> float:
    """AUC over the frames of all videos; scores beyond a video's labels count nowhere."""
    names = sorted(labels)
    joined = np.concatenate([scores[n][: len(labels[n])] for n in names])
    return float(roc_auc(joined, np.concatenate([labels[n] for n in names])))
