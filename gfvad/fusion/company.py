"""Relations between the units of one frame, fused by the operator: who is near, and who of them is
alike (ours). Objects, patches and tokens are the same here: a unit has a box and features.

Of a frame's units there are two graphs: *near*, by the distance of the middles of their boxes in
heights of a box, and *alike*, by their features. The operator's first two products
(`fusion/forms.py`, start "minterms") are near and alike, and near and not alike. A frame's units
are padded: N of them, mask [N]. To be vmapped over frames. A unit is no company of its own.
"""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp

from gfvad.fusion.forms import start_minterms
from gfvad.fusion.operator import combined, prepared
from gfvad.graphs.tuples import propagate
from gfvad.graphs.units import rbf_of, square_distances

KINDS = 2  # near and alike, near and not alike
FUSION = SimpleNamespace(form="cp", cross_terms=True, orders=())
EXPANSION = SimpleNamespace(kind="hadamard", order=1, zeroth="ones")


def near_graph(box: jax.Array, mask: jax.Array, width: float) -> jax.Array:
    """box [N, 4] x1, y1, x2, y2 -> [N, N]: exp(-d^2 / (2 width^2)), d the distance of two boxes'
    middles over the mean of their heights. Diagonal 1; 0 at padded units."""
    box = jnp.where(mask[:, None], box, jnp.array([0.0, 0.0, 1.0, 1.0], box.dtype))
    middle, height = (box[:, :2] + box[:, 2:]) / 2, box[:, 3] - box[:, 1]
    scale = (height[:, None] + height) / 2
    squared = square_distances(middle, middle) / scale**2
    return jnp.where(mask[:, None] & mask, rbf_of(squared, width), 0.0)


def alike_graph(x: jax.Array, mask: jax.Array, width: float) -> jax.Array:
    """x [N, D] -> [N, N]: exp(-|x_i - x_j|^2 / (2 width^2)). Diagonal 1; 0 at padded units. Unlike
    `graphs/relations.py` a unit of zeros is one like others: who stands still has a velocity."""
    x = jnp.where(mask[:, None], x, 0.0)
    return jnp.where(mask[:, None] & mask, rbf_of(square_distances(x, x), width), 0.0)


def fused_pair(near: jax.Array, alike: jax.Array, mask: jax.Array) -> jax.Array:
    """Two graphs [N, N] -> [KINDS, N, N]: near * alike and near * (1 - alike)."""
    coefficients = jnp.asarray(start_minterms(KINDS, 1, 2, EXPANSION.order), near.dtype)
    graphs = prepared(jnp.stack([alike, near]), mask, FUSION, EXPANSION)  # type: ignore[arg-type]
    fused = combined(coefficients, graphs, FUSION, EXPANSION)  # type: ignore[arg-type]
    return jnp.where(mask[:, None] & mask, fused, 0.0)


def others_alone(graph: jax.Array) -> jax.Array:
    """[..., N, N] with the diagonal 0."""
    return jnp.where(jnp.eye(graph.shape[-1], dtype=bool), 0.0, graph)


def company_of(
    box: jax.Array, x: jax.Array, mask: jax.Array, near: float, alike: float
) -> tuple[jax.Array, jax.Array]:
    """What the others of its frame are to a unit.

    Args: box [N, 4]; x [N, D] features; near: width in heights; alike: width in units of x.

    Returns (company [N, KINDS]: log(1 + degree) in each fused graph, that is how many are near and
    alike, and near and not; relative [N, D]: mean features of those near, by how near, less its
    own, 0 where nobody is). 0 at padded units.
    """
    close = near_graph(box, mask, near)
    fused = others_alone(fused_pair(close, alike_graph(x, mask, alike), mask))
    close = others_alone(close)
    means = propagate(close, x, mask, normalise=True)
    some = mask & (close.sum(-1) > 0)
    return jnp.log1p(fused.sum(-1)).T, jnp.where(some[:, None], means - x, 0.0)


def means_beside(
    box: jax.Array, values: jax.Array, x: jax.Array, mask: jax.Array, near: float, alike: float
) -> jax.Array:
    """Messages within a frame: values [N, T] -> means over a unit and those near and alike, by the
    product of both [N, T]. x [N, D]: features; D = 0: all are alike, and nearness alone counts."""
    close = near_graph(box, mask, near)
    graph = fused_pair(close, alike_graph(x, mask, alike), mask)[0] if x.shape[-1] else close
    return propagate(graph, values, mask, normalise=True)


# of F frames: (box [F, N, 4], x [F, N, D] once or twice, mask [F, N], widths) -> [F, N, ...]
COMPANY = jax.jit(jax.vmap(company_of, (0, 0, 0, None, None)))
BESIDE = jax.jit(jax.vmap(means_beside, (0, 0, 0, 0, None, None)))
