"""The network that tells the normal pace of a clip from a faster one."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

FLOW_PARTS = 3  # u, v, magnitude
PACE_STRIDE = 4  # pixels a cell of the pace network's map is wide


class PaceNetwork(nn.Module):
    """Frames [F, h, w, C] -> logits [h / 4, w / 4]: is what moves here faster than the normal pace?
    Local: it sees about 30 pixels around.

    flow [g, g', 3]: that of the last frame, a further input where given.
    """

    width: int

    @nn.compact
    def __call__(self, frames: jax.Array, flow: jax.Array | None = None) -> jax.Array:
        grey = frames.mean(-1).transpose(1, 2, 0)
        # [h, w, F]: differences, and where they happen
        x = jnp.concatenate([2.5 * (grey[..., 1:] - grey[..., :-1]), 0.5 * grey[..., -1:]], -1)
        x = nn.relu(nn.Conv(self.width // 2, (5, 5), (2, 2), name="conv0")(x))
        x = nn.relu(nn.Conv(self.width, (3, 3), (2, 2), name="conv1")(x))
        if flow is not None:
            resized = jax.image.resize(flow, (*x.shape[:2], FLOW_PARTS), "linear")
            x = jnp.concatenate([x, resized], -1)
        for i in (2, 3):
            x = nn.relu(nn.Conv(self.width, (3, 3), name=f"conv{i}")(x))
        return nn.Conv(1, (1, 1), name="out")(x)[..., 0]
