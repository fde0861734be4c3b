"""An own form of fusion: one function, its starting values, one declaration.

    python docs/examples/own_fusion_form.py

A geometric mean: exp(sum_m w_m log R_m), on graphs in (0, 1]. Units are alike where they are alike
in every modality, weighted by w. A config takes it by `c.model.fusion.form = "geometric"`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import made_up
import numpy as np

import gfvad


def geometric(weights, graphs):
    """Coefficients of one channel [M], graphs expanded to [M, order + 1, N, N] -> [N, N]."""
    first = jnp.maximum(graphs[:, 1], 1e-6)  # R^(1), the graph itself
    return jnp.exp(jnp.einsum("m,mij->ij", weights, jnp.log(first)))


def start(graphs: int, order: int) -> np.ndarray:
    """The starting weights [M]: all modalities count alike."""
    return np.full(graphs, 1 / graphs)


gfvad.register_fusion("geometric", geometric, start)


class Fused(nn.Module):
    """[B, N, D] twice -> [B, 1, N, N]."""

    @nn.compact
    def __call__(self, video, sound):
        graphs = [gfvad.relation(x, "rbf") for x in (video, sound)]
        return gfvad.FusionOperator(form="geometric", order=1, name="fusion")(graphs)


x = made_up.batch().features
fused, params = jax.jit(Fused().init_with_output)(jax.random.key(0), x["video"], x["sound"])
inside = fused[8:, 0, made_up.EVENT, made_up.EVENT].mean()
print(f"fused      inside the events {inside:.2f}, of all pairs {fused.mean():.2f}")


def mean_outside(params):
    """How alike units are that have nothing to do with each other: of normal videos."""
    return Fused().apply(params, x["video"], x["sound"])[:8].mean()


gradient = jax.jit(jax.grad(mean_outside))(params)
for name, tree in (("weights", params), ("gradient", gradient)):
    print(f"{name:<10} {', '.join(f'{w:.3f}' for w in tree['params']['fusion']['own'][0])}")
