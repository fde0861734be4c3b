"""The predictive model: from four frames (and their description) the next frame and the next
description, through sparse filters.

Source: MemoryOut (arXiv 2506.02535), sections TMFE and MJAD; the widths are free here. Beyond it
(ours): a trained patch encoder where no frozen one is given, optical flow beside frame differences,
the fused graph of token relations as attention bias, and the pace network.

All of it sees ONE clip and is vmapped over B. Shapes: F frames of a clip, h x w pixels, C channels,
L = rows x columns tokens of p x p pixels, D width, V text width, g x g' cells of score maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.fusion.operator import FusionOperator
from gfvad.graphs.relations import cosine
from gfvad.nn.blocks import Block, GatedCrossBlock, grid_positions, patchify, unpatchify
from gfvad.nn.filters import make_filter
from gfvad.tasks.prediction.pace import FLOW_PARTS, PaceNetwork

# the first predictions are near grey, or near the last frame
PIXEL_INIT = nn.initializers.variance_scaling(0.01, "fan_in", "normal")


class Prediction(NamedTuple):
    """What the model says of one clip. Entries of parts that are switched off are None."""

    frame: Any  # float32 [h, w, C] next frame, pixels in [-1, 1]
    text: Any  # float32 [V] embedding of the next description
    flow: Any  # float32 [g, g', 3] next flow in pixels a frame
    # float32 [h / 4, w / 4] logits of "played faster than normal", of the clip's last F frames
    pace: Any
    relation: Any  # float32 [L, 4] row statistics of the fused graph of token relations
    # 'balance' [] auxiliary loss, 'usage/LAYER' [E], 'router_entropy/LAYER' [], 'dead/LAYER' []
    aux: Mapping[str, Any]


def normalise_frames(frames: jax.Array) -> jax.Array:
    """uint8 0..255 -> float32 -1..1."""
    return frames.astype(jnp.float32) / 127.5 - 1.0


class PatchEncoder(nn.Module):
    """Frames [F, h, w, C] -> [L, about D]: patches of each frame, transformer layers within it,
    D / F channels a frame, put side by side."""

    config: Any  # config.model
    layers: int = 1

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        cfg, count = self.config, frames.shape[0]
        rows, columns = frames.shape[1] // cfg.patch, frames.shape[2] // cfg.patch
        width = max(cfg.width // count, 8)
        heads = max(1, min(cfg.heads, width // 16))
        width -= width % heads
        # [F, L, D / F]
        x = nn.Dense(width, name="embed")(jax.vmap(lambda f: patchify(f, cfg.patch))(frames))
        x = x + grid_positions(rows, columns, width)
        block = nn.vmap(Block, variable_axes={"params": None}, split_rngs={"params": False})
        for layer in range(self.layers):
            x = block(heads, cfg.mlp, name=f"block{layer}")(x)
        # [L, F * D / F]
        return x.transpose(1, 0, 2).reshape(rows * columns, -1)


class PredictiveModel(nn.Module):
    """The whole model. config: config.model; text_width V (0: no text); flow: whether optical
    flow is an input and a target."""

    config: Any
    text_width: int
    flow: bool

    def setup(self) -> None:
        if self.config.pace:
            self.pace_network = PaceNetwork(self.config.pace_width)
        self.predictor = Predictor(self.config, self.text_width, self.flow)

    def __call__(self, features: Mapping[str, jax.Array], train: bool = False) -> Prediction:
        """features: frames uint8 [F + 1, h, w, C], the last one being what is predicted; flow [F
        + 1, g, g', 3]; text [V] of the clip; tokens [F, L, D_v] of a frozen encoder."""
        frames = normalise_frames(features["frames"])
        prediction = self.predictor(features, frames[:-1], train)
        if not self.config.pace:
            return prediction
        return prediction._replace(
            pace=self.pace(frames, features["flow"][-1] if self.flow else None)
        )

    def pace(self, frames: jax.Array, flow: jax.Array | None) -> jax.Array:
        """Pace logits [h / 4, w / 4] of frames [F + 1, h, w, C] in [-1, 1] and the flow into the
        last of them [g, g', 3]."""
        return self.pace_network(frames, flow if self.config.pace_flow else None)


class Predictor(nn.Module):
    """TMFE, joint cross-attention and MJAD."""

    config: Any
    text_width: int
    flow: bool

    @nn.compact
    def __call__(
        self, features: Mapping[str, jax.Array], frames: jax.Array, train: bool
    ) -> Prediction:
        """frames [F, h, w, C] in [-1, 1] -> Prediction without pace."""
        cfg = self.config
        rows, columns = frames.shape[1] // cfg.patch, frames.shape[2] // cfg.patch
        last = patchify(frames[-1], cfg.patch)
        # [L, D] each
        visual, motion = self.encode_vision(features, frames), self.encode_motion(features, frames)
        text = None
        if self.text_width:
            text = nn.Dense(cfg.width, name="text_embed")(features["text"])[None]
        fused, bias = self.relate(visual, motion, text, train)
        context = [x for x in (text, motion) if x is not None]
        for layer in range(cfg.joint_layers if context else 0):
            visual = GatedCrossBlock(cfg.heads, cfg.mlp, name=f"joint{layer}")(
                visual, jnp.concatenate(context)
            )
        joint = visual if motion is None else jnp.concatenate([visual, motion], -1)
        x = nn.Dense(cfg.width, name="decoder_in")(joint) + grid_positions(rows, columns, cfg.width)
        # [1 + L, D]: the text token first
        x = x if text is None else jnp.concatenate([text, x])
        x, aux = self.decode(x, bias)
        tokens = x if text is None else x[1:]
        flow = None
        if self.flow:
            flow, aux = self.predict_flow(last, tokens, aux, rows, columns)
        said = self.predict_text(x[0]) if self.text_width else None
        frame = self.predict_frame(tokens, last, rows, columns)
        return Prediction(frame, said, flow, None, fused, aux)

    def encode_vision(self, features: Mapping[str, jax.Array], frames: jax.Array) -> jax.Array:
        """Tokens of the frames [L, D]: those of a frozen encoder projected, D / F each, or the
        patch encoder's."""
        cfg = self.config
        if "tokens" in features:
            # [F, L, D / F] -> [L, D]
            project = nn.Dense(cfg.width // len(frames), name="vision_project")
            x = project(features["tokens"].astype(jnp.float32))
            x = x.transpose(1, 0, 2).reshape(x.shape[1], -1)
        else:
            x = PatchEncoder(cfg, cfg.vision_layers, name="vision")(frames)
        return nn.Dense(cfg.width, name="vision_out")(x)

    def encode_motion(
        self, features: Mapping[str, jax.Array], frames: jax.Array
    ) -> jax.Array | None:
        """Tokens of frame differences, and with model.flow_input of the flow into each input
        frame: [L, D]."""
        cfg = self.config
        if not cfg.motion:
            return None
        x = PatchEncoder(cfg, cfg.motion_layers, name="motion")(frames[1:] - frames[:-1])
        if self.flow and cfg.flow_input:
            side = cfg.patch // cfg.cell
            flow = jax.vmap(lambda f: patchify(f, side))(features["flow"][:-1].astype(jnp.float32))
            flow = flow.transpose(1, 0, 2).reshape(x.shape[0], -1)
            x = jnp.concatenate([x, nn.Dense(cfg.width, name="flow_input")(flow)], -1)
        return nn.Dense(cfg.width, name="motion_out")(x)

    def relate(
        self, visual: jax.Array, motion: jax.Array | None, text: jax.Array | None, train: bool
    ) -> tuple[Any, Any]:
        """Relationship graphs of the tokens, by appearance, motion and closeness to the
        description, fused by the project's operator.

        Returns (row statistics of the fused graph [L, 4]: mean, spread, largest, mean of the eight
        largest without the diagonal; attention bias [H, S, S] or None; S = L or 1 + L with a text
        token, which has no relations).
        """
        cfg, every = self.config, jnp.ones(len(visual), bool)
        graphs = [cosine(x, every) for x in (visual, motion) if x is not None]
        if text is not None:
            # [L]: tokens that are alike towards the description are related
            both = jnp.concatenate([text, visual])
            towards = cosine(both, jnp.ones(len(both), bool))[0, 1:]
            graphs.append(towards[:, None] * towards)
        # [L, L]
        operator = FusionOperator(cfg.fusion, cfg.expansion, name="fusion")
        fused = operator(jnp.stack(graphs), every, train=train).mean(0)
        if not cfg.relation_bias:
            return row_statistics(fused), None
        strength = self.param("relation_strength", nn.initializers.zeros_init(), (cfg.heads,))
        bias = strength[:, None, None] * fused
        return row_statistics(fused), (
            bias if text is None else jnp.pad(bias, ((0, 0), (1, 0), (1, 0)))
        )

    def decode(self, x: jax.Array, bias: jax.Array | None) -> tuple[jax.Array, dict[str, Any]]:
        """(block, filter) pairs without a residual path around the filter: what it does not
        carry is gone. -> ([S, D], aux)."""
        cfg, aux, balance = self.config, {}, 0.0
        every = jnp.ones(len(x), bool)
        for layer in range(cfg.decoder_layers):
            x = Block(cfg.heads, cfg.mlp, name=f"decoder{layer}")(x, bias)
            x, stats = make_filter(cfg.filter, f"filter{layer}")(x, every)
            balance += stats.balance
            aux |= {
                f"usage/{layer}": stats.usage,
                f"router_entropy/{layer}": stats.router_entropy,
                f"dead/{layer}": stats.dead,
            }
        return x, aux | {"balance": balance}

    def predict_frame(
        self, tokens: jax.Array, last: jax.Array, rows: int, columns: int
    ) -> jax.Array:
        """Pixel head: [L, D] and the last frame's patches [L, p * p * C] -> [h, w, C].

        model.skip: 'patch' brings an embedding of those patches around the filters (the paper's),
        'frame' adds the last frame itself, so that only the change is predicted, 'none' neither.
        """
        cfg = self.config
        if cfg.skip == "patch":
            tokens = jnp.concatenate([tokens, nn.Dense(cfg.width, name="skip_embed")(last)], -1)
        pixels = nn.Dense(last.shape[-1], kernel_init=PIXEL_INIT, name="pixels")(tokens)
        x = unpatchify(pixels, rows, columns, cfg.patch)
        refined = nn.gelu(nn.Conv(cfg.pixel_width, (3, 3), name="pixel_conv0")(x))
        x = x + nn.Conv(x.shape[-1], (3, 3), name="pixel_conv1")(refined)
        return x + unpatchify(last, rows, columns, cfg.patch) if cfg.skip == "frame" else x

    def predict_text(self, token: jax.Array) -> jax.Array:
        """Text head: [D] -> [V]."""
        hidden = nn.gelu(nn.Dense(self.config.text_hidden, name="text_hidden")(token))
        return nn.Dense(self.text_width, name="text_out")(hidden)

    def predict_flow(
        self, last: jax.Array, tokens: jax.Array, aux: dict, rows: int, columns: int
    ) -> tuple[jax.Array, dict]:
        """Flow head: (flow [rows * p / cell, columns * p / cell, 3], aux).

        model.flow_from: 'frame' sees the last frame alone [L, p * p * C], through a block and a
        filter of its own, and so learns how what is seen here usually moves; 'joint' reads the
        decoder's tokens [L, D], which know the motion before and so predict fast things too (ours).
        """
        cfg = self.config
        if cfg.flow_from == "frame":
            x = nn.Dense(cfg.width, name="flow_embed")(last)
            x = x + grid_positions(rows, columns, cfg.width)
            x = Block(cfg.heads, cfg.mlp, name="flow_block")(x)
            tokens, stats = make_filter(cfg.filter, "flow_filter")(x, jnp.ones(len(x), bool))
            aux = aux | {"balance": aux["balance"] + stats.balance}
        side = cfg.patch // cfg.cell
        flow = nn.Dense(side * side * FLOW_PARTS, name="flow_out")(tokens)
        return unpatchify(flow, rows, columns, side), aux


def row_statistics(graph: jax.Array) -> jax.Array:
    """Mean, spread, largest and mean of the eight largest relations of each token to the others:
    [L, L] -> [L, 4]."""
    others = 1.0 - jnp.eye(len(graph))
    count = max(len(graph) - 1, 1)
    mean = (graph * others).sum(1) / count
    spread = jnp.sqrt((jnp.square(graph - mean[:, None]) * others).sum(1) / count + 1e-8)
    largest, _ = jax.lax.top_k(jnp.where(others > 0, graph, -jnp.inf), min(8, count))
    return jnp.stack([mean, spread, largest[:, 0], largest.mean(1)], -1)
