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
from gfvad.base.names import first_of
from gfvad.base.types import DataError
from gfvad.measure import compare
from gfvad.measure.results import read_results, read_scores
from gfvad.tasks import task_of

CSV, MARKDOWN = "ablation.csv", "ablation.md"
FILES = (CSV, MARKDOWN)
PROTOCOL = ("metric", "aggregation", "normalisation", "smoothing", "checkpoint", "value")
COLUMNS = ("setting", "seed", *PROTOCOL)
# of the log's rows -> name in the table
VIDEO_LEVEL = {"auc": "validation_auc", "ap": "validation_ap", "loss": "validation_loss"}
OF_ONE = ["setting", "seeds", "mean ± sd", "95 %"]  # columns of the page
OF_TESTS = ["difference", "95 %, seeds", "p, t-test", "95 %, videos", "p, bootstrap"]
SPELT = 6  # differing keys named in a line


class Found(NamedTuple):
    """The finished runs of one setting."""

    setting: Setting
    runs: dict[int, compare.Resampled]  # seed -> the test set and its resamples
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


def write_report(
    sweep: Sweep, workdir: Path, dataset: str, resamples: int, say: Callable[[str], None]
) -> Compared:
    """Writes ablation.csv, ablation.md and the figures, and prints the table; returns what it
    shows. Raises DataError where no run of the base is finished."""
    base = next(setting for setting in sweep.settings if setting.name == sweep.base)
    config, own = base.config, run_files.owned_ablation(workdir)
    folders = [run_folder(workdir, base.name, seed) for seed in sweep.seeds]
    finished = next((folder for folder in folders if (folder / RESULTS).is_file()), None)
    if finished is None:
        raise DataError(
            f"{workdir}: no run of the base setting {sweep.base!r} is finished; run the same"
            " command again"
        )
    videos = compare.Videos(task_of(config).frame_labels(finished, config), resamples)
    count = len(videos.labels)
    say(f"comparing {len(sweep.settings)} settings, {resamples} resamples of {count} test videos")
    found = [read(workdir, setting, sweep.seeds, videos) for setting in sweep.settings]
    against = next(one for one in found if one.setting.name == sweep.base)
    drawn = plots.draw(
        workdir / "figures",
        dataset,
        sweep,
        {one.setting.name: values(one, config.eval.metric) for one in found},
        config.eval.metric,
    )
    data = f"{dataset}, {config.data.test_name}"
    label = read_results(finished / RESULTS)["label"].removesuffix(f" ({config.variant})")
    compared = Compared(sweep, data, label, found, against, resamples, count)
    page = markdown(compared, [path.relative_to(workdir) for path in drawn])
    lines = [["" if x is None else x for x in line] for one in found for line in one.lines]
    with own.staged(last=MARKDOWN) as staging:
        write_table(staging / CSV, COLUMNS, lines)  # an undefined value is empty
        write_text(staging / MARKDOWN, page)
    own.finish(path.relative_to(workdir).as_posix() for path in drawn)
    print(page)
    print(f"table    {workdir / CSV}, {workdir / MARKDOWN}\nfigures  {', '.join(map(str, drawn))}")
    return compared


def read(workdir: Path, setting: Setting, seeds: Sequence[int], videos: compare.Videos) -> Found:
    """The finished runs of a setting among the sweep's seeds."""
    runs, validation, failed, lines = {}, {}, [], []
    for seed in seeds:
        folder = run_folder(workdir, setting.name, seed)
        if (folder / FAILED).is_file():
            failed.append(seed)
        if not (folder / RESULTS).is_file():
            continue
        runs[seed] = videos.resample(read_scores(folder / "scores.npz"), str(folder))
        records = read_results(folder / RESULTS)["records"]
        lines += [(setting.name, seed, *(r[key] for key in PROTOCOL)) for r in records]
        if of_last := last_validation(folder):
            validation[seed] = of_last
            about = "video", "none", "none", "last"
            known = [(name, of_last[k]) for k, name in VIDEO_LEVEL.items() if k in of_last]
            lines += [(setting.name, seed, name, *about, value) for name, value in known]
    return Found(setting, runs, validation, tuple(failed), lines)


def last_validation(folder: Path) -> dict[str, float]:
    """The last row of validation in a run's log; {} where there is no validation part."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return {}
    lines = read_json_lines(path, "the log of a run", torn=True, finite=False)
    rows = [row for _, row in lines if row.get("kind") == "validation"]
    return rows[-1] if rows else {}


def values(one: Found, metric: str) -> list[float]:
    """A metric of the finished runs of a setting, in the order of their seeds."""
    return [one.runs[seed].values[metric] for seed in sorted(one.runs)]


def markdown(compared: Compared, drawn: Sequence[Path]) -> str:
    """The page: what was compared, a table a metric, what each setting is, what is missing,
    figures."""
    sweep, against, videos = compared.sweep, compared.against, compared.videos
    config, found = against.setting.config, compared.found
    first = config.eval.metric
    lines = [
        f"# Ablation {sweep.name}: {compared.data}",
        "",
        f"Base: `{sweep.base}`, {compared.label}; {config.train.steps}"
        f" steps; {len(sweep.seeds)} seeds asked for, from {sweep.seeds[0]}. Micro frame"
        " metrics of the last checkpoint, no normalisation, no smoothing; intervals are 95 %:"
        " of the mean over seeds by t, of differences beside each test. Tests are paired with"
        f" the base: a t-test over seeds, and a bootstrap over the {videos} test videos"
        f" ({compared.resamples} resamples) of the difference between means over seeds. Each p"
        " stands for itself: with many settings some are small by chance.",
        "",
    ]
    if note := compare.caveat(videos):
        lines += [f"{note[0].upper()}{note[1:]}.", ""]
    titles = {metric: metric.upper() for metric in (first, *compare.METRICS)}
    runs = [run for one in found for run in one.runs.values()]
    if all(
        np.isfinite([*r.resamples[compare.OF_VIDEOS].ravel(), r.values[compare.OF_VIDEOS]]).all()
        for r in runs
    ):
        titles[compare.OF_VIDEOS] = "AUC of whole videos by their peaks"
    for metric, title in titles.items():
        lines += [f"## {title}", "", *metric_table(found, against, metric), ""]
    lines += ["## Settings", ""]
    lines += [f"- `{one.setting.name}`: {differing(one.setting.differs)}" for one in found]
    lines += [f"- `{name}`: left out, {why}" for name, why in sweep.left_out.items()]
    lines += ["", *missing(sweep, found)]
    lines += [f"![{path.stem}]({path.as_posix()})" for path in drawn]
    return "\n".join(lines).rstrip() + "\n"


def metric_table(found: Sequence[Found], against: Found, metric: str) -> list[str]:
    """Markdown lines of one metric, the base first, the others from the best down."""
    validated = any("auc" in v for one in found for v in one.validation.values())
    rest = [one for one in found if one is not against and one.runs]
    rest.sort(key=lambda one: -np.mean(values(one, metric)))
    head = [*OF_ONE, *OF_TESTS, *["validation AUC, videos"] * validated]
    lines = [head, ["---"] * len(head)]
    for one in (against, *rest):
        result = None if one is against else compare.compare(one.runs, against.runs, metric)
        cells = row(one, compare.spread(values(one, metric)), result)
        known = [v["auc"] for v in one.validation.values() if "auc" in v]
        lines.append([*cells, cell(compare.spread(known))] if validated else cells)
    return [f"| {' | '.join(line)} |" for line in lines]


def row(one: Found, s: compare.Spread, result: compare.Comparison | None) -> list[str]:
    """Cells of one setting; result: None of the base itself."""
    name, measured = f"`{one.setting.name}`", [str(s.count), cell(s), compare.between(s.interval)]
    if result is None:
        return [f"**{name}** (base)", *measured, *[""] * len(OF_TESTS)]
    return [
        name,
        *measured,
        compare.number(result.difference, True),
        compare.between(result.t_interval, True),
        compare.p_value(result.t_p),
        compare.between(result.bootstrap_interval, True),
        compare.p_value(result.bootstrap_p),
    ]


def cell(s: compare.Spread) -> str:
    """'0.8511 ± 0.0051'; '-' of none."""
    if not s.count:
        return "-"
    return compare.number(s.mean) + (
        "" if np.isnan(s.deviation) else f" ± {compare.number(s.deviation)}"
    )


def differing(differs: Mapping[str, Any]) -> str:
    """What a setting has other than the base."""
    if not differs:
        return "the config as it is"
    return first_of([f"{key} = {value!r}" for key, value in differs.items()], SPELT)


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
