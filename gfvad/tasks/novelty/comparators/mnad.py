"""MNAD: memory-guided normality (Park, Noh and Ham, CVPR 2020), written from its description.

    window of standardised features [W D] -> encoder 256 - 128 -> query q [64] of length 1
    read = softmax(q P^T) P over M = 10 prototypes of length 1 -> [q | read] times 8 -> decoder

Prototypes are no parameters: after each step those that are somebody's nearest become
normalise(p + sum over their queries of v' q), v' the softmax of p's similarities over all queries,
divided by its largest (gfvad/nn/memory.py). Losses (weights in brackets): mnad_error [1] mean
squared error of the window; mnad_compact [0.1] |q - p_1|; mnad_separate [0.1]
max(0, |q - p_1| - |q - p_2| + 1), p_1 and p_2 the two nearest prototypes.
Scores: "error" 10 log10 of the squared error, which counts 0.7, and "distance" |q - p_1|, which
counts 0.3: the paper's reconstruction task. It divides both by their range in each test video; here
both are standardised by held-out normal units.

The paper goes on updating prototypes while it tests, from frames whose score is below a threshold,
so that a score depends on what was scored before. Here they stay as training left them. The paper's
are M, losses, weights and shares; widths for vectors in place of pictures, and the factor 8 (so
that what is decoded has mean square 1), are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.nn.memory import LENGTH_EPSILON, MARGIN, unit_length, updated_items
from gfvad.tasks.novelty.comparators.parts import Decoder, Encoder, flat, squared_error
from gfvad.tasks.novelty.comparing import Judged, Seen

ITEMS, CODE = 10, 64
WEIGHTS = {"mnad_compact": 0.1, "mnad_separate": 0.1}
COUNTS = {"error": 0.7, "distance": 0.3}
MEMORY = "memory"
SMALLEST = 1e-8  # added to a squared error, whose logarithm is taken


class MNAD(nn.Module):
    """Collections: 'params', 'memory' (prototypes [10, 64])."""

    @nn.compact
    def __call__(self, units: Seen, train: bool) -> Judged:
        """Terms "error" and "distance"."""
        x = flat(units.joined)
        query = unit_length(Encoder(CODE, name="encoder")(x))
        start = lambda: unit_length(jax.random.normal(self.make_rng("params"), (ITEMS, CODE)))
        items = jax.lax.stop_gradient(self.variable(MEMORY, "items", start).value)
        fit = query @ items.T
        both = jnp.concatenate([query, jax.nn.softmax(fit, -1) @ items], -1) * CODE**0.5
        found = Decoder(x.shape[-1], name="decoder")(both)
        error = squared_error(found.reshape(units.joined.shape), units.joined, units.mask)
        _, index = jax.lax.top_k(fit, 2)
        apart = jnp.square(query[:, None] - items[index]).sum(-1)
        first, second = jnp.sqrt(apart + LENGTH_EPSILON).T
        losses = {
            "mnad_error": error,
            "mnad_compact": first,
            "mnad_separate": jax.nn.relu(first - second + MARGIN),
        }
        scores = {"error": 10 * jnp.log10(error + SMALLEST), "distance": first}
        return Judged(scores, losses, {"query": query})

    @staticmethod
    def updated(
        constants: Mapping[str, Any], kept: Mapping[str, jax.Array], valid: jax.Array
    ) -> dict[str, Any]:
        """The prototypes after a step. Args: constants of this module by collection; kept, valid:
        of the whole batch."""
        items = constants[MEMORY]["items"]
        return {MEMORY: {"items": updated_items(items, kept["query"], valid)}}
