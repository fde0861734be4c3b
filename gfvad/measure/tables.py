"""The readable result: headline first, then the matrix, for the terminal (rich) and as Markdown.
Input is the tree of results.json."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gfvad.measure import bootstrap, whole_clips
from gfvad.measure.metrics import RANKING

TITLES = {
    "pixel_auc": "pixel AUC",
    "pixel_criterion_auc": "pixel-level criterion AUC",
    "pixel_criterion_eer": "pixel-level criterion EER",
    "rbdc": "RBDC",
    "tbdc": "TBDC",
    "rbdc_interpolated": "RBDC, interpolated",
    "tbdc_interpolated": "TBDC, interpolated",
    "auc": "AUC",
    "ap": "AP",
    "pr_trapezoid": "PR-trapezoid",
    "eer": "EER",
    "auc_abnormal": "AUC, abnormal videos only",
    "auc_video": "AUC, whole videos by their peaks",
    "clip_recall": "abnormal clips with an alarm (recall)",
    "clip_false_alarms": "normal clips with an alarm (false alarms)",
}
SHORT = {"auc": "AUC", "ap": "AP", "pr_trapezoid": "PR-trap", "eer": "EER"}
NORMALISED = {"none": "none", "minmax": "min-max/video", "train": "train stats"}
WIDTH = 110  # columns where the output is no terminal
INTERVAL_WIDTH = 100  # a narrower terminal gets the values without intervals
PROTOCOL = ["checkpoint", "over", "normalised", "smoothed"]
NOT_A_RESULT = "weights chosen on the test labels, as some papers do; not a result"


class Section(NamedTuple):
    """One table: rows of cells under a header; `marked` is the index of the headline's row, -1
    for none."""

    title: str
    header: list[str]
    rows: list[list[str]]
    marked: int


def title(metric: str) -> str:
    """Readable name of a record's metric."""
    if metric.startswith("class_ap/"):
        return f"AP of {metric.removeprefix('class_ap/')}"
    if metric.startswith("map@"):
        return f"mAP@IoU {metric.removeprefix('map@')}"
    if metric.startswith("far@"):
        return f"false alarms at {metric.removeprefix('far@')}, normal videos"
    return TITLES.get(metric, metric)


def number(value: float | None, ci95: Sequence[float] | None = None) -> str:
    """'0.7900 .755-.820'; 'undefined' for None."""
    if value is None:
        return "undefined"
    return f"{value:.4f}" + (
        " " + "-".join(f"{end:.3f}".removeprefix("0") for end in ci95) if ci95 else ""
    )


def protocol(record: Mapping[str, Any]) -> tuple[str, ...]:
    """(checkpoint, aggregation, normalisation, smoothing), readable; the columns of PROTOCOL."""
    return (
        record["checkpoint"],
        record["aggregation"],
        NORMALISED[record["normalisation"]],
        record["smoothing"],
    )


def below_floor(results: Mapping[str, Any]) -> str:
    """'BELOW ITS FLOOR: ...' where the headline is lower than the best of the floors that were
    measured beside it on the same frames; '' where it is not."""
    head, named = results["headline"], results.get("named") or {}
    floors = {n: x for n, x in named.items() if n.startswith("floor/") and ", " not in n and x}
    if head["metric"] != "auc" or head["value"] is None or not floors:
        return ""
    best = max(floors, key=lambda name: floors[name])
    if floors[best] <= head["value"]:
        return ""
    command = (results.get("floor_commands") or {}).get(best)
    return (
        f"BELOW ITS FLOOR: {best.removeprefix('floor/')} alone has AUC {number(floors[best])},"
        f" this model {number(head['value'])}" + (f"; {command}" if command else "")
    )


def headline_lines(results: Mapping[str, Any]) -> list[str]:
    """What was measured, on what, by what: every result line's names."""
    head, clips, on = (
        results["headline"],
        whole_clips.first(results),
        f"{results['dataset']} {results['split']}:",
    )
    checkpoint, aggregation, normalisation, smoothing = protocol(head)
    truth = f" ({results['ground_truth']})" if results.get("ground_truth") else ""
    interval = " (95 % interval {:.3f}-{:.3f})".format(*head["ci95"]) if head["ci95"] else ""
    lines = clip_lines(results) + [
        (
            f"{'frames:' if clips else 'HEADLINE  ' + on} {title(head['metric'])}"
            f" {number(head['value'])}{interval}"
        ),
        (
            f"{aggregation}, normalisation {normalisation}, smoothing {smoothing}, checkpoint"
            f" {checkpoint}"
        ),
        (
            f"{results['n_videos']:,} videos, {results['ground_truth_frames']:,} frames{truth};"
            f" seed {results['seed']}, config {results['config_hash']}, code"
            f" {results['code_version']}, {results['device']}, {results['wall_seconds']:.0f} s"
        ),
    ]
    if below := below_floor(results):
        lines.insert(0, below)
    bayes = results.get("bayes_optimal") or {}
    if bayes:
        lines.append(
            "Bayes-optimal scorer of this simulated set: "
            + ", ".join(f"{title(m)} {number(v)}" for m, v in bayes.items())
        )
    if "simulated" in results["dataset"]:
        lines.append("SIMULATED data: these numbers say nothing about the real set.")
    return lines


def clip_lines(results: Mapping[str, Any]) -> list[str]:
    """Where every video is wholly of one class: clips before frames. Else []."""
    clips = {r["metric"]: r for r in whole_clips.first(results)}
    if not clips:
        return []
    at = [r for m, r in clips.items() if m in whole_clips.AT_THRESHOLD]
    parts = [
        f"clip {title(m)} {number(r['value'])}"
        for m, r in clips.items()
        if m == whole_clips.CLIP_AUC
    ]
    parts += [
        f"{'recall' if r['metric'] == 'clip_recall' else 'false alarms'} {number(r['value'])}"
        for r in at
    ]
    return [
        f"HEADLINE  {results['dataset']} {results['split']}: {', '.join(parts)}",
        (
            "every video is wholly normal or wholly abnormal: macro, min-max and mAP say nothing of"
            " such clips and are left out"
        ),
        f"alarm threshold {at[0]['threshold']:.4g} ({at[0]['threshold_rule']})",
    ]


def matrix_rows(records: Sequence[Mapping[str, Any]], intervals: bool) -> list[list[str]]:
    """Records of the ranking metrics -> a row (PROTOCOL, then RANKING) a protocol, in order."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for r in records:
        if r["metric"] in RANKING:
            # four intervals are too wide for a terminal; results.json has all of them
            shown = r["ci95"] if intervals and r["metric"] in ("auc", "ap") else None
            rows.setdefault(protocol(r), {})[r["metric"]] = number(r["value"], shown)
    return [[*key, *(cells.get(metric, "-") for metric in RANKING)] for key, cells in rows.items()]


def clip_section(name: str, records: Sequence[Mapping[str, Any]]) -> Section:
    """Records of whole clips (`whole_clips.first`): a row a metric."""
    cells = [
        [title(r["metric"]), number(r["value"], r["ci95"]), f"{r['n_videos']:,}"] for r in records
    ]
    return Section(name, ["metric", "value", "clips"], cells, -1)


def other_section(
    name: str,
    records: Sequence[Mapping[str, Any]],
    intervals: bool,
    shown_before: Sequence[Mapping[str, Any]] = (),
) -> Section:
    """Records besides the ranking metrics: a row a metric, a column a checkpoint."""
    checkpoints = list(dict.fromkeys(r["checkpoint"] for r in records))
    rows: dict[str, dict[str, str]] = {}
    for r in records:
        if r["metric"] not in RANKING and r not in shown_before:
            label = title(r["metric"]) + (
                f", smoothed {r['smoothing']}" if r["smoothing"] != "none" else ""
            )
            rows.setdefault(label, {})[r["checkpoint"]] = number(
                r["value"], r["ci95"] if intervals else None
            )
    cells = [[label, *(found.get(c, "-") for c in checkpoints)] for label, found in rows.items()]
    return Section(name, ["metric", *checkpoints], cells, -1)


def sections(results: Mapping[str, Any], intervals: bool = True) -> list[Section]:
    """The whole matrix for the headline's checkpoint, the plain protocol for other ones, what
    else was measured, and extras."""
    head, on = results["headline"], f"{results['dataset']} {results['split']}"
    header = [*PROTOCOL, *(SHORT[m] for m in RANKING)]
    is_plain = lambda r: all(r[k] == head[k] for k in ("aggregation", "normalisation", "smoothing"))
    matrix = matrix_rows(
        [r for r in results["records"] if r["checkpoint"] == head["checkpoint"]], intervals
    )
    # runs of earlier versions do not say it: they have percentiles, however few the videos
    kind = bootstrap.method(head["n_videos"]) if results.get("ci_method") else bootstrap.METHODS[1]
    note = f", 95 % interval over videos ({kind})" if intervals and head["ci95"] else ""
    marked = next(i for i, row in enumerate(matrix) if tuple(row[:4]) == protocol(head))
    clips = whole_clips.first(results)
    found = [clip_section(f"{on}: whole clips, at the run's alarm threshold", clips)]
    found.append(Section(f"{on}: every protocol{note}", header, matrix, marked))
    others = matrix_rows(
        [r for r in results["records"] if r["checkpoint"] != head["checkpoint"] and is_plain(r)],
        intervals,
    )
    found.append(
        Section(f"{on}: other checkpoints (chosen without the test split)", header, others, -1)
    )
    found.append(
        other_section(
            f"{on}: besides (micro, not normalised)", results["records"], intervals, clips
        )
    )
    extras = matrix_rows([r for r in results["extras"] if is_plain(r)], intervals)
    found.append(Section(f"{on}: EXTRA, {NOT_A_RESULT}", header, extras, -1))
    found += [
        Section(f"{on}: {t['title']}", t["header"], t["rows"], -1)
        for t in results.get("tables", ())
    ]
    return [section for section in found if section.rows]


def print_table(results: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints headline, matrix and extras. Where the output is no terminal, lines are at most
    WIDTH columns and free of colour."""
    if console is None:
        console = (
            Console()
            if sys.stdout.isatty()
            else Console(width=WIDTH, no_color=True, highlight=False)
        )
    first, *rest = headline_lines(results)
    console.print(Text(first, style="bold"))
    for line in rest:
        console.print(
            Padding(
                Text(line, style="bold yellow" if line.startswith("SIMULATED") else ""),
                (0, 0, 0, 10),
            )
        )
    for section in sections(results, console.width >= INTERVAL_WIDTH):
        heading = Text(section.title, style="italic")
        table = Table(
            title=heading,
            title_justify="left",
            box=SIMPLE_HEAD,
            pad_edge=False,
            show_edge=False,
            padding=(0, 1, 0, 0),
        )
        console.print()
        for column in ["", *section.header]:
            table.add_column(column, no_wrap=column in PROTOCOL)
        for i, row in enumerate(section.rows):
            table.add_row(
                ">" if i == section.marked else "",
                *(Text(cell) for cell in row),
                style="bold" if i == section.marked else "",
            )
        console.print(table)


def as_text(results: Mapping[str, Any], width: int = WIDTH) -> str:
    """What `print_table` prints, as plain text of at most `width` columns."""
    buffer = io.StringIO()
    print_table(results, Console(file=buffer, width=width, no_color=True, highlight=False))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def markdown(results: Mapping[str, Any]) -> str:
    """The same tables in Markdown, the headline's row in bold."""
    first, *rest = headline_lines(results)
    parts = [f"**{first}**  ", "  \n".join(rest)]
    for section in sections(results):
        bold = lambda i, cell: f"**{cell}**" if i == section.marked else cell  # noqa: B023, E731
        lines = [
            section.header,
            ["---"] * len(section.header),
            *([bold(i, markdown_cell(c)) for c in row] for i, row in enumerate(section.rows)),
        ]
        parts.append(
            f"\n{section.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)
        )
    return "\n".join(parts) + "\n"


def markdown_cell(text: str) -> str:
    """Text (a video may be called anything) as a cell of a Markdown table: it ends no cell and
    no line, and is no HTML."""
    return re.sub(
        r"<(?=[A-Za-z/!?])", "&lt;", text.replace("|", "\\|").replace("\n", " ").replace("\r", " ")
    )
