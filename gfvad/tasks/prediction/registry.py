"""Models of the prediction task by name, and settings of theirs that cannot work together."""

from __future__ import annotations

import math
from collections.abc import Callable

import flax.linen as nn
from ml_collections import ConfigDict, FrozenConfigDict

from gfvad.base.registry import Registry
from gfvad.base.types import ConfigError
from gfvad.fusion.operator import check_fusion
from gfvad.settings.config import flatten
from gfvad.tasks.prediction import sib_vad_model
from gfvad.tasks.prediction.model import PredictiveModel

comparison = "prediction"  # sweep: its parts, MemAE's memory in place of the filter
# name -> (whole config, width of the embeddings of descriptions) -> module as `PredictiveModel`
MODELS: Registry[Callable[[ConfigDict, int], nn.Module]] = Registry("model.name")
register_model = MODELS.register


def build_model(config: ConfigDict, text_width: int) -> nn.Module:
    """The model `config.model.name` for embeddings of that width (0: without descriptions). Raises
    ConfigError for a name that is not known."""
    return MODELS.find(config.model.name)(config, text_width)


register_model(
    "predictive",
    lambda config, text_width: PredictiveModel(
        FrozenConfigDict(config.model), text_width, config.data.flow
    ),
)
register_model(
    "sib_vad",
    lambda config, text_width: sib_vad_model.SibVad(FrozenConfigDict(config.model), text_width),
)


def check_sib_vad(config: ConfigDict) -> None:
    """Raises ConfigError for settings that the authors' model does not have, or lacks inputs."""
    for key, found, expected in sib_vad_model.fixed(config):
        if found != expected:
            raise ConfigError(
                f"config.{key} = {found!r}: expected {expected!r}, which is no choice in the"
                " authors' model (model.name sib_vad); take model.name predictive to change it"
            )
    if not config.data.train_descriptions:
        raise ConfigError(
            "config.data.train_descriptions is empty: model.name sib_vad reads descriptions"
            " (docs/predictive.md)"
        )
    if config.data.vision == "patches":
        raise ConfigError(
            "config.data.vision = 'patches': model.name sib_vad reads the states of a frozen vision"
            " encoder; give states:FOLDER or tokens:FOLDER (docs/vision_encoders.md)"
        )


def check(config: ConfigDict) -> None:
    """Patches tile the frame, cells tile patches, heads divide the width, the pace network's cells
    tile the frame, no more experts are kept than there are, the fusion fits its graphs.

    Raises ConfigError naming the key, its value and what is valid.
    """
    data, model, filtered = config.data, config.model, config.model.filter
    if model.name == "sib_vad":
        check_sib_vad(config)
    step, tiles = model.patch, f"(model.patch = {model.patch}"
    if model.pace:
        step, tiles = (
            math.lcm(step, 4),
            f"{tiles}, and of the 4 pixels of a cell of the pace network",
        )
    widths = f"model.heads = {model.heads} and of data.clip_frames = {data.clip_frames}"
    most = f"at most config.model.filter.experts = {filtered.experts}"
    rules = (
        ("data.height", data.height % step, f"a multiple of {step} {tiles})"),
        ("data.width", data.width % step, f"a multiple of {step} {tiles})"),
        ("model.cell", model.patch % model.cell, f"a divisor of model.patch = {model.patch}"),
        (
            "model.width",
            model.width % math.lcm(model.heads, data.clip_frames),
            f"a multiple of {widths}",
        ),
        (
            "data.validation_fraction",
            not data.validation_fraction and not config.score.weights,
            "above 0, at most 0.5, unless score.weights are given: they are chosen on what is held"
            " out",
        ),
        ("model.filter.topk", filtered.kind == "sffm" and filtered.topk > filtered.experts, most),
    )
    for key, wrong, expected in rules:
        if wrong:
            raise ConfigError(f"config.{key} = {flatten(config)[key]!r}: expected {expected}")
    graphs = 1 + model.motion + bool(data.train_descriptions)
    check_fusion(model.fusion, model.expansion, graphs)
