"""Small models and batches for tests of comparators."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from gfvad.base.types import Batch
from gfvad.tasks.fusion import registry
from gfvad.train.state import TrainState

UNITS = 18
# by video: 2 normal, 3 abnormal and one that counts nowhere
LENGTHS, LABEL = [18, 9, 18, 17, 1, 12], [0, 1, 1, 0, 1, -1]
MEAN = 0.1  # of every feature in training


def model_of(config, dims, seed=1, moved=0.05):
    """(model, variables with weights away from their starts by a normal `moved`)."""
    stats = {m: {"mean": np.full(d, MEAN), "std": np.ones(d)} for m, d in dims.items()}
    model = registry.build_model(config, dims, stats)
    start = jax.jit(partial(model.init, train=False))
    features = {m: jnp.ones((UNITS, d)) for m, d in dims.items()}
    variables = start({"params": jax.random.key(0)}, features, jnp.ones(UNITS, bool))
    rng = np.random.default_rng(seed)
    move = lambda x: np.asarray(x + moved * rng.normal(size=x.shape), np.float32)
    return model, {**variables, "params": jax.tree.map(move, variables["params"])}


def features_of(seed, dims, units=UNITS):
    """Features {m: [N, D]} of a video; some units are alike."""
    rng = np.random.default_rng(seed)
    base = {m: rng.normal(size=(3, d)) for m, d in dims.items()}
    which = rng.integers(0, 3, units)
    alike = lambda b: np.float32(b[which] + 0.3 * rng.normal(size=(units, b.shape[1])))
    return {m: alike(b) for m, b in base.items()}


def padded(features, units=UNITS):
    """The same video with rows of anything behind it."""
    rng = np.random.default_rng(3)
    more = lambda x: 9 * rng.normal(size=(units - len(x), x.shape[1]))
    return {m: np.float32(np.r_[x, more(x)]) for m, x in features.items()}


def batch_of(dims, lengths=LENGTHS, label=LABEL, units=UNITS):
    """(batch of videos of these lengths, the features of each by itself)."""
    videos = [features_of(10 + i, dims, n) for i, n in enumerate(lengths)]
    rows = [padded(video, units) for video in videos]
    stacked = {m: np.stack([row[m] for row in rows]) for m in dims}
    mask = np.arange(units) < np.array(lengths)[:, None]
    count = len(lengths)
    none, valid = np.zeros(count, np.int32), np.ones(count, bool)
    batch = Batch(stacked, mask, np.float32(label), valid, none, none, np.arange(count))
    return jax.tree.map(jnp.asarray, batch), videos


def state_of(variables, step=0):
    """A state of training with these variables."""
    variables = dict(variables)
    key = jax.random.key_data(jax.random.key(5))
    params = variables.pop("params")
    return TrainState(np.int32(step), params, variables, (), key)


def plain(params):
    """Parameters in float64."""
    return jax.tree.map(lambda x: np.asarray(x, np.float64), params)


def dense(x, weights):
    return x @ weights["kernel"] + weights.get("bias", 0.0)


def convolution(x, weights, before, after):
    """Over time, with zeros on either side: [N, D] -> [N, F]."""
    kernel, n = weights["kernel"], len(x)
    rows = np.pad(x, ((before, after), (0, 0)))
    taps = [rows[i : i + n] @ kernel[i] for i in range(len(kernel))]
    return sum(taps) + weights.get("bias", 0.0)


def layer_norm(x, weights, epsilon=1e-6):
    centred = x - x.mean(1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + epsilon)
    return scaled * weights["scale"] + weights["bias"]


def entropy(share, target):
    return -(target * np.log(share) + (1 - target) * np.log(1 - share))


def highest(values, number):
    """Mean of the highest."""
    return np.sort(values)[::-1][:number].mean()
