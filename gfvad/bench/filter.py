"""The sparse feature filter, forward and backward, in every form side by side: what the forms of
`nn/experts.py` are worth.

Every variant is the whole layer without its statistics: router, top-k and experts, on units [B * L,
D] of a batch at once, and the gradients of x, router and experts for a given gradient of y. `plain`
is what published code does: a Python loop over experts, each a LayerNorm and two Dense on all
units, unrolled under jit. The variants take turns, so a busy machine slows all of them; compare
ratios, not milliseconds of different runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gfvad.base.options import Parser
from gfvad.nn.experts import FORMS, NORM_EPSILON, ExpertParams, choose
from gfvad.nn.filter import SparseFeatureFilter, route

PLAIN = "plain"
# suffix of a form's name: one video at a time under jax.vmap, as the detector runs it
PER_VIDEO = "-vmap"


class Result(NamedTuple):
    """One variant at one bottleneck width."""

    name: str
    forward: float  # ms, median
    both: float  # ms of forward + backward, median
    temporary: float  # MB of temporary memory of the compiled forward + backward
    # largest difference of y or of a gradient from plain's, relative to its largest entry
    difference: float


def plain(params: ExpertParams, x: jax.Array, weights: jax.Array, index: jax.Array) -> jax.Array:
    """One module an expert, as one writes it first; arguments as in `experts.FORMS`."""
    total = jnp.zeros_like(x)
    for e in range(len(params.scale)):
        p = ExpertParams(*(leaf[e] for leaf in params))
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        normed = (x - mean) / jnp.sqrt(variance + NORM_EPSILON) * p.scale + p.shift
        total += weights[:, e, None] * (nn.silu(normed @ p.w_in + p.b_in) @ p.w_out + p.b_out)
    return total


def layer(name: str, topk: int) -> Callable[[Any, jax.Array], jax.Array]:
    """(parameters of a SparseFeatureFilter, x [B, L, D]) -> y [B, L, D] in one form, without
    statistics."""
    form = {PLAIN: plain, **FORMS}[name.removesuffix(PER_VIDEO)]

    def units(params: Any, x: jax.Array) -> jax.Array:
        routing = route(x @ params["router"], topk, 2.0)
        weights = jnp.concatenate([jnp.ones_like(routing.weights[:, :1]), routing.weights], -1)
        return form(
            ExpertParams(*(params[field] for field in ExpertParams._fields)),
            x,
            weights,
            routing.index,
        )

    if name.endswith(PER_VIDEO):
        return jax.vmap(units, (None, 0))
    return lambda params, x: units(params, x.reshape(-1, x.shape[-1])).reshape(x.shape)


def measure(names: list[str], options: argparse.Namespace, bottleneck: int) -> list[Result]:
    """Every variant at one bottleneck width, taking turns."""
    keys = jax.random.split(jax.random.key(0), 3)
    x, g = (
        jax.random.normal(key, (options.batch, options.units, options.width)) for key in keys[:2]
    )
    module = SparseFeatureFilter(options.experts, options.topk, bottleneck, form="loop")
    params = jax.jit(module.init)(keys[2], x[0], jnp.ones(options.units, bool))["params"]
    programs = {}
    for name in names:
        f = layer(name, options.topk)
        programs[name] = (
            jax.jit(f).lower(params, x).compile(),
            jax.jit(gradients(f)).lower(params, x, g).compile(),
        )
    results = {
        name: jax.block_until_ready(both(params, x, g)) for name, (_, both) in programs.items()
    }
    seconds: dict[str, list] = {name: [] for name in names}
    for _ in range(options.repeats):
        for name, (forward, both) in programs.items():
            # each program twice, the first not counted: caches and memory that the variant before
            # left
            calls = ((forward, params, x), (both, params, x, g))
            seconds[name].append([[timed(p, *given) for _ in range(2)][1] for p, *given in calls])
    return [
        Result(
            name,
            *(1e3 * statistics.median(column) for column in zip(*seconds[name])),
            both.memory_analysis().temp_size_in_bytes / 1e6,
            largest_difference(results[name], results[names[0]]),
        )
        for name, (_, both) in programs.items()
    ]


def gradients(f: Callable) -> Callable:
    """(parameters, x, gradient of y) -> (y, gradients of parameters and x)."""

    def both(params: Any, x: jax.Array, g: jax.Array) -> tuple:
        y, pull = jax.vjp(f, params, x)
        return y, pull(g)

    return both


def timed(program: Callable, *arguments: Any) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    jax.block_until_ready(program(*arguments))
    return time.perf_counter() - start


def largest_difference(a: Any, b: Any) -> float:
    """Over all arrays of two trees, relative to the largest entry of each array of b."""
    return max(
        float(abs(x - y).max() / abs(y).max())
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def run(argv: list[str]) -> None:
    """Measures and prints the table."""
    parser = Parser("gfvad bench filter", __doc__)
    parser.add_argument("--units", type=int, default=1024, help="units L of a video")
    parser.add_argument("--batch", type=int, default=4, help="videos B")
    parser.add_argument("--width", type=int, default=256, help="features D")
    parser.add_argument("--experts", type=int, default=63, help="routed experts E")
    parser.add_argument("--topk", type=int, default=7, help="experts kept for a unit K")
    parser.add_argument(
        "--bottleneck", type=int, nargs="+", default=[8, 16, 192], help="bottleneck widths b"
    )
    parser.add_argument(
        "--forms",
        nargs="+",
        default=[PLAIN, "loop", "folded", "blocks"],
        metavar="FORM",
        choices=[name + suffix for name in (PLAIN, *FORMS) for suffix in ("", PER_VIDEO)],
        help=(
            "of plain, loop, folded, blocks, grouped (on CPU it takes gigabytes and seconds);"
            " FORM-vmap runs it under vmap over videos; the first is the one compared with"
        ),
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="turns a variant takes; the median counts"
    )
    options = parser.parse_args(argv)
    load = (
        f", load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        if hasattr(os, "getloadavg")
        else ""
    )
    print(
        f"sparse feature filter, {options.batch} x {options.units} units, D {options.width}, E"
        f" {options.experts}, top-{options.topk}, median of {options.repeats}, float32,"
        f" {jax.devices()[0].device_kind}{load}"
    )
    first = options.forms[0]
    print(
        f"{'b':>4} "
        f" {'form':<13}{'forward ms':>11}{'+ backward ms':>15}{first + ' / it':>13}{'+ backward':>12}{'temporary MB':>14}{'difference':>12}"
    )
    for b in options.bottleneck:
        results = measure(options.forms, options, b)
        for r in results:
            print(
                f"{b:>4} "
                f" {r.name:<13}{r.forward:>11.2f}{r.both:>15.2f}{results[0].forward / r.forward:>13.1f}{results[0].both / r.both:>12.1f}"
                f"{r.temporary:>14.1f}{r.difference:>12.1e}",
                flush=True,
            )
        sizes = {"experts": options.experts, "bottleneck": b, "topk": options.topk}
        flat, alone = (
            choose("auto", **sizes, units=n, backend=jax.default_backend())
            for n in (options.batch * options.units, options.units)
        )
        print(f"{b:>4}  auto takes {flat}" + (f" ({alone} for one video)" if alone != flat else ""))
