"""From a configuration and topologies to a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from gfvad.base.files import write_json, write_table, write_text
from gfvad.base.owned import Owned
from gfvad.base.progress import Progress
from gfvad.plan import compiling, page
from gfvad.plan.chips import Topology
from gfvad.plan.page import Planned
from gfvad.tasks import task_of
from gfvad.train.run import Outline

JSON, CSV, MARKDOWN = "plan.json", "plan.csv", "plan.md"


def run_plan(
    config: ConfigDict,
    title: str,
    places: Sequence[Topology],
    widths: Mapping[str, int],
    out: Path | None,
) -> bool:
    """Plans, prints and writes; whether all compiles and fits. Raises ConfigError before anything
    is compiled."""
    outline = task_of(config).outline(config, widths)
    for place in places:
        if not place.gpu:
            compiling.devices(place)
    own = Owned(out, "plan", "gfvad plan") if out else None
    if own:
        own.claim((JSON, CSV, MARKDOWN))
    plans = []
    with Progress(len(places), "compiling", "chips") as progress:
        for place in places:
            plans.append(planned(config, outline, place))
            progress.advance()
    text = page.page(title, outline.about, plans)
    print(text)
    if own:
        with own.staged(last=MARKDOWN) as staging:
            write_json(staging / JSON, [page.figures(plan) for plan in plans])
            write_table(staging / CSV, page.COLUMNS, list(page.csv_rows(plans)))
            write_text(staging / MARKDOWN, text)
        print(f"plan     {own.folder / JSON}, {own.folder / CSV}, {own.folder / MARKDOWN}")
    return all(good(plan) for plan in plans)


def good(plan: Planned) -> bool:
    """Whether a plan compiles and fits."""
    if plan.reason or plan.training is None:
        return not plan.reason
    return plan.training.held < plan.topology.chip.memory


def planned(config: ConfigDict, outline: Outline, place: Topology) -> Planned:
    """A configuration on one topology: training and evaluation."""
    batch = compiling.global_batch(config, place.chips)
    known = place, batch, int(config.train.batch_size), int(config.train.steps)
    if place.gpu:
        reason, written = compiling.lowers_for_cuda(config, outline, batch // place.chips)
        return Planned(*known, None, None, reason, written)
    evaluated = -(-int(config.data.eval_batch_size) // place.chips) * place.chips
    try:
        training = compiling.training_step(config, outline, place, batch)
        evaluation = compiling.evaluation_step(config, outline, place, evaluated)
    except compiling.DoesNotCompile as error:
        return Planned(*known, None, None, str(error))
    return Planned(*known, training, evaluation)
