"""What the tests of the fusion operator share: operators, graphs, parameters, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import FrozenConfigDict

from configs.common import get_config
from gfvad.fusion.operator import FusionOperator

N = 6
MASK = np.array([1, 1, 0, 1, 1, 1], bool)


def operator(
    order=3, kind="hadamard", zeroth="ones", restart=0.15, dtype=jnp.float32, **fusion
) -> FusionOperator:
    model = get_config().model
    model.fusion.update(fusion)
    model.expansion.update(order=order, kind=kind, zeroth=zeroth, restart=restart)
    return FusionOperator(
        FrozenConfigDict(model.fusion), FrozenConfigDict(model.expansion), param_dtype=dtype
    )


def cosines(count, seed=0, n=N):
    """Cosine graphs [M, N, N] of random features in float64, positive semi-definite."""
    x = np.random.default_rng(seed).normal(size=(count, n, 4))
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    return x @ x.transpose(0, 2, 1)


def random_params(module, graphs, scale=0.3, seed=0):
    """Parameters of the right shapes, scale * normal: no formula may depend on where they start."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), graphs, MASK, train=False))[
        "params"
    ]
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: (scale * rng.normal(size=p.shape)).astype(p.dtype), shapes)


def apply(module, params, graphs, mask=MASK):
    return np.asarray(
        jax.jit(lambda p, g, m: module.apply({"params": p}, g, m, train=False))(
            params, graphs, mask
        )
    )


def pulled(f):
    """f(*arrays) -> its value and the gradients of sum(weight * f), compiled."""

    def both(weight, *arrays):
        value, pull = jax.vjp(f, *arrays)
        return value, pull(weight)

    return jax.jit(both)
