"""The authors' predictive model (gfvad/models/sib_vad.py) as a model of the prediction task: its
input from clips, and its start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gfvad.models import sib_vad
from gfvad.models.sib_vad_start import initial
from gfvad.tasks.prediction.model import Prediction

# of ImageNet, red, green, blue in 0..1
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class SibVad(nn.Module):
    """`PredictiveModel`'s place taken by the authors' model. config: config.model; text_width V."""

    config: Any
    text_width: int

    @staticmethod
    def normalise(frames: jax.Array) -> jax.Array:
        """uint8 0..255 [..., 3] -> the unit that the model reads and predicts frames in."""
        return (frames.astype(jnp.float32) / 255.0 - MEAN) / DEVIATION

    @nn.compact
    def __call__(self, features: Mapping[str, jax.Array], train: bool = False) -> Prediction:
        """features: frames uint8 [F + 1, h, w, 3], the last one being what is predicted; text [V];
        tokens [F, 2 (1 + L), U]: of each frame the vision encoder's last hidden states, class token
        first, then what its embedding layer gave of the same tokens."""
        frames = self.normalise(features["frames"])[:-1].transpose(0, 3, 1, 2)
        visual, embedded = jnp.split(features["tokens"].astype(jnp.float32), 2, axis=1)
        sizes = sizes_from(self.config, len(frames), visual.shape[-1], self.text_width)
        weights = self.param("weights", lambda key: initial(sizes, key))
        given = frames, visual, embedded[-1], features["text"]
        frame, said, filters = sib_vad.of_clip(weights, *given)
        aux: dict[str, Any] = {"balance": sum((s.balance for s in filters), jnp.zeros(()))}
        for layer, stats in enumerate(filters):
            aux[f"usage/{layer}"], aux[f"dead/{layer}"] = stats.usage, stats.dead
            aux[f"router_entropy/{layer}"] = stats.router_entropy
        return Prediction(frame.transpose(1, 2, 0), said, None, None, None, aux)


def sizes_from(cfg: Any, frames: int, visual_width: int, text_width: int) -> sib_vad.Sizes:
    """Sizes by config.model and the widths of the inputs; the motion encoder is half as wide."""
    return sib_vad.Sizes(
        bottleneck=cfg.filter.bottleneck,
        width=cfg.width,
        motion_width=cfg.width // 2,
        visual_width=visual_width,
        text_width=text_width,
        patch=cfg.patch,
        frames=frames,
        experts=cfg.filter.experts,
        motion_layers=cfg.motion_layers,
        joint_layers=cfg.joint_layers,
        decoder_layers=cfg.decoder_layers,
    )


def fixed(config: Any) -> tuple[tuple[str, object, object], ...]:
    """(key, value found, value that the authors' model has) of settings that are no choice in
    it."""
    data, model = config.data, config.model
    return (
        ("data.channels", data.channels, 3),
        ("data.flow", data.flow, False),
        ("model.pace", model.pace, False),
        ("model.heads", model.heads, sib_vad.HEADS),
        ("model.filter.kind", model.filter.kind, "sffm"),
        ("model.filter.topk", model.filter.topk, sib_vad.TOPK),
        ("model.filter.scale", model.filter.scale, sib_vad.SCALE),
        ("model.filter.epsilon", model.filter.epsilon, sib_vad.EPSILON),
    )
