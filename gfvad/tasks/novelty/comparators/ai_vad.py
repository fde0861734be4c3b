"""AI-VAD: distances of attributes (Reiss and Hoshen, 2022), written from its description.

Nothing is trained. An attribute is a feature set. Of motion (velocity, speed, motion) it is the
density that counts: minus the log likelihood under a mixture of 5 Gaussians. Of any other
attribute (pose or shape, deep features) it is the distance to the nearest unit of a bank of
config.model.bank training units, drawn by the seed. Each is scaled so that training units, compared
with other videos than their own, reach from 0 to 1; the score is the sum. Only the unit itself is
looked at, not its window.
The paper's are which attributes take which measure, the nearest neighbour, scaling by training
values, and the sum; it smooths a frame's score over time, where here messages pass along tracks,
as in graph novelty. The bank instead of all training units is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gfvad.graphs.bipartite import squared_distances
from gfvad.tasks.novelty.comparators.itae_nf import MOTION
from gfvad.tasks.novelty.comparing import Judged, Seen
from gfvad.tasks.novelty.model import BANK

MIXED, ROUNDS, RIDGE = 5, 50, 1e-3
TRIED = 4096  # training units that distances are scaled by
AT_ONCE = 256
SMALLEST = 1e-12  # added to a squared distance: its root keeps a finite gradient


class AttributeDistances(nn.Module):
    """Collection: 'bank'. Fields: widths: (feature set, its features D); bank: units K."""

    widths: tuple[tuple[str, int], ...]
    bank: int

    @nn.compact
    def __call__(self, units: Seen, train: bool) -> Judged:
        """A term a feature set."""
        constant = lambda name, start, *shape: self.variable(BANK, name, start, shape).value
        scores = {}
        for name, width in self.widths:
            x, low = units.itself[name], constant(f"low_{name}", jnp.zeros)
            high = constant(f"high_{name}", jnp.ones)
            if name in MOTION:
                logs = constant(f"logs_{name}", jnp.zeros, MIXED)
                means = constant(f"means_{name}", jnp.zeros, MIXED, width)
                whiten = constant(f"whiten_{name}", jnp.zeros, MIXED, width, width)
                found = -log_density(x, logs, means, whiten)
            else:
                found = nearest_of(x, constant(f"units_{name}", jnp.zeros, self.bank, width))
            scores[name] = (found - low) / (high - low)
        return Judged(scores)


def nearest_of(x: jax.Array, known: jax.Array, apart: jax.Array | float = 0.0) -> jax.Array:
    """[N] distance of [N, D] to the nearest of [K, D]; apart: added to squared distances."""
    return jnp.sqrt((squared_distances(x, known) + apart).min(-1) + SMALLEST)


def log_density(x: jax.Array, logs: jax.Array, means: jax.Array, whiten: jax.Array) -> jax.Array:
    """[N] log density of [N, D] under Gaussians: logs [C] of weight times the root of the
    precision's determinant, means [C, D], whiten [C, D, D]: z = whiten (x - mean)."""
    z = jnp.einsum("cde,nce->ncd", whiten, x[:, None] - means)
    each = logs - 0.5 * jnp.square(z).sum(-1) - 0.5 * x.shape[-1] * jnp.log(2 * jnp.pi)
    return jax.nn.logsumexp(each, -1)


def mixture(x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """(logs, means, whiten) as of `log_density`, by expectation maximisation of MIXED Gaussians
    from random units, float64. RIDGE is added to variances. Args: x [U, D]."""
    x = np.asarray(x, np.float64)
    count, width = x.shape
    means = x[rng.permutation(count)[:MIXED] if count >= MIXED else rng.integers(count, size=MIXED)]
    weights, spread = np.full(MIXED, 1 / MIXED), np.cov(x.T).reshape(width, width)
    spreads = np.tile(spread + RIDGE * np.eye(width), (MIXED, 1, 1))
    for _ in range(ROUNDS):
        logs, whiten = precisions(weights, spreads)
        z = np.einsum("cde,nce->ncd", whiten, x[:, None] - means)
        each = logs - 0.5 * (z**2).sum(-1)
        share = np.exp(each - each.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        total = share.sum(0) + 1e-9
        weights, means = total / total.sum(), (share.T @ x) / total[:, None]
        apart = x[:, None] - means
        spreads = np.einsum("nc,ncd,nce->cde", share, apart, apart) / total[:, None, None]
        spreads += RIDGE * np.eye(width)
    logs, whiten = precisions(weights, spreads)
    return logs, means, whiten


def precisions(weights: np.ndarray, spreads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(logs, whiten) of `log_density` from weights [C] and covariances [C, D, D]."""
    whiten = np.linalg.inv(np.linalg.cholesky(spreads))
    diagonal = np.diagonal(whiten, axis1=1, axis2=2)
    return np.log(weights) + np.log(diagonal).sum(-1), whiten


def fill(
    config: Any,
    features: Mapping[str, np.ndarray],
    part: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """The constants of a training set. Args: features: set -> [U, D], standardised; part int32
    [U]: a unit is not compared with its own."""
    count, known = len(part), int(config.model.bank)
    # with fewer training units than the bank holds, some are in it twice
    kept = rng.permutation(count)[:known] if count >= known else rng.integers(count, size=known)
    tried = rng.permutation(count)[:TRIED]
    found: dict[str, np.ndarray] = {}
    for name, x in features.items():
        if name in MOTION:
            parts = mixture(x[kept], rng)
            for key, value in zip(("logs", "means", "whiten"), parts, strict=True):
                found[f"{key}_{name}"] = value.astype(np.float32)
            values = -np.asarray(jax.jit(log_density)(x[tried], *map(np.float32, parts)))
        else:
            found[f"units_{name}"] = x[kept].astype(np.float32)
            values = np.concatenate(
                [
                    others(x, part, kept, tried[i : i + AT_ONCE])
                    for i in range(0, len(tried), AT_ONCE)
                ]
            )
        low, high = float(values.min()), float(values.max())
        found[f"low_{name}"] = np.asarray(low, np.float32)
        found[f"high_{name}"] = np.asarray(max(high, low + 1e-6), np.float32)
    return found


def others(x: np.ndarray, part: np.ndarray, kept: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[n] distances of the units at some rows to the nearest kept one of another part."""
    same = np.where(part[rows][:, None] == part[kept], np.float32(1e9), np.float32(0))
    found = np.asarray(nearest_of(*map(jnp.asarray, (x[rows], x[kept], same))))
    return found[found < 1e4]
