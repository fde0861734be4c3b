"""Graph fusion inside a Flax model of your own: jit, vmap and grad as with any other layer.

    python docs/examples/fusing_in_your_model.py

Two arrays of features [B, N, D] become graphs of which units are alike, one learnt polynomial fuses
them, and row means of the fused graphs are scored.
"""

import flax.linen as nn
import jax
import made_up
import optax

import gfvad


class Scorer(nn.Module):
    """Logits [B, N] of features [B, N, D_video] and [B, N, D_sound]."""

    @nn.compact
    def __call__(self, video: jax.Array, sound: jax.Array) -> jax.Array:
        graphs = [gfvad.relation(video), gfvad.relation(sound)]  # each [B, N, N]
        fused = gfvad.FusionOperator(order=3, channels=4)(graphs)  # [B, 4, N, N]
        return nn.Dense(1)(fused.mean(-1).swapaxes(-1, -2))[..., 0]


batch = made_up.batch()
video, sound = batch.features["video"], batch.features["sound"]
model = Scorer()
params = jax.jit(model.init)(jax.random.key(0), video, sound)
optimiser = optax.adam(0.02)


def loss(params):
    """Cross entropy of each video's highest score with its label."""
    peaks = model.apply(params, video, sound).max(1)
    return optax.sigmoid_binary_cross_entropy(peaks, batch.label).mean()


@jax.jit
def step(params, state):
    value, gradient = jax.value_and_grad(loss)(params)
    updates, state = optimiser.update(gradient, state)
    return optax.apply_updates(params, updates), state, value


state = optimiser.init(params)
for i in range(61):
    params, state, value = step(params, state)
    if i % 20 == 0:
        print(f"step {i:2d}   loss {value:.3f}")
# one video at a time gives what the batch gave
scores = nn.sigmoid(jax.jit(jax.vmap(model.apply, (None, 0, 0)))(params, video, sound))
events = scores[8:, made_up.EVENT].mean()
print(f"scores     of the events {events:.2f}, of all units {scores.mean():.2f}")
