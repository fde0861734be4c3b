"""An own loss: one function, one declaration.

    python docs/examples/own_loss.py

"Calm" pulls the scores of all units of normal videos down. This file is a config too: with features
of your own in `c.data`, `gfvad train --config=docs/examples/own_loss.py` trains with it.
"""

import flax.linen as nn
import jax.numpy as jnp
import made_up

import gfvad
from configs import common


def calm(given):
    """Sum and count of the scores of real units of normal videos. Of a batch: output.logits
    [B, N], mask bool [B, N] (real units), normal and abnormal bool [B]; see LossInputs in
    gfvad/tasks/fusion/losses.py. Sums are added over devices, then divided once."""
    units = given.mask & given.normal[:, None]
    return jnp.where(units, nn.sigmoid(given.output.logits), 0.0).sum(), units.sum()


gfvad.register_loss("calm", calm, weight=0.1)


def get_config(variant: str | None = None):
    """The defaults of the project, at a small size."""
    c = common.get_config()
    c.data.modalities = tuple(made_up.WIDTHS)
    c.model.embed_dim = c.model.head.hidden = 8
    c.optim.learning_rate = 0.02
    return c


if __name__ == "__main__":
    metrics, scores = made_up.train(get_config())
    for name in ("loss", "loss/bce", "loss/calm"):
        print(f"{name:<10} {metrics[name]:.3f}")
    normal, others = scores[:8].max(1).mean(), scores[8:].max(1).mean()
    print(f"highest    scores of normal videos {normal:.2f}, of others {others:.2f}")
