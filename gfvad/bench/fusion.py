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
from typing import Any, NamedTuple

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


def measure_fusion(n: int, batch: int, order: int, repeats: int) -> list[Result]:
    """Every variant at one size, taking turns `repeats` times."""
    keys = jax.random.split(jax.random.key(0), 4)
    # [P + 1, Q + 1], then graphs and the gradient of G, [B, N, N]; graphs as cosines, in [-1, 1]
    A = jax.random.normal(keys[0], (order + 1, order + 1)) / (order + 1)
    Ra, Rb = (jax.random.uniform(key, (batch, n, n), minval=-1.0) for key in keys[1:3])
    weight = jax.random.normal(keys[3], (batch, n, n))
    given = (A, Ra, Rb, weight)
    both = {
        name: compiled(gradients(jax.vmap(f, (None, 0, 0))), *given) for name, f in VARIANTS.items()
    }
    found = {name: jax.block_until_ready(program(*given))[1] for name, program in both.items()}
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for _ in range(repeats):
        for name, program in both.items():
            seconds[name] += [timed(program, *given) for _ in range(1 + CALLS)][1:]
    return [
        Result(
            name,
            1e3 * statistics.median(seconds[name]),
            temporary_megabytes(program),
            largest_difference(found[name], found[OURS]),
        )
        for name, program in both.items()
    ]


# ---- shared with `gfvad bench filter` ------------------------------------------------------------


def gradients(f: Callable) -> Callable:
    """(arguments of f, gradient of y) -> (y, gradients of the arguments)."""

    def both(*arguments: Any) -> tuple:
        y, pull = jax.vjp(f, *arguments[:-1])
        return y, pull(arguments[-1])

    return both


def compiled(f: Callable, *arguments: Any) -> jax.stages.Compiled:
    """The compiled program of a function for arguments of this kind."""
    return jax.jit(f).lower(*arguments).compile()


def timed(program: Callable, *arguments: Any) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    jax.block_until_ready(program(*arguments))
    return time.perf_counter() - start


def temporary_megabytes(program: jax.stages.Compiled) -> float:
    """Temporary memory that a program takes; NaN where the device does not tell."""
    memory = program.memory_analysis()
    return memory.temp_size_in_bytes / 1e6 if memory else float("nan")


def largest_difference(a: Any, b: Any) -> float:
    """Over all arrays of two trees, relative to the largest entry of each array of b."""
    return max(
        float(abs(x - y).max() / abs(y).max())
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def busy() -> str:
    """`, load average 0.5 on 2 cores`; nothing where the system does not tell."""
    if not hasattr(os, "getloadavg"):
        return ""
    return f", load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


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
    print(
        f"fused operator, forward + backward, B {options.batch}, P = Q = {options.order}, median of"
        f" {CALLS * options.repeats}, float32, {jax.devices()[0].device_kind}{busy()}"
    )
    names = f"{'ms':>10}{'times ours':>12}{'temporary MB':>14}{'gradient diff.':>16}"
    print(f"{'N':>5}  {'variant':<24}{names}")
    for n in options.n:
        results = measure_fusion(n, options.batch, options.order, options.repeats)
        ours = next(r.milliseconds for r in results if r.name == OURS)
        for r in results:
            numbers = f"{r.milliseconds:>10.2f}{r.milliseconds / ours:>12.2f}{r.temporary:>14.2f}"
            print(f"{n:>5}  {r.name:<24}{numbers}{r.difference:>16.1e}")
