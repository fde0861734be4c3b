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
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gfvad.base.options import Parser
from gfvad.base.platforms import compiled_for
from gfvad.bench import fusion
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


def separate(params: ExpertParams, x: jax.Array, weights: jax.Array, index: jax.Array) -> jax.Array:
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
    form = {PLAIN: separate, **FORMS}[name.removesuffix(PER_VIDEO)]

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


def measure_forms(names: list[str], options: argparse.Namespace, bottleneck: int) -> list[Result]:
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
        both = fusion.compiled(fusion.gradients(f), params, x, g)
        programs[name] = (fusion.compiled(f, params, x), both)
    found = {
        name: jax.block_until_ready(both(params, x, g)) for name, (_, both) in programs.items()
    }
    seconds: dict[str, list] = {name: [] for name in names}
    for _ in range(options.repeats):
        for name, (forward, both) in programs.items():
            # each program twice, the first not counted: caches and memory that the variant before
            # left
            ahead = [fusion.timed(forward, params, x) for _ in range(2)]
            total = [fusion.timed(both, params, x, g) for _ in range(2)]
            seconds[name].append((ahead[1], total[1]))
    results = []
    for name, (_, both) in programs.items():
        forward, total = 1e3 * np.median(seconds[name], 0)
        memory = fusion.temporary_megabytes(both)
        difference = fusion.largest_difference(found[name], found[names[0]])
        results.append(Result(name, float(forward), float(total), memory, difference))
    return results


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
    print(
        f"sparse feature filter, {options.batch} x {options.units} units, D {options.width}, E"
        f" {options.experts}, top-{options.topk}, median of {options.repeats}, float32,"
        f" {jax.devices()[0].device_kind}{fusion.busy()}"
    )
    names = f"{'forward ms':>11}{'+ backward ms':>15}{options.forms[0] + ' / it':>13}"
    print(f"{'b':>4}  {'form':<13}{names}{'+ backward':>12}{'temporary MB':>14}{'difference':>12}")
    for b in options.bottleneck:
        results = measure_forms(options.forms, options, b)
        for r in results:
            ratios = (results[0].forward / r.forward, results[0].both / r.both)
            numbers = f"{r.forward:>11.2f}{r.both:>15.2f}{ratios[0]:>13.1f}{ratios[1]:>12.1f}"
            memory = f"{r.temporary:>14.1f}{r.difference:>12.1e}"
            print(f"{b:>4}  {r.name:<13}{numbers}{memory}", flush=True)
        sizes = {"experts": options.experts, "bottleneck": b, "topk": options.topk}
        flat, alone = (
            choose("auto", **sizes, units=n, backend=compiled_for())
            for n in (options.batch * options.units, options.units)
        )
        print(f"{b:>4}  auto takes {flat}" + (f" ({alone} for one video)" if alone != flat else ""))
