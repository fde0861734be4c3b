"""MemAE: memory-augmented autoencoder (Gong et al., ICCV 2019), written from its description.

    window of standardised features [W D] -> encoder 256 - 128, ReLU -> z [64]
    w = softmax of the cosines of z with M = 2,000 learnt items; hard shrinkage at 1 / M, the rest
    renormalised to sum 1; z' = w items -> decoder 128 - 256 -> [W D]

Losses (weights in brackets): memae_error [1] mean squared error of the window;
memae_entropy [0.0002] of w. Score: the squared error. The paper's are M, the shrinkage (it names
1 / M to 3 / M), both losses and their weights; widths for vectors in place of pictures are ours.
"""

from __future__ import annotations

import flax.linen as nn
import jax

from gfvad.nn.filter import entropy
from gfvad.nn.memory import shrunk, unit_length
from gfvad.tasks.novelty.comparators.parts import Decoder, Encoder, flat, squared_error
from gfvad.tasks.novelty.comparing import Judged, Seen

ITEMS, CODE = 2000, 64
WEIGHTS = {"memae_entropy": 2e-4}


class MemAE(nn.Module):
    """Collection: 'params'."""

    @nn.compact
    def __call__(self, units: Seen, train: bool) -> Judged:
        """One term, "error"."""
        x = flat(units.joined)
        code = Encoder(CODE, name="encoder")(x)
        items = self.param("items", nn.initializers.normal(CODE**-0.5), (ITEMS, CODE))
        fit = jax.nn.softmax(unit_length(code) @ unit_length(items).T, -1)
        weights = shrunk(fit, 1.0 / ITEMS)
        found = Decoder(x.shape[-1], name="decoder")(weights @ items)
        error = squared_error(found.reshape(units.joined.shape), units.joined, units.mask)
        return Judged({"error": error}, {"memae_error": error, "memae_entropy": entropy(weights)})
