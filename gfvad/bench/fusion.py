"""The fused operator, forward and backward, three ways side by side: what the custom gradient of
`fusion/polynomial.py` is worth.

Every variant computes G = sum_pq A[p, q] Ra^p Rb^q over a batch with one shared A, and the
gradients of A, Ra and Rb for a given gradient of G. The variants take turns, so a busy machine
slows all of them; compare ratios, not milliseconds of different runs.
A turn is one uncounted call and CALLS counted ones: what another variant leaves behind (half a
gigabyte just freed, cold caches) would otherwise be counted against the next, and three times over
for the fastest.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gfvad.base.options import Parser
from gfvad.fusion.polynomial import full_polynomial

OURS = "ours (custom gradient)"
CALLS = 3


class Result(NamedTuple):
    """One variant at one size."""

    name: str
    milliseconds: float  # median of forward + backward
    temporary: float  # MB of temporary memory of the compiled program
    # largest difference of a gradient from ours, relative to the largest entry of that gradient
    difference: float


def naive(A: jax.Array, Ra: jax.Array, Rb: jax.Array) -> jax.Array:
    """All powers stacked, then einsum."""

    def powers(x, terms):
        stack = [jnp.ones_like(x)]
        for _ in range(terms - 1):
            stack.append(stack[-1] * x)
        return jnp.stack(stack)

    return jnp.einsum("pq,pij,qij->ij", A, powers(Ra, A.shape[0]), powers(Rb, A.shape[1]))


def horner(A: jax.Array, Ra: jax.Array, Rb: jax.Array) -> jax.Array:
    """Horner's rule, differentiated automatically."""

    def nested(c, x):
        value = c[-1]
        for p in reversed(range(len(c) - 1)):
            value = value * x + c[p]
        return value

    return nested([nested(row, Rb) for row in A], Ra)


VARIANTS: dict[str, Callable] = {
    "naive (stack, einsum)": naive,
    "Horner, autodiff": horner,
    OURS: full_polynomial,
}


def measure(n: int, batch: int, order: int, repeats: int) -> list[Result]:
    """Every variant at one size, taking turns `repeats` times."""
    keys = jax.random.split(jax.random.key(0), 4)
    # [P + 1, Q + 1], then graphs and the gradient of G, [B, N, N]; graphs as cosines, in [-1, 1]
    A = jax.random.normal(keys[0], (order + 1, order + 1)) / (order + 1)
    Ra, Rb = (jax.random.uniform(key, (batch, n, n), minval=-1.0) for key in keys[1:3])
    weight = jax.random.normal(keys[3], (batch, n, n))
    programs = {name: compiled(f, A, Ra, Rb, weight) for name, f in VARIANTS.items()}
    gradients = {
        name: jax.block_until_ready(program(A, Ra, Rb, weight))[1]
        for name, program in programs.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            jax.block_until_ready(program(A, Ra, Rb, weight))
            for _ in range(CALLS):
                start = time.perf_counter()
                jax.block_until_ready(program(A, Ra, Rb, weight))
                seconds[name].append(time.perf_counter() - start)
    return [
        Result(
            name,
            1e3 * statistics.median(seconds[name]),
            program.memory_analysis().temp_size_in_bytes / 1e6,
            max(
                float(abs(a - b).max() / abs(b).max())
                for a, b in zip(gradients[name], gradients[OURS])
            ),
        )
        for name, program in programs.items()
    ]


def compiled(f: Callable, *arguments: jax.Array):
    """The compiled program (A, Ra, Rb, gradient of G) -> (G, gradients)."""

    def both(A, Ra, Rb, weight):
        G, pull = jax.vjp(jax.vmap(f, (None, 0, 0)), A, Ra, Rb)
        return G, pull(weight)

    return jax.jit(both).lower(*arguments).compile()


def run(argv: list[str]) -> None:
    """Measures and prints the table."""
    parser = Parser("gfvad bench fusion", __doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[32, 200], help="units N of a graph")
    parser.add_argument("--batch", type=int, default=64, help="videos B")
    parser.add_argument("--order", type=int, default=8, help="P = Q")
    parser.add_argument(
        "--repeats",
        type=int,
        default=5,
        help=f"turns a variant takes, {CALLS} counted calls each; the median counts",
    )
    options = parser.parse_args(argv)
    load = (
        f", load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        if hasattr(os, "getloadavg")
        else ""
    )
    print(
        f"fused operator, forward + backward, B {options.batch}, P = Q = {options.order}, median of"
        f" {CALLS * options.repeats}, float32, {jax.devices()[0].device_kind}{load}"
    )
    print(
        f"{'N':>5} "
        f" {'variant':<24}{'ms':>10}{'times ours':>12}{'temporary MB':>14}{'gradient diff.':>16}"
    )
    for n in options.n:
        results = measure(n, options.batch, options.order, options.repeats)
        ours = next(r.milliseconds for r in results if r.name == OURS)
        for r in results:
            print(
                f"{n:>5} "
                f" {r.name:<24}{r.milliseconds:>10.2f}{r.milliseconds / ours:>12.2f}{r.temporary:>14.2f}{r.difference:>16.1e}"
            )
