"""An own comparator of normal video: another model of the same units as graph novelty.

    python docs/examples/own_normal_model.py

It is a config, too: gfvad train --config=docs/examples/own_normal_model.py --config.data.root=DATA.
The loop, what is held out, the score rule and the floors are those of graph novelty.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gfvad.tasks.novelty.comparing import Judged, Seen
from gfvad.tasks.novelty.registry import register_model


class Narrow(nn.Module):
    """What a linear bottleneck loses of a unit. units: features {set: [N, W, D]}, mask [N, W]."""

    @nn.compact
    def __call__(self, units: Seen, train: bool) -> Judged:
        x = jnp.concatenate(list(units.itself.values()), -1)  # [N, D], without the window
        lost = jnp.square(nn.Dense(x.shape[-1])(nn.Dense(1)(x)) - x).mean(-1)
        return Judged({"lost": lost}, {"narrow_lost": lost})  # scores by term, losses by name


register_model("narrow", lambda config, widths: Narrow(), losses={"narrow_lost": 1.0})


def get_config():
    from configs import avenue_tracks

    c = avenue_tracks.get_config()
    c.model.name, c.train.steps, c.optim.learning_rate = "narrow", 500, 0.01
    return c


if __name__ == "__main__":
    rng = np.random.default_rng(0)

    def seen(together):  # velocity and size of 64 units, a window of one each
        velocity = rng.normal(size=(64, 1, 1)).astype(np.float32)
        features = {"size": together * velocity, "velocity": velocity}
        return Seen(features, np.ones((64, 1), bool), np.zeros(64, np.int32))

    normal, others, model = seen(1), seen(-1), Narrow()
    params, adam = model.init(jax.random.key(0), normal, True), optax.adam(0.05)
    loss = jax.jit(jax.grad(lambda p: model.apply(p, normal, True).losses["narrow_lost"].mean()))
    state = adam.init(params)
    for _ in range(100):
        change, state = adam.update(loss(params), state)
        params = optax.apply_updates(params, change)
    for name, units in (("normal units", normal), ("others", others)):
        print(f"score of {name:<12}  {model.apply(params, units, False).scores['lost'].mean():.2f}")
