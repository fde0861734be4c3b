"""`gfvad compare --config`: the models of a sweep trained on the same data by the same loop, in one
table with their costs, the floors, and what papers report by protocols of their own.

comparison.csv has a line a setting, seed and metric, as the CSV of an ablation of folds has them,
with `parameters`, `training_seconds` and `frames_a_second`; comparison.md is the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gfvad.ablation import costs, folds, report, run
from gfvad.ablation.arguments import Arguments, parse_sweep
from gfvad.ablation.groups import RESULTS, run_folder
from gfvad.ablation.sweep import Setting
from gfvad.base import run_files
from gfvad.base.files import write_table, write_text
from gfvad.measure import bootstrap, compare
from gfvad.measure.reported import reported
from gfvad.measure.results import read_results
from gfvad.tasks import parse, task_of

CSV, MARKDOWN = "comparison.csv", "comparison.md"
FILES = (CSV, MARKDOWN, costs.FILE)
FLOOR = folds.FLOOR
HEAD = ("model", "parameters", "training, s", "frames a second")


class Measured(NamedTuple):
    """A metric of one model, and how it differs from ours."""

    values: Sequence[float]  # a seed each; of folds their means
    interval: tuple[float, float]  # 95 % of their mean, over test videos
    test: compare.Comparison | folds.Test | None  # against ours; None of ours


class Model(NamedTuple):
    """A row of the table."""

    name: str
    metrics: Mapping[str, Measured]
    cost: costs.Cost


class Page(NamedTuple):
    """What is written."""

    title: str
    metric: str  # the first one
    base: str  # ours
    models: Sequence[Model]
    floors: Mapping[str, float]  # floor -> AUC
    left_out: Mapping[str, str]  # model -> why it, or a part of its seeds, is not there
    dataset: str  # in config.data
    steps: str  # what was trained


def asked(argv: Sequence[str]) -> Arguments:
    """Parses a command line. Raises ConfigError."""
    words = list(argv)
    if not any(word.startswith("--sweep=") for word in words):
        given = [word for word in words if word.startswith("--config")]
        words.append(f"--sweep={task_of(parse(given).config).comparison}")
    return parse_sweep(words)


def compared(argv: Sequence[str]) -> int:
    """Trains what is missing of a comparison and writes its table; returns the exit code."""
    arguments = asked(argv)
    run_files.owned_comparison(arguments.workdir).claim(FILES)
    return run.ablate(arguments, partial(write, arguments))


def write(arguments: Arguments, found: report.Compared | folds.Compared) -> None:
    """Measures costs, writes comparison.csv and comparison.md, and prints the page."""
    page = of_folds(found) if isinstance(found, folds.Compared) else of_split(arguments, found)
    text = page_text(page)
    own = run_files.owned_comparison(arguments.workdir)
    with own.staged(last=MARKDOWN) as staging:
        write_table(staging / CSV, folds.COLUMNS, rows_of_csv(page))
        write_text(staging / MARKDOWN, text)
    print(text)
    print(f"table    {arguments.workdir / CSV}, {arguments.workdir / MARKDOWN}")


def of_split(arguments: Arguments, found: report.Compared) -> Page:
    """Of one test split."""
    workdir = arguments.workdir
    finished = [one for one in found.found if one.runs]
    first = {one.setting.name: min(one.runs) for one in finished}
    folder_of = lambda setting: run_folder(workdir, setting.name, first[setting.name])
    cost = costs.of_settings(workdir, [one.setting for one in finished], folder_of)
    models = []
    for one in finished:
        metrics = {}
        for metric in compare.METRICS:
            test = None
            if one is not found.against:
                test = compare.compare(one.runs, found.against.runs, metric)
            drawn = [of_seed.resamples[metric] for of_seed in one.runs.values()]
            interval = over_videos(np.mean(drawn, axis=0))
            metrics[metric] = Measured(report.values(one, metric), interval, test)
        models.append(Model(one.setting.name, metrics, cost[one.setting.name]))
    base = found.against.setting
    named = read_results(folder_of(base) / RESULTS).get("named", {})
    floors = {n: x for n, x in named.items() if n.startswith(FLOOR) and isinstance(x, float)}
    missing = {
        one.setting.name: f"not finished, or not finite, with {lacking} of {len(found.sweep.seeds)}"
        " seeds (ablation.md says which)"
        for one in found.found
        if (lacking := len(found.sweep.seeds) - len(one.runs))
    }
    return page_of(found.data, base, models, floors, {**found.sweep.left_out, **missing})


def of_folds(found: folds.Compared) -> Page:
    """Of a cross-validation: costs are those of its first fold."""
    arguments, first = found.arguments, found.folds[0]
    settings = {s.name: s for s in first.sweep.settings if s.name in found.joined}
    folder_of = lambda setting: run_folder(first.workdir, setting.name, first.sweep.seeds[0])
    cost = costs.of_settings(arguments.workdir, settings.values(), folder_of)
    base = arguments.sweep.base
    models = []
    for name, one in found.joined.items():
        metrics = {}
        for metric in compare.METRICS:
            test = None if name == base else folds.against(one, found.joined[base], metric)
            values = one.values[metric].mean(0).tolist()
            metrics[metric] = Measured(values, over_videos(one.resamples[metric]), test)
        models.append(Model(name, metrics, cost[name]))
    data = settings[base].config.data
    floors = {name: float(np.mean(values)) for name, values in found.floors.items()}
    title = f"{data.dataset}, {data.test_name}, means over {len(found.folds)} folds"
    lost = [s.name for s in first.sweep.settings if s.name not in found.joined]
    missing = dict.fromkeys(lost, "not finished in every fold with every seed")
    return page_of(title, settings[base], models, floors, {**first.sweep.left_out, **missing})


def page_of(
    title: str,
    base: Setting,
    models: Sequence[Model],
    floors: Mapping[str, float],
    left_out: Mapping[str, str],
) -> Page:
    """The page, ours first, then from the best down."""
    metric, train = base.config.eval.metric, base.config.train
    order = lambda m: (m.name != base.name, -float(np.mean(m.metrics[metric].values)))
    steps = f"{train.steps:,} steps of {train.batch_size}"
    dataset = base.config.data.dataset
    return Page(
        title, metric, base.name, sorted(models, key=order), floors, left_out, dataset, steps
    )


def over_videos(drawn: np.ndarray) -> tuple[float, float]:
    """95 % interval of resamples [R]."""
    low, high = bootstrap.percentiles(drawn) or (np.nan, np.nan)
    return low, high


def tests_of(test: compare.Comparison | folds.Test) -> tuple[float, tuple[float, float], float]:
    """(p over seeds or folds, 95 % interval of the difference over videos, its p)."""
    if isinstance(test, folds.Test):
        return test.p_folds, test.interval, test.p_videos
    return test.t_p, test.bootstrap_interval, test.bootstrap_p


def rows_of_csv(page: Page) -> list[tuple[Any, ...]]:
    """Of comparison.csv."""
    found: list[tuple[Any, ...]] = []
    for model in page.models:
        for metric, measured in model.metrics.items():
            of_seeds = [(str(seed), value) for seed, value in enumerate(measured.values)]
            low, high = measured.interval
            rows = [*of_seeds, ("low", low), ("high", high)]
            if measured.test is not None:
                p, (low, high), p_videos = tests_of(measured.test)
                key = "p_folds" if isinstance(measured.test, folds.Test) else "p_seeds"
                rows += [(key, p), ("low_bootstrap", low), ("high_bootstrap", high)]
                rows.append(("p_bootstrap", p_videos))
            found += [(model.name, key, metric, value) for key, value in rows]
        cost = model.cost
        for name in ("parameters", "training_seconds", "frames_a_second"):
            found.append((model.name, "", name, getattr(cost, name)))
    found += [(name, "", "auc", value) for name, value in page.floors.items()]
    return found


def page_text(page: Page) -> str:
    """The page."""
    metrics = [page.metric, *(m for m in compare.METRICS if m != page.metric)]
    shown = [m.upper() for m in metrics]
    head = [*HEAD, shown[0], f"95 % of {shown[0]}, videos", shown[1], f"{shown[0]} less ours"]
    head += ["95 %, videos", "p, bootstrap", "p, t-test"]
    rows = [cells(model, metrics, page.base) for model in page.models]
    floors = sorted(page.floors.items(), key=lambda pair: -pair[1])
    for name, value in floors:
        row = [f"floor: {name.removeprefix(FLOOR)}", "", "", "", *[""] * (len(head) - len(HEAD))]
        row[head.index("AUC")] = compare.number(value)
        rows.append(row)
    parts = [
        f"# Comparison {page.title}",
        f"Ours: `{page.base}`, {page.steps}. Micro frame metrics of the last checkpoint, no"
        " normalisation, no smoothing; mean ± sd over seeds; intervals are 95 % over test videos."
        " Tests are paired with ours: a bootstrap over test videos, and a t-test over seeds (of"
        " folds: over these). Training: compilation and all steps, without evaluation; frames of"
        " video scored a second, reading included. Both were timed one model after another in one"
        " run.",
        markdown_table(head, rows),
    ]
    if page.left_out:
        parts.append("\n".join(f"- `{n}`: {why}" for n, why in page.left_out.items()))
    if quoted := reported(page.dataset):
        rows = [[r.method, r.metric, r.value, r.features, r.protocol] for r in quoted]
        parts.append(
            "## What papers report\n\nPer cent, on the whole official test split, each with its"
            " own protocol; not measured here, and not to be compared with the table above where"
            " the test videos differ."
        )
        parts.append(markdown_table(["method", "metric", "value", "features", "protocol"], rows))
    return "\n\n".join(parts) + "\n"


def cells(model: Model, metrics: Sequence[str], base: str) -> list[str]:
    """Of a row."""
    cost, first = model.cost, model.metrics[metrics[0]]
    measured = [report.cell(compare.spread(model.metrics[m].values)) for m in metrics]
    name = f"**`{base}`** (ours)" if model.name == base else f"`{model.name}`"
    training, speed = (f"{x:,.0f}" for x in (cost.training_seconds, cost.frames_a_second))
    row = [name, f"{cost.parameters:,}", training, speed]
    row += [measured[0], compare.between(first.interval), measured[1]]
    if first.test is None:
        return [*row, "", "", "", ""]
    p, interval, p_videos = tests_of(first.test)
    row += [compare.number(first.test.difference, True), compare.between(interval, True)]
    return [*row, compare.p_value(p_videos), compare.p_value(p)]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
