"""What a sweep found: ablation.csv, one line a setting, seed and metric; ablation.md, one line a
setting with paired tests against the base."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.ablation import plots
from gfvad.ablation.groups import FAILED, RESULTS, run_folder
from gfvad.ablation.sweep import Setting, Sweep
from gfvad.base import run_files
from gfvad.base.files import read_json_lines, write_table, write_text
from gfvad.base.types import DataError
from gfvad.measure import compare
from gfvad.measure.compare import Comparison, Resampled, Spread, Videos, between, number, p_value
from gfvad.measure.results import read_results, read_scores
from gfvad.tasks import task_of

CSV, MARKDOWN = "ablation.csv", "ablation.md"
FILES = (CSV, MARKDOWN)
COLUMNS = (
    "setting",
    "seed",
    "metric",
    "aggregation",
    "normalisation",
    "smoothing",
    "checkpoint",
    "value",
)
# of the log's rows -> name in the table
VIDEO_LEVEL = {"auc": "validation_auc", "ap": "validation_ap", "loss": "validation_loss"}
SPELT = 6  # differing keys named in a line


class Found(NamedTuple):
    """The finished runs of one setting."""

    setting: Setting
    runs: dict[int, Resampled]  # seed -> the test set and its resamples
    # seed -> {auc, ap, loss} of held-out training videos at the last step
    validation: dict[int, dict[str, float]]
    failed: tuple[int, ...]  # seeds whose training broke off
    lines: list[tuple]  # of the CSV file


class Compared(NamedTuple):
    """What a report compares."""

    sweep: Sweep
    data: str  # dataset and split
    label: str  # what the base reads
    found: Sequence[Found]
    against: Found  # the base
    resamples: int
    videos: int  # of the test split, with labels


def write(
    sweep: Sweep,
    workdir: Path,
    dataset: str,
    resamples: int,
    say: Callable[[str], None],
) -> None:
    """Writes ablation.csv, ablation.md and the figures, and prints the table. Raises DataError
    where no run of the base is finished."""
    base = next(setting for setting in sweep.settings if setting.name == sweep.base)
    folders = [run_folder(workdir, base.name, seed) for seed in sweep.seeds]
    finished = next((folder for folder in folders if (folder / RESULTS).is_file()), None)
    if finished is None:
        raise DataError(
            f"{workdir}: no run of the base setting {sweep.base!r} is finished; run the same"
            " command again"
        )
    labels = task_of(base.config).frame_labels(finished, base.config)
    videos = Videos(labels, resamples)
    say(
        f"comparing {len(sweep.settings)} settings, {resamples} resamples of {len(videos.labels)}"
        " test videos"
    )
    found = [read(workdir, setting, sweep.seeds, videos) for setting in sweep.settings]
    against = next(one for one in found if one.setting.name == sweep.base)
    own = run_files.owned_ablation(workdir)
    metric = base.config.eval.metric
    drawn = plots.draw(
        workdir / "figures",
        dataset,
        sweep,
        {one.setting.name: values(one, metric) for one in found},
        metric,
    )
    label = read_results(finished / RESULTS)["label"]
    compared = Compared(
        sweep,
        f"{dataset}, {base.config.data.test_name}",
        label.removesuffix(f" ({base.config.variant})"),
        found,
        against,
        resamples,
        len(videos.labels),
    )
    page = markdown(compared, [path.relative_to(workdir) for path in drawn])
    with own.staged(last=MARKDOWN) as staging:
        write_csv(staging / CSV, found)
        write_text(staging / MARKDOWN, page)
    own.finish(path.relative_to(workdir).as_posix() for path in drawn)
    print(page)
    print(f"table    {workdir / CSV}, {workdir / MARKDOWN}\nfigures  {', '.join(map(str, drawn))}")


def read(workdir: Path, setting: Setting, seeds: Sequence[int], videos: Videos) -> Found:
    """The finished runs of a setting among the sweep's seeds."""
    runs, validation, failed, lines = {}, {}, [], []
    for seed in seeds:
        folder = run_folder(workdir, setting.name, seed)
        if (folder / FAILED).is_file():
            failed.append(seed)
        if not (folder / RESULTS).is_file():
            continue
        runs[seed] = videos.resample(read_scores(folder / "scores.npz"), str(folder))
        tree = read_results(folder / RESULTS)
        lines += [(setting.name, seed, *(r[key] for key in COLUMNS[2:])) for r in tree["records"]]
        if of_last := last_validation(folder):
            validation[seed] = of_last
            lines += [
                (setting.name, seed, name, "video", "none", "none", "last", of_last[key])
                for key, name in VIDEO_LEVEL.items()
                if key in of_last
            ]
    return Found(setting, runs, validation, tuple(failed), lines)


def last_validation(folder: Path) -> dict[str, float]:
    """The last row of validation in a run's log; {} where there is no validation part."""
    path = folder / "metrics.jsonl"
    lines = (
        read_json_lines(path, "the log of a run", torn=True, finite=False) if path.is_file() else ()
    )
    rows = [row for _, row in lines]
    return next((row for row in reversed(rows) if row.get("kind") == "validation"), {})


def write_csv(path: Path, found: Sequence[Found]) -> None:
    """Tidy: one line a setting, seed and metric (and protocol); an undefined value is empty."""
    write_table(
        path,
        COLUMNS,
        [["" if cell is None else cell for cell in line] for one in found for line in one.lines],
    )


def values(one: Found, metric: str) -> list[float]:
    """A metric of the finished runs of a setting, in the order of their seeds."""
    return [one.runs[seed].values[metric] for seed in sorted(one.runs)]


def markdown(compared: Compared, drawn: Sequence[Path]) -> str:
    """The page: what was compared, a table a metric, what each setting is, what is missing,
    figures."""
    sweep, against, videos = compared.sweep, compared.against, compared.videos
    config, found = against.setting.config, compared.found
    first = config.eval.metric
    lines = [f"# Ablation {sweep.name}: {compared.data}", ""]
    lines += [
        (
            f"Base: `{sweep.base}`, {compared.label}; {config.train.steps}"
            f" steps; {len(sweep.seeds)} seeds asked for, from {sweep.seeds[0]}. Micro frame"
            " metrics of the last checkpoint, no normalisation, no smoothing; intervals are 95 %:"
            " of the mean over seeds by t, of differences beside each test. Tests are paired with"
            f" the base: a t-test over seeds, and a bootstrap over the {videos} test videos"
            f" ({compared.resamples} resamples) of the difference between means over seeds. Each p stands"
            " for itself: with many settings some are small by chance."
        ),
        "",
    ]
    lines += [f"{note[0].upper()}{note[1:]}.", ""] if (note := compare.caveat(videos)) else []
    kinds = [
        np.isfinite(run.resamples[compare.OF_VIDEOS]).all()
        and np.isfinite(run.values[compare.OF_VIDEOS])
        for one in found
        for run in one.runs.values()
    ]
    for metric in (
        first,
        *(m for m in compare.METRICS if m != first),
        *([compare.OF_VIDEOS] if all(kinds) else []),
    ):
        title = (
            "AUC of whole videos by their peaks" if metric == compare.OF_VIDEOS else metric.upper()
        )
        lines += [f"## {title}", "", *table(found, against, metric), ""]
    lines += [
        "## Settings",
        "",
        *(f"- `{one.setting.name}`: {differing(one.setting.differs)}" for one in found),
    ]
    lines += [f"- `{name}`: left out, {why}" for name, why in sweep.left_out.items()]
    lines += ["", *missing(sweep, found)]
    lines += [f"![{path.stem}]({path.as_posix()})" for path in drawn]
    return "\n".join(lines).rstrip() + "\n"


def table(found: Sequence[Found], against: Found, metric: str) -> list[str]:
    """Markdown lines of one metric, the base first, the others from the best down."""
    validated = any("auc" in v for one in found for v in one.validation.values())
    head = [
        "setting",
        "seeds",
        "mean ± sd",
        "95 %",
        "difference",
        "95 %, seeds",
        "p, t-test",
        "95 %, videos",
        "p, bootstrap",
    ]
    head += ["validation AUC, videos"] if validated else []
    rest = sorted(
        (one for one in found if one is not against and one.runs),
        key=lambda one: -np.mean(values(one, metric)),
    )
    lines = [head, ["---"] * len(head)]
    for one in (against, *rest):
        result = None if one is against else compare.compare(one.runs, against.runs, metric)
        cells = row(one, compare.spread(values(one, metric)), result)
        lines.append(
            cells
            + (
                [cell([v["auc"] for v in one.validation.values() if "auc" in v])]
                if validated
                else []
            )
        )
    return [f"| {' | '.join(line)} |" for line in lines]


def row(one: Found, s: Spread, result: Comparison | None) -> list[str]:
    """Cells of one setting; result: None of the base itself."""
    name = f"`{one.setting.name}`"
    first = [
        f"**{name}** (base)" if result is None else name,
        str(s.count),
        cell(values=None, s=s),
        between(s.interval),
    ]
    if result is None:
        return first + ["", "", "", "", ""]
    return first + [
        number(result.difference, True),
        between(result.t_interval, True),
        p_value(result.t_p),
        between(result.bootstrap_interval, True),
        p_value(result.bootstrap_p),
    ]


def cell(values: Sequence[float] | None, s: Spread | None = None) -> str:
    """'0.8511 ± 0.0051'; '-' of none."""
    s = s or compare.spread(values or ())
    return (
        "-"
        if not s.count
        else number(s.mean) + ("" if np.isnan(s.deviation) else f" ± {number(s.deviation)}")
    )


def differing(differs: Mapping[str, Any]) -> str:
    """What a setting has other than the base."""
    if not differs:
        return "the config as it is"
    spelt = [f"{key} = {value!r}" for key, value in list(differs.items())[:SPELT]]
    return ", ".join(spelt) + (f" and {len(differs) - SPELT} more" if len(differs) > SPELT else "")


def missing(sweep: Sweep, found: Sequence[Found]) -> list[str]:
    """What of the sweep is not there, or failed."""
    lines = []
    for one in found:
        lacking = sorted(set(sweep.seeds) - set(one.runs) - set(one.failed))
        if one.failed:
            lines.append(
                f"`{one.setting.name}`: a loss or gradient was not a finite number in seeds"
                f" {', '.join(map(str, one.failed))} (failed.json says when)."
            )
        if lacking:
            lines.append(
                f"`{one.setting.name}`: seeds {', '.join(map(str, lacking))} are not finished."
            )
    return lines + ([""] if lines else [])
