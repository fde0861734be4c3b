"""An own relation: one function, one declaration.

    python docs/examples/own_relation.py

"Overlap" is the sum of the smaller of two units' features, over the sum of the larger: how much of
what is there is there in both. The graph of a config is chosen by its name:
`c.model.relation.similarity = "overlap"`.
"""

import jax.numpy as jnp
import made_up

import gfvad
from configs import common


def overlap(x, mask):
    """x [N, D], mask bool [N] -> [N, N] in [0, 1]. Padded units are set to 0 afterwards."""
    x = jnp.abs(x)
    smaller = jnp.minimum(x[:, None], x).sum(-1)
    larger = jnp.maximum(x[:, None], x).sum(-1)
    return smaller / jnp.maximum(larger, 1e-6)


gfvad.register_relation("overlap", overlap)


def get_config(variant: str | None = None):
    """The defaults of the project with that relation; a file with this is a config for
    `gfvad train --config=FILE`."""
    c = common.get_config()
    c.data.modalities = tuple(made_up.WIDTHS)
    c.model.relation.similarity = "overlap"
    c.model.embed_dim = c.model.head.hidden = 8
    return c


if __name__ == "__main__":
    x = made_up.batch().features["video"]
    graph = gfvad.relation(x, "overlap")  # a batch of videos: [16, 12, 12]
    inside = graph[8:, made_up.EVENT, made_up.EVENT].mean()
    print(f"overlap    inside the events {inside:.2f}, of all pairs {graph.mean():.2f}")
    metrics, scores = made_up.train(get_config())
    print(f"trained    loss {metrics['loss']:.3f} with the graph of the config")
    try:
        gfvad.relation(x, "overlop")
    except gfvad.ConfigError as error:
        print(f"misspelt   {error}")
