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

from gfvad.measure import bootstrap, paired, whole_clips
from gfvad.measure.metrics import RANKING
from gfvad.measure.results import NO_TEST, is_evaluated

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
    "latency_ap": "AP, latency-aware",
    "brier": "Brier score (lower is better)",
    "ece": "expected calibration error (lower is better)",
    "clip_recall": "abnormal clips with an alarm (recall)",
    "clip_false_alarms": "normal clips with an alarm (false alarms)",
}
STARTS = {  # how a metric's name begins -> what is shown, with its rest
    "class_ap/": "AP of {}",
    "map@": "mAP@IoU {}",
    "far@": "false alarms at {}, normal videos",
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
    for start, shown in STARTS.items():
        if metric.startswith(start):
            return shown.format(metric.removeprefix(start))
    return TITLES.get(metric, metric)


def number(value: float | None, ci95: Sequence[float] | None = None) -> str:
    """'0.7900 .755-.820'; 'undefined' for None."""
    if value is None:
        return "undefined"
    ends = "-".join(f"{end:.3f}".removeprefix("0") for end in ci95 or ())
    return f"{value:.4f}" + (f" {ends}" if ends else "")


def protocol(record: Mapping[str, Any]) -> tuple[str, ...]:
    """(checkpoint, aggregation, normalisation, smoothing), readable; the columns of PROTOCOL."""
    normalised = NORMALISED[record["normalisation"]]
    return record["checkpoint"], record["aggregation"], normalised, record["smoothing"]


def below_floor(results: Mapping[str, Any]) -> str:
    """'BELOW ITS FLOOR: ...' where the headline is lower than the best of the floors that were
    measured beside it on the same frames (of whole clips: on the same clips); '' where it is
    not."""
    head, start, what = results["headline"], "floor/", "AUC"
    clips = whole_clips.first(results) if results.get("records") else []
    if clips := [r for r in clips if r["metric"] == whole_clips.CLIP_AUC]:
        head, start, what = clips[0], "floor, auc_video/", "clip AUC"
    named = results.get("named") or {}
    floors = {n: x for n, x in named.items() if n.startswith(start) and x}
    # 'floor/X, TRUTH' is the floor X by another ground truth
    floors = {n: x for n, x in floors.items() if n.rsplit(", ", 1)[0] not in {*floors} - {n}}
    ranked = ("auc", whole_clips.CLIP_AUC)
    if head["metric"] not in ranked or head["value"] is None or not floors:
        return ""
    best = max(floors, key=lambda name: floors[name])
    if floors[best] <= head["value"]:
        return ""
    command = (results.get("floor_commands") or {}).get(best)
    return (
        f"BELOW ITS FLOOR: {best.removeprefix(start)} alone has {what} {number(floors[best])},"
        f" this model {number(head['value'])}" + (f"; {command}" if command else "")
    )


def headline_lines(results: Mapping[str, Any]) -> list[str]:
    """What was measured, on what, by what: every result line's names."""
    head, clips = results["headline"], whole_clips.first(results)
    if not is_evaluated(results):
        return unevaluated_lines(results)
    on = "frames:" if clips else f"HEADLINE  {results['dataset']} {results['split']}:"
    checkpoint, aggregation, normalisation, smoothing = protocol(head)
    truth = f" ({results['ground_truth']})" if results.get("ground_truth") else ""
    interval = " (95 % interval {:.3f}-{:.3f})".format(*head["ci95"]) if head["ci95"] else ""
    lines = clip_lines(results, clips)
    lines.append(f"{on} {title(head['metric'])} {number(head['value'])}{interval}")
    how = f"normalisation {normalisation}, smoothing {smoothing}, checkpoint {checkpoint}"
    lines.append(f"{aggregation}, {how}")
    counted = f"{results['n_videos']:,} videos, {results['ground_truth_frames']:,} frames{truth}"
    lines.append(f"{counted}; {made_by(results)}")
    lines += paired.lines(results.get("paired") or ())
    if below := below_floor(results):
        lines.insert(0, below)
    if bayes := results.get("bayes_optimal"):
        best = ", ".join(f"{title(m)} {number(v)}" for m, v in bayes.items())
        lines.append(f"Bayes-optimal scorer of this simulated set: {best}")
    if "simulated" in results["dataset"]:
        lines.append("SIMULATED data: these numbers say nothing about the real set.")
    return lines


def unevaluated_lines(results: Mapping[str, Any]) -> list[str]:
    """What is known of a run without a labelled test split."""
    lines = [f"HEADLINE  {results['dataset']}: {NO_TEST}"]
    if alarms := results.get("alarms"):
        lines.append(f"alarms from {alarms['threshold']:.4g} ({alarms['rule']})")
    if measured := (results.get("normal_video") or {}).get("measured"):
        lines.append(f"on normal video that its threshold was not made from: {measured}")
    return [*lines, made_by(results)]


def made_by(results: Mapping[str, Any]) -> str:
    """Seed, config, code, device and time of a result."""
    return (
        f"seed {results['seed']}, config {results['config_hash']}, code"
        f" {results['code_version']}, {results['device']}, {results['wall_seconds']:.0f} s"
    )


def clip_lines(results: Mapping[str, Any], clips: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where every video is wholly of one class, its records `clips`: clips before frames. Else
    []."""
    if not clips:
        return []
    at = [r for r in clips if r["metric"] in whole_clips.AT_THRESHOLD]
    names = {whole_clips.CLIP_AUC: f"clip {title(whole_clips.CLIP_AUC)}"}
    names |= {"clip_recall": "recall", "clip_false_alarms": "false alarms"}
    parts = [f"{names[r['metric']]} {number(r['value'])}" for r in clips]
    left_out = "macro, min-max and mAP say nothing of such clips and are left out"
    return [
        f"HEADLINE  {results['dataset']} {results['split']}: {', '.join(parts)}",
        f"every video is wholly normal or wholly abnormal: {left_out}",
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
            smoothed = f", smoothed {r['smoothing']}" if r["smoothing"] != "none" else ""
            value = number(r["value"], r["ci95"] if intervals else None)
            rows.setdefault(f"{title(r['metric'])}{smoothed}", {})[r["checkpoint"]] = value
    cells = [[label, *(found.get(c, "-") for c in checkpoints)] for label, found in rows.items()]
    return Section(name, ["metric", *checkpoints], cells, -1)


def sections(results: Mapping[str, Any], intervals: bool = True) -> list[Section]:
    """The whole matrix for the headline's checkpoint, the plain protocol for other ones, what
    else was measured, and extras."""
    head, on = results["headline"], f"{results['dataset']} {results['split']}"
    if not is_evaluated(results):
        return [
            Section(f"{results['dataset']}: {t['title']}", t["header"], t["rows"], -1)
            for t in results.get("tables", ())
        ]
    header = [*PROTOCOL, *(SHORT[m] for m in RANKING)]
    is_plain = lambda r: all(r[k] == head[k] for k in ("aggregation", "normalisation", "smoothing"))
    records, of_head = results["records"], lambda r: r["checkpoint"] == head["checkpoint"]
    matrix = matrix_rows([r for r in records if of_head(r)], intervals)
    # runs of earlier versions do not say it: they have percentiles, however few the videos
    kind = bootstrap.method(head["n_videos"]) if results.get("ci_method") else bootstrap.METHODS[1]
    note = f", 95 % interval over videos ({kind})" if intervals and head["ci95"] else ""
    marked = next(i for i, row in enumerate(matrix) if tuple(row[:4]) == protocol(head))
    clips = whole_clips.first(results)
    others = matrix_rows([r for r in records if not of_head(r) and is_plain(r)], intervals)
    extras = matrix_rows([r for r in results["extras"] if is_plain(r)], intervals)
    chosen = "other checkpoints (chosen without the test split)"
    found = [
        clip_section(f"{on}: whole clips, at the run's alarm threshold", clips),
        Section(f"{on}: every protocol{note}", header, matrix, marked),
        Section(f"{on}: {chosen}", header, others, -1),
        other_section(f"{on}: besides (micro, not normalised)", records, intervals, clips),
        Section(f"{on}: EXTRA, {NOT_A_RESULT}", header, extras, -1),
    ]
    for t in results.get("tables", ()):
        found.append(Section(f"{on}: {t['title']}", t["header"], t["rows"], -1))
    return [section for section in found if section.rows]


def print_table(results: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints headline, matrix and extras. Where the output is no terminal, lines are at most
    WIDTH columns and free of colour."""
    console = console or console_of()
    first, *rest = headline_lines(results)
    console.print(Text(first, style="bold"))
    for line in rest:
        text = Text(line, style="bold yellow" if line.startswith("SIMULATED") else "")
        console.print(Padding(text, (0, 0, 0, 10)))
    print_sections(sections(results, console.width >= INTERVAL_WIDTH), console)


def print_sections(shown: Sequence[Section], console: Console) -> None:
    """Prints tables, one after the other."""
    look: dict[str, Any] = {"box": SIMPLE_HEAD, "pad_edge": False, "show_edge": False}
    look |= {"title_justify": "left", "padding": (0, 1, 0, 0)}
    for section in shown:
        table = Table(title=Text(section.title, style="italic"), **look)
        console.print()
        for column in ["", *section.header]:
            table.add_column(column, no_wrap=column in PROTOCOL)
        for i, row in enumerate(section.rows):
            mark, style = (">", "bold") if i == section.marked else ("", "")
            table.add_row(mark, *map(Text, row), style=style)
        console.print(table)


def console_of() -> Console:
    """The terminal, or lines of WIDTH columns without colour."""
    if sys.stdout.isatty():
        return Console()
    return Console(width=WIDTH, no_color=True, highlight=False)


def as_text(results: Mapping[str, Any], width: int = WIDTH) -> str:
    """What `print_table` prints, as plain text of at most `width` columns."""
    buffer = io.StringIO()
    print_table(results, Console(file=buffer, width=width, no_color=True, highlight=False))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def markdown(results: Mapping[str, Any]) -> str:
    """The same tables in Markdown, the headline's row in bold."""
    first, *rest = headline_lines(results)
    return f"**{first}**  \n" + "  \n".join(rest) + "\n" + as_markdown(sections(results))


def as_markdown(shown: Sequence[Section]) -> str:
    """Tables in Markdown, each with its title before it."""
    parts: list[str] = []
    for section in shown:
        lines = [section.header, ["---"] * len(section.header)]
        for i, row in enumerate(section.rows):
            mark = "**" if i == section.marked else ""
            lines.append([f"{mark}{markdown_cell(cell)}{mark}" for cell in row])
        parts.append(f"\n{section.title}\n")
        parts += [f"| {' | '.join(line)} |" for line in lines]
    return "".join(f"{part}\n" for part in parts)


def markdown_cell(text: str) -> str:
    """Text (a video may be called anything) as a cell of a Markdown table: it ends no cell and
    no line, and is no HTML."""
    line = re.sub(r"[\n\r]", " ", text.replace("|", "\\|"))
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", line)
