"""Settings of the predictive model that cannot work together, refused by name before any work."""

from __future__ import annotations

import math
from typing import NoReturn

from ml_collections import ConfigDict

from gfvad.base.types import ConfigError
from gfvad.fusion.operator import check_fusion


def check(config: ConfigDict) -> None:
    """Patches tile the frame, cells tile patches, heads divide the width, the pace network's cells
    tile the frame, no more experts are kept than there are, the fusion fits its graphs.

    Raises ConfigError naming the key, its value and what is valid.
    """
    data, model, filtered = config.data, config.model, config.model.filter
    for side in ("height", "width"):
        step = math.lcm(model.patch, 4) if model.pace else model.patch
        if data[side] % step:
            pace = ", and of the 4 pixels of a cell of the pace network" if model.pace else ""
            refuse(
                f"data.{side}",
                data[side],
                f"a multiple of {step} (model.patch = {model.patch}{pace})",
            )
    if model.patch % model.cell:
        refuse("model.cell", model.cell, f"a divisor of model.patch = {model.patch}")
    if model.width % model.heads or model.width % data.clip_frames:
        refuse(
            "model.width",
            model.width,
            f"a multiple of model.heads = {model.heads} and of data.clip_frames ="
            f" {data.clip_frames}",
        )
    if filtered.kind == "sffm" and filtered.topk > filtered.experts:
        refuse(
            "model.filter.topk",
            filtered.topk,
            f"at most config.model.filter.experts = {filtered.experts}",
        )
    graphs = 1 + model.motion + bool(data.train_descriptions)
    check_fusion(model.fusion, model.expansion, graphs)


def refuse(key: str, value: object, expected: str) -> NoReturn:
    """Raises ConfigError for a value."""
    raise ConfigError(f"config.{key} = {value!r}: expected {expected}")
