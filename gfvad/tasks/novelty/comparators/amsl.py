"""AMSL: adaptive memory network with self-supervised learning (Zhang et al., TKDE 2022), written
from its description. It is of sensor series; a series here is a unit's window along its track.

    R = 6 transformations of the window: as it is, noise, negated, backwards, its quarters in
    another order, twice as large (a window of one unit: its features backwards and in another
    order)
    each -> encoder 256 - 128 -> z [64] -> which transformation it was, R classes
    global memory (100 items for all) and local memory (100 items of each transformation): softmax
    of cosines, hard shrinkage at 1 / 100 (as in MemAE) -> g, l
    adaptive fusion: (a, b) = softmax of a dense layer of [z | g | l]; a g + b l -> decoder

Losses (weights in brackets), means over the transformations: amsl_error [1] mean squared error of
the transformed window; amsl_class [1] cross entropy of the classes; amsl_entropy [0.0002] of the
addressing of both memories. Score: "error", the mean over all transformations.
The paper's are the parts and the losses; sizes, the strength of noise and scaling, and how the two
shares of the fusion are made are ours. Noise is drawn anew in training, and is always the same
where it scores.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gfvad.nn.filter import entropy
from gfvad.nn.memory import shrunk, unit_length
from gfvad.tasks.novelty.comparators.parts import Decoder, Encoder, flat, squared_error
from gfvad.tasks.novelty.comparing import Judged, Seen

WAYS, ITEMS, CODE = 6, 100, 64
NOISE, SCALE, PIECES = 0.5, 2.0, (2, 0, 3, 1)
WEIGHTS = {"amsl_entropy": 2e-4}


def orders_of(length: int) -> tuple[np.ndarray, np.ndarray]:
    """(backwards, quarters in another order) of so many places."""
    pieces = np.array_split(np.arange(length), len(PIECES))
    return np.arange(length)[::-1], np.concatenate([pieces[i] for i in PIECES])


def transformed(
    x: jax.Array, mask: jax.Array, keys: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """(x [R, N, W, D], mask [R, N, W]) of windows [N, W, D]; keys: random ones [N], or None."""
    axis = 1 if x.shape[1] > 1 else 2
    draw = lambda key: jax.random.normal(key, x.shape[1:])
    noise = draw(jax.random.key(0))[None] if keys is None else jax.vmap(draw)(keys)
    back, pieces = orders_of(x.shape[axis])
    noisy = x + NOISE * jnp.where(mask[..., None], noise, 0.0)
    turned = [jnp.take(x, order, axis=axis) for order in (back, pieces)]
    masks = [jnp.take(mask, o, axis=1) if axis == 1 else mask for o in (back, pieces)]
    ways = [x, noisy, -x, *turned, SCALE * x]
    return jnp.stack(ways), jnp.stack([mask, mask, mask, *masks, mask])


class AMSL(nn.Module):
    """Collection: 'params'."""

    @nn.compact
    def __call__(self, units: Seen, train: bool) -> Judged:
        """One term, "error"."""
        ways, masks = transformed(units.joined, units.mask, units.keys)
        x = jax.vmap(flat)(ways)  # [R, N, W D]
        code = Encoder(CODE, name="encoder")(x)
        classes = nn.Dense(WAYS, name="classes")(code)
        told = optax.softmax_cross_entropy_with_integer_labels(classes, jnp.arange(WAYS)[:, None])
        start = nn.initializers.normal(CODE**-0.5)
        whole = self.param("global", start, (ITEMS, CODE))
        own = self.param("local", start, (WAYS, ITEMS, CODE))
        unit = unit_length(code)
        to_whole = shrunk(jax.nn.softmax(unit @ unit_length(whole).T, -1), 1 / ITEMS)
        fit = jnp.einsum("rnc,rmc->rnm", unit, unit_length(own))
        to_own = shrunk(jax.nn.softmax(fit, -1), 1 / ITEMS)
        from_whole, from_own = to_whole @ whole, jnp.einsum("rnm,rmc->rnc", to_own, own)
        beside = jnp.concatenate([code, from_whole, from_own], -1)
        share = jax.nn.softmax(nn.Dense(2, name="fusion")(beside), -1)
        fused = share[..., :1] * from_whole + share[..., 1:] * from_own
        found = Decoder(x.shape[-1], name="decoder")(fused).reshape(ways.shape)
        error = jax.vmap(squared_error)(found, ways, masks).mean(0)
        addressing = (entropy(to_whole) + entropy(to_own)).mean(0)
        losses = {"amsl_error": error, "amsl_class": told.mean(0), "amsl_entropy": addressing}
        return Judged({"error": error}, losses)
