"""Models of the prediction task by name."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
from ml_collections import ConfigDict, FrozenConfigDict

from gfvad.base.registry import Registry
from gfvad.tasks.prediction.model import PredictiveModel

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
