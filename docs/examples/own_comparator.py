"""An own comparator: a whole other model in the place of graph fusion, one class, one declaration,
and the settings that take it.

    python docs/examples/own_comparator.py

It is trained by the same losses, loop and data, and evaluated by the same protocols, so that only
the model differs. In a config: `c.model.name = "product"`. Against ours and others on real data:

    gfvad compare --config=ucf --models=ur_dmu,docs/examples/own_comparator.py --workdir=runs/own
"""

import flax.linen as nn
import jax.numpy as jnp

import gfvad
from gfvad.base.types import Output


class Product(nn.Module):
    """Fusion of features by their product. One video: features {m: [N, D_m]}, mask bool [N]."""

    width: int

    @nn.compact
    def __call__(self, features, mask, *, train: bool) -> Output:
        fused = 1.0
        for name, x in features.items():
            fused = fused * nn.tanh(nn.Dense(self.width, name=name)(x))
        logits = nn.Dense(1, name="logit")(fused)[:, 0]  # [N]
        no_graph = jnp.zeros((0, len(mask), len(mask)))
        small = jnp.where(mask, jnp.square(logits), 0.0).mean()
        # what stands in aux as loss/NAME is learnt by too
        return Output(jnp.where(mask, logits, 0.0), no_graph, {"loss/small": 0.01 * small})


gfvad.register_model("product", lambda config, modalities: Product(config.model.embed_dim))


def get_sweep(config):
    """For `--models=` and `gfvad ablate --sweep=`."""
    return {"settings": {"product": {"model.name": "product", "optim.learning_rate": 0.002}}}


if __name__ == "__main__":
    import made_up

    from configs import common

    c = common.get_config()
    c.data.modalities = tuple(made_up.WIDTHS)
    c.model.name, c.model.embed_dim, c.optim.learning_rate = "product", 8, 0.02
    metrics, scores = made_up.train(c)
    for name in ("loss", "loss/bce", "loss/small"):
        print(f"{name:<10} {metrics[name]:.3f}")
    normal, others = scores[:8].max(1).mean(), scores[8:].max(1).mean()
    print(f"highest    scores of normal videos {normal:.2f}, of others {others:.2f}")
