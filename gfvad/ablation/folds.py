"""An ablation by cross-validation: `gfvad ablate` of a config whose data has folds and that names
none. Each fold is an ablation of its own in DIR/foldK; what all say together is written beside.

The value of a setting is the mean over folds of the metric of a fold's frames: scores of models of
different folds share no scale, so they are not pooled. Two sources of chance, both paired with the
base: other test videos (bootstrap; videos are drawn within their fold, the same for all settings
and seeds) and other folds (t-test over folds of means over seeds, whose training parts overlap:
take its p as a guide, Dietterich 1998).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gfvad.ablation import report
from gfvad.ablation.arguments import Arguments, parse_sweep
from gfvad.ablation.groups import RESULTS, run_folder
from gfvad.base import run_files
from gfvad.base.files import write_table, write_text
from gfvad.base.types import DataError
from gfvad.measure import bootstrap
from gfvad.measure.compare import METRICS, Videos, between, bootstrap_p, number, p_value, paired_t
from gfvad.measure.results import read_results
from gfvad.tasks import task_of

CSV, MARKDOWN = "folds.csv", "folds.md"
COLUMNS = ("setting", "seed", "metric", "value")
FLOOR = "floor/"

Values = dict[str, np.ndarray]  # metric -> [folds, seeds]


class Joined(NamedTuple):
    """A setting over all folds."""

    values: Values
    resamples: Values  # metric -> [R], means over folds and seeds


class Compared(NamedTuple):
    """What a report of folds compares."""

    arguments: Arguments
    folds: Sequence[Arguments]  # one a fold
    joined: dict[str, Joined]  # setting -> over all folds, the base first
    floors: dict[str, list[float]]  # floor -> AUC in each fold


def wanted(arguments: Arguments) -> int:
    """How many folds a command line asks for; 0: it tests one part."""
    data = base_config(arguments).data
    folds = int(data.get("folds") or 0)
    return folds if folds and int(data.fold) < 0 and not arguments.group else 0


def base_config(arguments: Arguments):
    """The config of the base setting."""
    sweep = arguments.sweep
    return next(setting.config for setting in sweep.settings if setting.name == sweep.base)


def ablate(
    arguments: Arguments,
    of_fold: Callable[[Arguments], int],
    say: Callable[[str], None],
    then: Callable[[Compared], None] = lambda compared: None,
) -> int:
    """Each fold by of_fold, which goes on where it stopped, then the report, which `then` is given;
    returns the exit code of the first that is not 0."""
    count, workdir = wanted(arguments), arguments.workdir
    own = run_files.owned_ablation(workdir)
    own.claim({CSV, MARKDOWN, *own.known()})
    words = [word for word in arguments.command if not word.startswith("--workdir=")]
    folds = []
    for fold in range(count):
        say(f"fold {fold} of {count}")
        place = (f"--workdir={workdir / f'fold{fold}'}", f"--config.data.fold={fold}")
        folds.append(parse_sweep([*words, *place]))
        if code := of_fold(folds[-1]):
            return code
    then(write(arguments, folds))
    return 0


def write(arguments: Arguments, folds: Sequence[Arguments]) -> Compared:
    """Writes folds.csv and folds.md, and prints the page; returns what it shows."""
    joined = join(folds, arguments.resamples)
    base = arguments.sweep.base
    floors = read_floors(folds, base)
    own = run_files.owned_ablation(arguments.workdir)
    page = folds_page(arguments, joined, floors)
    with own.staged(last=MARKDOWN) as staging:
        write_table(staging / CSV, COLUMNS, [*lines(joined, base), *lines_of_floors(floors)])
        write_text(staging / MARKDOWN, page)
    print(page)
    return Compared(arguments, folds, joined, floors)


def join(folds: Sequence[Arguments], resamples: int) -> dict[str, Joined]:
    """Settings that are finished in every fold with every seed, the base first. Raises DataError
    where the base is not."""
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    drawn: dict[str, list[dict[str, np.ndarray]]] = {}
    for number_, fold in enumerate(folds):
        sweep, config = fold.sweep, base_config(fold)
        first = run_folder(fold.workdir, sweep.base, sweep.seeds[0])
        labels = task_of(config).frame_labels(first, config)
        videos = Videos(labels, resamples, seed=number_)
        for setting in sweep.settings:
            read = report.read(fold.workdir, setting, sweep.seeds, videos).runs
            if len(read) < len(sweep.seeds):
                continue
            runs = [read[seed] for seed in sweep.seeds]
            of = lambda runs, part: {m: [getattr(r, part)[m] for r in runs] for m in METRICS}
            values, resampled = of(runs, "values"), of(runs, "resamples")
            found.setdefault(setting.name, []).append(
                {m: np.array(values[m]) for m in METRICS}  # [seeds]
            )
            drawn.setdefault(setting.name, []).append(
                {m: np.mean(resampled[m], axis=0) for m in METRICS}  # [R]
            )
    base = folds[0].sweep.base
    whole = [name for name, parts in found.items() if len(parts) == len(folds)]
    if base not in whole:
        raise DataError(
            f"{folds[0].workdir.parent}: the base setting {base!r} is not finished in every fold"
            " with every seed; run the same command again"
        )
    stack = lambda parts: {m: np.array([part[m] for part in parts]) for m in METRICS}
    mean = lambda parts: {m: np.mean([part[m] for part in parts], axis=0) for m in METRICS}
    names = dict.fromkeys((base, *whole))
    return {name: Joined(stack(found[name]), mean(drawn[name])) for name in names}


class Test(NamedTuple):
    """A setting less the base."""

    difference: float
    p_folds: float
    interval: tuple[float, float]  # over videos
    p_videos: float


def against(one: Joined, base: Joined, metric: str) -> Test:
    """Paired tests over folds and over videos."""
    own, other = one.values[metric].mean(1), base.values[metric].mean(1)
    differences = one.resamples[metric] - base.resamples[metric]
    low, high = bootstrap.percentiles(differences) or (np.nan, np.nan)
    p = bootstrap_p(differences)
    return Test(float((own - other).mean()), paired_t(own, other)[0], (low, high), p)


def lines(joined: dict[str, Joined], base: str) -> list[tuple]:
    """Of folds.csv: each seed's mean over folds, each fold's mean over seeds, and the tests."""
    found: list[tuple] = []
    for (name, one), metric in ((pair, m) for pair in joined.items() for m in METRICS):
        values = one.values[metric]
        rows = [(str(seed), v) for seed, v in enumerate(values.mean(0))]
        rows += [(f"fold {fold}", v) for fold, v in enumerate(values.mean(1))]
        if name != base:
            test = against(one, joined[base], metric)
            rows += [("p_folds", test.p_folds), ("p_bootstrap", test.p_videos)]
            rows += [("low_bootstrap", test.interval[0]), ("high_bootstrap", test.interval[1])]
        found += [(name, key, metric, float(value)) for key, value in rows]
    return found


def read_floors(folds: Sequence[Arguments], base: str) -> dict[str, list[float]]:
    """Floor -> its AUC in each fold, as the base's first run names them."""
    found: dict[str, list[float]] = {}
    for fold in folds:
        folder = run_folder(fold.workdir, base, fold.sweep.seeds[0])
        named = read_results(folder / RESULTS).get("named", {})
        for name, value in named.items():
            if name.startswith(FLOOR) and isinstance(value, float):
                found.setdefault(name, []).append(value)
    return {name: values for name, values in found.items() if len(values) == len(folds)}


def lines_of_floors(floors: dict[str, list[float]]) -> list[tuple]:
    """Of folds.csv: mean and folds of each floor."""
    found: list[tuple] = []
    for name, values in floors.items():
        rows = [("mean", float(np.mean(values))), ("n", 1)]
        rows += [(f"fold {fold}", value) for fold, value in enumerate(values)]
        found += [(name, key, "auc", value) for key, value in rows]
    return found


def folds_page(
    arguments: Arguments, joined: dict[str, Joined], floors: dict[str, list[float]]
) -> str:
    """The page."""
    sweep, config = arguments.sweep, base_config(arguments)
    folds, seeds = next(iter(joined.values())).values["auc"].shape
    page = [
        f"# Folds {sweep.name}: {config.data.dataset}, {config.data.test_name}",
        "",
        f"Base: `{sweep.base}`; {folds} folds, {seeds} seeds from {sweep.seeds[0]}. Mean over folds"
        " of the micro frame metric of a fold, last checkpoint, no normalisation, no smoothing;"
        " mean ± sd over seeds. Tests are paired with the base: a bootstrap over the test videos,"
        f" drawn within their fold ({arguments.resamples} resamples), and a t-test over folds.",
        "",
    ]
    for metric in METRICS:
        head = ["setting", "mean ± sd", "of each fold", "difference", "95 %, videos"]
        head += ["p, bootstrap", "p, t-test over folds"]
        page += [f"## {metric.upper()}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        rest = sorted(list(joined)[1:], key=lambda name: -joined[name].values[metric].mean())
        for name in (sweep.base, *rest):
            values = joined[name].values[metric]
            cells = [f"`{name}`", number(float(values.mean()))]
            if seeds > 1:
                cells[1] += f" ± {number(float(values.mean(0).std(ddof=1)))}"
            cells.append(", ".join(number(float(v)) for v in values.mean(1)))
            if name != sweep.base:
                test = against(joined[name], joined[sweep.base], metric)
                cells += [number(test.difference, True), between(test.interval, True)]
                cells += [p_value(test.p_videos), p_value(test.p_folds)]
            page.append(f"| {' | '.join([*cells, *[''] * (len(head) - len(cells))])} |")
        page.append("")
    if floors:
        page += ["## Floors, AUC", "", "| floor | mean | of each fold |", "|---|---|---|"]
        for name, values in sorted(floors.items(), key=lambda pair: -np.mean(pair[1])):
            told = ", ".join(map(number, values))
            page.append(
                f"| {name.removeprefix(FLOOR)} | {number(float(np.mean(values)))} | {told} |"
            )
        page.append("")
    return "\n".join(page).rstrip() + "\n"
