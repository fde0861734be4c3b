"""ITAE + NF: an implicit two-path autoencoder with normalising flows (Cho et al., Pattern
Recognition 2022), written from its description.

    slow path   every fourth of the window, the unit itself among them, of the sets of appearance
                -> encoder 256 - 128 -> a [32]
    fast path   the whole window, of the sets of motion -> encoder 256 - 128 -> m [32]
    [a | m] -> decoder 128 - 256 -> the window of all sets
    one flow of a, one of m (flow.py): minus log likelihood a number

Which sets are motion: those named velocity, speed or motion, and what is told relative to others
(relative); the rest is appearance. Where all are of one kind both paths see all of them, the fast
one as differences from one unit of the window to the next.
Losses (weights in brackets): itae_error [1] mean squared error of the window; itae_slow, itae_fast
[1] surprise of the latents. The paper trains the flows after the autoencoder; here beside it, and
no gradient of theirs reaches it, so that flows learn latents that settle as the learning rate
falls; they see them with noise of standard deviation 0.1 where they learn, since latents of few
features lie on surfaces that no density has. Scores: "slow" and "fast", the surprises, and "error".
The paper's are the two paths at two rates, one decoder, one flow a latent and the sum of surprises;
widths for vectors in place of pictures and the noise are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.tasks.novelty.comparators.flow import Flow
from gfvad.tasks.novelty.comparators.parts import Decoder, Encoder, flat, squared_error
from gfvad.tasks.novelty.comparing import Judged, Seen

MOTION = ("velocity", "speed", "motion", "relative")
CODE, SLOWER, NOISE = 32, 4, 0.1


def paths_of(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(sets of the slow path, sets of the fast path); where all are of one kind, all twice."""
    fast = tuple(name for name in names if name in MOTION)
    slow = tuple(name for name in names if name not in MOTION)
    return (slow, fast) if slow and fast else (tuple(names), tuple(names))


def differences(x: jax.Array, mask: jax.Array) -> jax.Array:
    """[N, W, D] from one unit of a window to the next; 0 at the first, and where either is not
    there."""
    steps = jnp.where((mask[:, 1:] & mask[:, :-1])[..., None], x[:, 1:] - x[:, :-1], 0.0)
    return jnp.concatenate([jnp.zeros_like(x[:, :1]), steps], 1)


class ITAE(nn.Module):
    """Collection: 'params'."""

    @nn.compact
    def __call__(self, units: Seen, train: bool) -> Judged:
        """Terms "error", "fast" and "slow"."""
        slow_sets, fast_sets = paths_of(sorted(units.features))
        side_by_side = lambda names: jnp.concatenate([units.features[n] for n in names], -1)
        window = units.mask.shape[1]
        slow = side_by_side(slow_sets)[:, window // 2 % SLOWER :: SLOWER]
        fast = side_by_side(fast_sets)
        if slow_sets == fast_sets and window > 1:
            fast = differences(fast, units.mask)
        slow_code = Encoder(CODE, name="slow")(flat(slow))
        fast_code = Encoder(CODE, name="fast")(flat(fast))
        both = jnp.concatenate([slow_code, fast_code], -1)
        shape = units.joined.shape
        found = Decoder(shape[1] * shape[2], name="decoder")(both).reshape(shape)
        error = squared_error(found, units.joined, units.mask)
        fixed = jax.lax.stop_gradient(both)
        if units.keys is not None:
            noise = jax.vmap(lambda key: jax.random.normal(key, fixed.shape[1:]))(units.keys)
            fixed = fixed + NOISE * noise
        slow_code, fast_code = jnp.split(fixed, 2, -1)
        slow_surprise = Flow(CODE, name="slow_flow").surprise(slow_code)
        fast_surprise = Flow(CODE, name="fast_flow").surprise(fast_code)
        scores = {"error": error, "fast": fast_surprise, "slow": slow_surprise}
        losses = {"itae_error": error, "itae_fast": fast_surprise, "itae_slow": slow_surprise}
        return Judged(scores, losses)
