"""The fit and the scoring of graph novelty without data: shapes alone, for `gfvad plan`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from ml_collections import ConfigDict

from gfvad.tasks.novelty import registry, step
from gfvad.tasks.novelty.model import build_model
from gfvad.tasks.novelty.step import UnitBatch
from gfvad.train.run import Outline, array_shapes

# of the sets that this project makes of tracks and of pictures
WIDTHS = {"velocity": 2, "size": 2, "aspect": 1, "place": 2, "speed": 1, "texture": 8}


def outline(config: ConfigDict, widths: Mapping[str, int]) -> Outline:
    """As gfvad/tasks/task.py says; widths: {feature set: D}. Raises ConfigError for a
    comparator."""
    registry.refuse_comparator(config, "gfvad plan")
    dims = {n: int(widths.get(n) or WIDTHS.get(n, 8)) for n in config.data.modalities}
    model = build_model(config, dims, int(config.model.bank))

    def batch(size: int) -> UnitBatch:
        features = {n: (size, d) for n, d in dims.items()}
        number = ((size,), np.int32)
        return array_shapes(UnitBatch(features, number, number, (size,), ((size,), bool), number))

    zeros = {n: np.zeros((1, d), np.float32) for n, d in dims.items()}
    told = ", ".join(f"{name} {width}" for name, width in dims.items())
    return Outline(
        model=model,
        inputs=(zeros, np.zeros(1, np.int32), np.zeros(1, np.int32)),
        batch=batch,
        train_step=step.train_step,
        eval_step=partial(step.term_novelty, model=model, alike=False),
        eval_batch=batch,
        about=f"units of {told} against a bank of {config.model.bank:,}",
    )
