"""What `gfvad plan` writes: a line a topology, what binds, where scaling stops, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from gfvad.plan.chips import Topology
from gfvad.plan.roofline import Counted, apart, largest_batch, least_moved, times

FAR = 3.0  # times what it must take, from which a step is called far from its bound
COLUMNS = ("topology", "metric", "value")
HEAD = ("chips", "batch", "step, ms", "binds", "memory, GB", "examples/s", "training, h")
CANNOT_KNOW = (
    "By published peak rates, so no step is faster, and most are slower: latency of collectives,"
    " input, hosts, and products at full float32 precision (six passes on a TPU) are not in it."
    " Bytes are the compiler's count after fusion."
)


class Planned(NamedTuple):
    """A configuration on a topology."""

    topology: Topology
    batch: int  # examples of a step, all chips
    configured: int  # config.train.batch_size
    steps: int
    training: Counted | None  # None: it was not compiled
    evaluation: Counted | None
    reason: str = ""  # why it does not compile; '' where it does
    written: Any = None  # of a GPU: {flops, bytes} as written, before fusion


def figures(plan: Planned) -> dict[str, Any]:
    """All that is known, with names of JSON."""
    place, known = plan.topology, {"topology": plan.topology.name, "chips": plan.topology.chips}
    known |= {"chip": place.chip.name, "batch": plan.batch, "compiles": not plan.reason}
    if plan.reason:
        return known | {"reason": plan.reason}
    if plan.training is None:
        seconds = plan.written["flops"] / place.chip.flops
        return known | {"flops": plan.written["flops"], "arithmetic_seconds": seconds}
    for name, counted in (("training", plan.training), ("evaluation", plan.evaluation)):
        if counted is not None:
            known[name] = of_step(counted, place) | {
                "batch_a_chip": plan.batch // place.chips,
            }
    step = known["training"]["step_seconds"]
    known |= {
        "examples_a_second": plan.batch / step,
        "training_hours": plan.steps * step / 3600,
        "largest_batch_a_chip": largest_batch(plan.training, place.chip, plan.batch // place.chips),
    }
    return known


def of_step(counted: Counted, place: Topology) -> dict[str, Any]:
    """A step's figures; seconds and bytes, of one chip."""
    found = times(counted, place.chip, place.chips)
    return {
        "flops": counted.flops,
        "bytes_moved": counted.moved,
        "bytes_least": least_moved(counted),
        "bytes_held": counted.held,
        "bytes_of_chip": place.chip.memory,
        "fits": counted.held < place.chip.memory,
        "arithmetic_seconds": found.arithmetic,
        "memory_seconds": found.memory,
        "interconnect_seconds": found.interconnect,
        "step_seconds": found.step,
        "binds": found.binds,
        "times_its_bound": apart(counted, place.chip),
        "collectives": {kind: c._asdict() for kind, c in counted.collectives.items()},
        "compile_seconds": counted.seconds,
    }


def csv_rows(plans: Sequence[Planned]) -> Iterator[tuple[str, str, Any]]:
    """Lines of plan.csv: topology, metric, value."""
    for plan in plans:
        for name, value in flat(figures(plan)):
            if name != "topology":
                yield plan.topology.name, name, value


def flat(tree: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """('training/flops', value) of a tree."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}/")
        else:
            yield f"{before}{name}", value


def page(title: str, about: str, plans: Sequence[Planned]) -> str:
    """plan.md."""
    lines = [f"# Plan {title}", "", f"{about}. {CANNOT_KNOW}", ""]
    lines += ["| topology | " + " | ".join(HEAD) + " |", "| --- " * (len(HEAD) + 1) + "|"]
    for plan in plans:
        lines.append(f"| {plan.topology.name} | " + " | ".join(table_row(plan)) + " |")
    lines += [""] + [f"- {line}" for plan in plans for line in remarks(plan)]
    return "\n".join(lines) + "\n"


def table_row(plan: Planned) -> list[str]:
    """A row of the table, behind its topology."""
    start = [str(plan.topology.chips), str(plan.batch)]
    if plan.training is None:
        return [*start, *["does not compile" if plan.reason else "lowers"], *[""] * 4]
    known = figures(plan)
    step = known["training"]
    return [
        *start,
        f"{1e3 * step['step_seconds']:.3g}",
        step["binds"],
        f"{step['bytes_held'] / 1e9:.2f} of {step['bytes_of_chip'] / 1e9:.0f}",
        f"{known['examples_a_second']:,.0f}",
        f"{known['training_hours']:.2g}",
    ]


def remarks(plan: Planned) -> Iterator[str]:
    """What to know of a topology, a sentence each."""
    place = plan.topology
    if plan.reason:
        yield f"{place.name}: does not compile: {plan.reason}"
        return
    if plan.batch != plan.configured:
        yield (
            f"{place.name}: a batch of {plan.configured} is not a multiple of {place.chips} chips;"
            f" planned with {plan.batch}. Learning rate and steps are of {plan.configured}"
        )
    if plan.training is None:
        yield (
            f"{place.name}: every operation lowers for CUDA; arithmetic alone takes"
            f" {1e3 * plan.written['flops'] / place.chip.flops:.3g} ms of one chip's"
            f" {plan.batch // place.chips} examples. Bytes are known after fusion only, by a"
            " compiler that needs a GPU"
        )
        return
    counted, chip = plan.training, place.chip
    found = times(counted, chip, place.chips)
    told = ", ".join(
        f"{c.count} {kind} ({c.bytes:,} bytes)" for kind, c in counted.collectives.items()
    )
    yield (
        f"{place.name}: arithmetic {1e3 * found.arithmetic:.3g} ms, memory"
        f" {1e3 * found.memory:.3g}, interconnect {1e3 * found.interconnect:.3g};"
        f" {told or 'no collectives'}"
    )
    if counted.held > chip.memory:
        yield (
            f"{place.name}: does NOT fit: {counted.held / 1e9:.1f} GB of {chip.memory / 1e9:.0f};"
            " use more chips or a smaller config.train.batch_size"
        )
    else:
        most = largest_batch(counted, chip, plan.batch // place.chips)
        yield f"{place.name}: about {most:,} examples a chip would fit, by proportion"
    if (factor := apart(counted, chip)) > FAR:
        yield (
            f"{place.name}: the step moves or computes {factor:.0f} times what it must"
            f" ({counted.moved / 1e6:,.0f} MB of {least_moved(counted) / 1e6:,.0f})"
        )
    yield f"{place.name}: {where_it_stops(plan)}"


def where_it_stops(plan: Planned) -> str:
    """At how many chips more of them stop to help, at the configured batch, and what to change."""
    place, counted = plan.topology, plan.training
    assert counted is not None
    found = times(counted, place.chip, place.chips)
    work = max(found.arithmetic, found.memory) * place.chips  # of one chip alone
    exchanged = max(found.interconnect, 1e-9)
    most = int(min(work / exchanged, plan.configured))
    if found.binds == "interconnect":
        return "the interconnect binds: a larger batch a chip, or fewer chips"
    if most <= place.chips:
        return (
            f"no more chips than {plan.configured} examples: scaling stops here, unless"
            " config.train.batch_size grows"
        )
    return (
        f"scaling stops at about {most} chips of a batch of {plan.configured}, where its examples"
        " or the interconnect end it"
    )
