"""Polynomials of relationship graphs by Horner's rule, with their own gradients: no power of a
graph is ever kept.

Paper: "Learnable Expansion of Graph Operators" (ICLR 2025), G = sum_pq A[p, q] Ra^p . Rb^q with
element-wise powers. The CP form for M graphs, the nested evaluation and the gradients are ours.
Automatic differentiation of the same Horner chain would keep every intermediate value ([N, N] each,
about (P + 1)(Q + 1) of them); here the backward pass keeps A and the graphs only:

- the graphs' gradients are again Horner chains, element by element (one fused loop that reads Ra,
  Rb, g and writes two arrays);
- A's gradient, dA[p, q] = sum_ij g_ij Ra_ij^p Rb_ij^q, is a product (P + 1, m) (m, Q + 1) over
  chunks of m elements whose powers stay in cache. Under vmap the chunks of all examples are walked
  by one loop; a vmapped loop would take the same chunk of every example at once and leave the
  cache.

Every function is element-wise in the graphs: any shape [...] serves, [N, N] graphs as well as a
diagonal [N]. The zeroth power is 1 everywhere, so the caller masks the result. Gradients are
reverse mode, first order. float32 and float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np

# elements whose P + Q + 2 powers, and what a product packs of them, lie in a core's second-level
# cache (1 MB) in float32
CACHE_CHUNK = 4096
DEVICE_CHUNK = 1 << 20  # accelerators: few large steps instead (72 MB of powers at P = Q = 8)


# ---- full coefficient matrix, two graphs


def full_polynomial(A: jax.Array, Ra: jax.Array, Rb: jax.Array) -> jax.Array:
    """G = sum_pq A[p, q] Ra^p Rb^q, element by element (paper, fusion operator with a full A).

    A [P + 1, Q + 1], Ra and Rb [...] of one shape -> [...]; A [G, P + 1, Q + 1] of G channels ->
    [G, ...]. Raises ValueError where the shapes do not fit.
    """
    A, Ra, Rb = _alike(A, Ra, Rb)
    if A.ndim not in (2, 3) or 0 in A.shape or Ra.shape != Rb.shape:
        raise ValueError(
            f"full_polynomial: A {A.shape}, Ra {Ra.shape}, Rb {Rb.shape}; expected A [P + 1, Q +"
            " 1], or [G, P + 1, Q + 1], and graphs of one shape"
        )
    return _full(A, Ra, Rb) if A.ndim == 3 else _full(A[None], Ra, Rb)[0]


@jax.custom_vjp
def _full(A, Ra, Rb):
    return jnp.stack([_horner([_horner(row, Rb) for row in channel], Ra) for channel in A])


def _full_forward(A, Ra, Rb):
    return _full(A, Ra, Rb), (A, Ra, Rb)


def _full_backward(kept, g):
    A, Ra, Rb = kept
    dRa = dRb = 0.0
    for channel, weight in zip(A, g):
        # G = sum_p c_p(Rb) Ra^p: its slope in Ra, and the same polynomial of the slopes c'_p for Rb
        rows = [_horner_slope(row, Rb) for row in channel]
        dRa += weight * _horner_slope([value for value, _ in rows], Ra)[1]
        dRb += weight * _horner([slope for _, slope in rows], Ra)
    return _moments(A, Ra, Rb, g), dRa, dRb


def _moments(like, Ra, Rb, g):
    """sum g Ra^p Rb^q over elements, for `like` [G, P + 1, Q + 1] (its shape alone counts), graphs
    [...] and g [G, ...] -> like `like`."""
    # each field [1, n] or [1, G, n]: the batch of one example that this trace sees
    fields = Ra.reshape(1, -1), Rb.reshape(1, -1), g.reshape(1, len(g), -1)
    return _sum_over_elements(_full_chunk, like[None], *fields)[0]


def _full_chunk(A, Ra, Rb, g):
    """A [b, G, P + 1, Q + 1] (its shape alone counts), Ra, Rb [b, m], g [b, G, m] -> sum_m g Ra^p
    Rb^q like A: one product for all channels."""
    b, channels, p, q = A.shape
    # [G, Q + 1, b, m]
    weighted = jnp.moveaxis(g, 1, 0)[:, None] * _powers(Rb, q)
    found = _inner(_powers(Ra, p), weighted.reshape(-1, *Rb.shape))
    return jnp.moveaxis(found.reshape(b, p, channels, q), 1, 2)


_full.defvjp(_full_forward, _full_backward)


# ---- CP form, any number of graphs


def cp_polynomial(a: jax.Array, R: jax.Array | Sequence[jax.Array]) -> jax.Array:
    """G = sum_r prod_m (sum_p a[r, m, p] R_m^p), element by element: the CP (rank r) form of the
    full (P + 1)^M tensor (ours).

    a [r, M, P + 1], R [M, ...] or M graphs [...] -> [...]; a [G, r, M, P + 1] of G channels ->
    [G, ...]. Raises ValueError where the shapes do not fit.
    """
    a, *graphs = _alike(a, *R)
    shapes = {x.shape for x in graphs}
    if a.ndim not in (3, 4) or 0 in a.shape or len(shapes) != 1 or a.shape[-2] != len(graphs):
        raise ValueError(
            f"cp_polynomial: a {a.shape}, {len(graphs)} graphs of {sorted(shapes)}; expected a [r,"
            " M, P + 1], or [G, r, M, P + 1], and M graphs of one shape"
        )
    return _cp(a, tuple(graphs)) if a.ndim == 4 else _cp(a[None], tuple(graphs))[0]


@jax.custom_vjp
def _cp(a, R):
    value = lambda component: reduce(jnp.multiply, [_horner(c, x) for c, x in zip(component, R)])
    return jnp.stack([reduce(jnp.add, [value(c) for c in channel]) for channel in a])


def _cp_forward(a, R):
    return _cp(a, R), (a, R)


def _cp_backward(kept, g):
    a, R = kept
    graphs = len(R)
    dR = [0.0] * graphs
    for channel, weight in zip(a, g):
        slopes = [0.0] * graphs
        for component in channel:
            factors = [_horner_slope(c, x) for c, x in zip(component, R)]
            rest = _leave_one_out([value for value, _ in factors])
            slopes = [total + rest[m] * factors[m][1] for m, total in enumerate(slopes)]
        dR = [total + weight * slope for total, slope in zip(dR, slopes)]
    if graphs == 2:
        # sum g Ra^p f_r(Rb) = sum_q m[p, q] a[r, 1, q], m the moments: they serve all components
        m = _moments(jnp.zeros_like(a, shape=(len(a), *[a.shape[-1]] * 2)), R[0], R[1], g)
        first, second = jnp.moveaxis(a, 2, 0)
        da = jnp.stack([_exact(second, jnp.swapaxes(m, 1, 2)), _exact(first, m)], 2)
    else:
        fields = jnp.stack(R).reshape(1, graphs, -1), g.reshape(1, len(g), -1)
        da = _sum_over_elements(_cp_chunk, a[None], *fields)[0]
    return da, tuple(dR)


def _cp_chunk(a, R, g):
    """a [b, G, r, M, P + 1], R [b, M, m], g [b, G, m] -> sum_m g R_m^p prod_{l != m} f_rl(R_l)
    like a."""
    b, channels, rank, graphs, terms = a.shape
    weights = []  # [G r][M] of [b, m]
    for c, r in np.ndindex(channels, rank):
        factors = [
            _horner([a[:, c, r, m, p, None] for p in range(terms)], R[:, m]) for m in range(graphs)
        ]
        weights.append([g[:, c] * rest for rest in _leave_one_out(factors)])
    # for each graph [G r, b, m] and [P + 1, b, m] -> [b, G r, P + 1]
    found = [
        _inner(jnp.stack([w[m] for w in weights]), _powers(R[:, m], terms)) for m in range(graphs)
    ]
    return jnp.stack(found, 2).reshape(a.shape)


_cp.defvjp(_cp_forward, _cp_backward)


# ---- pieces


def _alike(*arrays):
    """The arrays in their common floating type, and varying over the same mapped axes:
    shard_map's checks ask that of a custom gradient. zeros_like takes the axes over which its
    argument varies, so adding it hands them on."""
    arrays = [jnp.asarray(x, jnp.result_type(jnp.float32, *arrays)) for x in arrays]
    zero = sum(jnp.zeros_like(x, shape=()) for x in arrays)
    return [x + zero for x in arrays]


def _horner(c: Sequence[jax.Array], x: jax.Array) -> jax.Array:
    """sum_p c[p] x^p; each c[p] a scalar or of x's shape."""
    value = c[-1]
    for p in reversed(range(len(c) - 1)):
        value = value * x + c[p]
    return jnp.broadcast_to(value, x.shape)


def _horner_slope(c: Sequence[jax.Array], x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(sum_p c[p] x^p, sum_p p c[p] x^(p - 1)) in one pass."""
    value, slope = c[-1], jnp.zeros_like(x)
    for p in reversed(range(len(c) - 1)):
        slope = slope * x + value
        value = value * x + c[p]
    return jnp.broadcast_to(value, x.shape), slope


def _powers(x: jax.Array, terms: int) -> jax.Array:
    """x [...] -> [terms, ...]: x^0 .. x^(terms - 1).

    By the binary digits of the exponent, x^p = prod_b (x^(2^b) or 1), as one loop over the result:
    stacking a chain of products would be a loop for each power and a copy, which costs half as much
    time again for chunks this small.
    """
    exponent = jnp.arange(terms).reshape(-1, *[1] * x.ndim)
    powers, square = jnp.ones((terms, *x.shape), x.dtype), x
    for digit in range((terms - 1).bit_length()):
        powers = powers * jnp.where((exponent >> digit) & 1 == 1, square, 1.0)
        square = square * square
    return powers


def _leave_one_out(factors: Sequence[jax.Array]) -> list[jax.Array]:
    """Product of all factors but the m-th, for each m; without division, so zero factors are
    exact."""
    ones = jnp.ones_like(factors[0])
    before, after = [ones], [ones]
    for left, right in zip(factors[:-1], factors[:0:-1]):
        before.append(before[-1] * left)
        after.append(after[-1] * right)
    return [left * right for left, right in zip(before, after[::-1])]


def _exact(u: jax.Array, v: jax.Array) -> jax.Array:
    """u @ v at full precision (accelerators round products by default)."""
    return jnp.matmul(u, v, precision=jax.lax.Precision.HIGHEST)


def _inner(u: jax.Array, v: jax.Array) -> jax.Array:
    """u [k, b, m], v [l, b, m] -> [b, k, l], summed over m at full precision."""
    if u.shape[1] == 1:  # on a processor a product without a batch takes half of the time
        return _exact(u[:, 0], v[:, 0].T)[None]
    return jax.lax.dot_general(
        u, v, (((2,), (2,)), ((1,), (1,))), precision=jax.lax.Precision.HIGHEST
    )


def _sum_over_elements(
    chunk_sum: Callable, coefficients: jax.Array, *fields: jax.Array
) -> jax.Array:
    """coefficients [B, ...], fields [B, ..., n] each -> chunk_sum(coefficients, *fields) like
    coefficients, in small chunks of n.

    `chunk_sum` must be a sum over n that is linear in the last field. Under vmap the mapped axis
    joins B, whatever the nesting.
    """

    @jax.custom_batching.custom_vmap
    def run(coefficients, *fields):
        walk = lambda chunk: partial(_walk, chunk_sum, chunk)
        return jax.lax.platform_dependent(
            coefficients, *fields, cpu=walk(CACHE_CHUNK), default=walk(DEVICE_CHUNK)
        )

    @run.def_vmap
    def merge(size, batched, *arrays):
        arrays = [
            x if is_batched else jnp.broadcast_to(x, (size, *x.shape))
            for x, is_batched in zip(arrays, batched)
        ]
        # [V, B, ...] -> [V B, ...]
        sums = run(*(x.reshape(-1, *x.shape[2:]) for x in arrays))
        return sums.reshape(arrays[0].shape), True

    return run(coefficients, *fields)


def _walk(
    chunk_sum: Callable, chunk: int, coefficients: jax.Array, *fields: jax.Array
) -> jax.Array:
    """`chunk_sum` over pieces of at most about `chunk` elements: parts of one example, or
    several small examples together."""
    batch, n = len(fields[-1]), fields[-1].shape[-1]
    pieces = -(-n // chunk)
    length = -(-n // pieces)
    group = max(b for b in range(1, max(1, chunk // n) + 1) if batch % b == 0)

    def step(i):
        first, start = (i // pieces) * group, (i % pieces) * length
        # the last piece reaches back into the one before it instead of past the end; what that one
        # counted weighs 0
        begin = jnp.minimum(start, n - length)
        cut = [
            jax.lax.dynamic_slice(
                x, (first, *[0] * (x.ndim - 2), begin), (group, *x.shape[1:-1], length)
            )
            for x in fields
        ]
        cut[-1] = jnp.where(begin + jnp.arange(length) >= start, cut[-1], 0.0)
        return chunk_sum(jax.lax.dynamic_slice_in_dim(coefficients, first, group), *cut)

    # [B / group * pieces, group, ...] -> [B, ...]
    sums = jax.lax.map(step, jnp.arange(batch // group * pieces))
    return sums.reshape(batch // group, pieces, *sums.shape[1:]).sum(1).reshape(coefficients.shape)
