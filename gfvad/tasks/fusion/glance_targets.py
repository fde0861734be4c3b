"""Where the events are that glances saw: [N] weights of a video's units.

After point supervision of events (SF-Net, Ma et al. 2020) and GlanceVAD (Zhang et al. 2024), which
splats a Gaussian around each glance and mines units beside it by their scores; here the scores say
which units within the Gaussian the event is in, as in expectation maximisation (ours: a glance may
be some units off). One video at a time; jax.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

LEAST_WIDTH = 1e-3  # units; a narrower Gaussian is the glance's own unit
LEAST_SCORE = 1e-6


def placed(
    glances: jax.Array, scores: jax.Array, mask: jax.Array, width: jax.Array | float
) -> jax.Array:
    """How much of the glances' events lies in each unit: [N], summing to the number of glances.

    sum over glances g of G(i - g) s_i / sum_k G(k - g) s_k, G a Gaussian of deviation `width`.
    Args: glances [N], above 0 at units that hold one; scores [N] in [0, 1]; mask bool [N]; width in
    units, 0: the glance's own unit.
    """
    place = jnp.arange(mask.shape[0])
    at = mask & (glances > 0)
    # [N, N]: glance, unit
    gap = (place[:, None] - place[None, :]) / jnp.maximum(width, LEAST_WIDTH)
    share = jnp.exp(-0.5 * jnp.square(gap)) * jnp.maximum(scores, LEAST_SCORE)
    share = jnp.where(at[:, None] & mask[None, :], share, 0.0)
    total = share.sum(1, keepdims=True)
    return (share / jnp.where(total > 0, total, 1.0)).sum(0)
