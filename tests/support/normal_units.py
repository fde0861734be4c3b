"""Made-up windows of normal units for the comparators of graph novelty, and what runs one."""

import jax
import numpy as np

from configs import shanghaitech_tracks
from gfvad.tasks.novelty import registry
from gfvad.tasks.novelty.comparing import Seen

WIDTHS = {"velocity": 2, "aspect": 1, "size": 1}
WINDOW = 4


def config_of(name):
    """A checked config of tracks with that comparator."""
    config = shanghaitech_tracks.get_config(name)
    config.model.window = WINDOW
    return config


def seen_of(seed, count=5, keys=False, dtype=np.float32):
    """Standardised windows; those of every second unit begin late."""
    rng = np.random.default_rng(seed)
    mask = np.ones((count, WINDOW), bool)
    mask[::2, : WINDOW // 2] = False
    features = {
        name: np.where(mask[..., None], rng.normal(size=(count, WINDOW, width)), 0).astype(dtype)
        for name, width in WIDTHS.items()
    }
    drawn = jax.random.split(jax.random.key(seed), count) if keys else None
    return Seen(features, mask, np.zeros(count, np.int32), drawn)


def made(name, seed=0):
    """(module, variables away from their start) of a comparator."""
    config = config_of(name)
    config.model.bank = 32
    module = registry.comparator_of(config).build(config, WIDTHS)
    variables = jax.jit(lambda: module.init(jax.random.key(seed), seen_of(0), False))()
    rng = np.random.default_rng(seed + 1)
    moved = lambda x: np.asarray(x + 0.05 * rng.normal(size=x.shape), np.float32)
    if fill := registry.comparator_of(config).fill:
        units = {n: rng.normal(size=(64, width)).astype(np.float32) for n, width in WIDTHS.items()}
        variables = {**variables, "bank": fill(config, units, np.arange(64) // 8, rng)}
    return module, {**variables, "params": jax.tree.map(moved, variables.get("params", {}))}


def said(module, variables, seen):
    """What a comparator says in training, compiled."""
    return jax.jit(lambda v, s: module.apply(v, s, True))(variables, seen)


def dense(x, layer):
    """A Dense layer in float64."""
    return x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


def network(x, layers):
    """Dense layers with ReLU between, as Encoder and Decoder have them, in float64."""
    for name in ("hidden_0", "hidden_1"):
        x = np.maximum(dense(x, layers[name]), 0)
    return dense(x, layers["last"])


def error_of(found, x, mask):
    """[N] mean squared error over what there is of a window, unit by unit."""
    pairs = zip(found, x, mask, strict=True)
    return np.array([np.mean((f[m] - y[m]) ** 2) for f, y, m in pairs])


def flat_of(seen):
    """float64 [N, W D] of all sets."""
    joined = np.concatenate(
        [np.asarray(x, np.float64) for _, x in sorted(seen.features.items())], -1
    )
    return joined.reshape(len(joined), -1)
