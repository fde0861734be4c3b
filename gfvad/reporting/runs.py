"""A run, several runs or an ablation, for a page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.files import lies_at, read_json, read_table, read_text, require_regular
from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames.decode import DEFAULT_FPS
from gfvad.measure import paired, summary, tables
from gfvad.measure.alarms import GAP
from gfvad.measure.frames import spans_of
from gfvad.measure.protocols import HEADLINE
from gfvad.measure.results import read_results, read_scores
from gfvad.measure.score_result import VideoScores
from gfvad.reporting.clips import Clip, Raised, clip_of
from gfvad.reporting.contents import Contents, require_shown, whole
from gfvad.reporting.videos import Source, rate_of

RESULTS, RUN_SCORES, CALIBRATION = "results.json", "scores.npz", "calibration.json"
ABLATION, CSV = "ablation.md", "ablation.csv"
AGAIN = "evaluate the run again (gfvad evaluate)"


def one_run(folder: Path, found: Mapping[str, Path | None]) -> Contents:
    """A trained run: protocol numbers, and the frame scores of its test videos with their truth
    where the run's data is at hand."""
    with whole(folder / RESULTS, AGAIN):
        results, damaged = read_results(folder / RESULTS), []
        stated = results.get("alarms")
        own = (float(stated["threshold"]), str(stated["rule"])) if stated else (None, "")
        gap = float(results.get("config", {}).get("score", {}).get("alarm_gap", GAP))
    scores, (threshold, rule) = {}, own
    try:
        if os.path.lexists(folder / RUN_SCORES):
            with whole(folder / RUN_SCORES, AGAIN):
                scores = read_scores(folder / RUN_SCORES)
    except DataError as error:
        damaged.append((RUN_SCORES, str(error)))
    try:
        threshold, rule = calibration_of(folder) or own
    except DataError as error:
        damaged.append((CALIBRATION, str(error)))
    raised = None if threshold is None else Raised(threshold, gap)
    counted = results.get("n_videos")
    if scores and isinstance(counted, int) and len(scores) < counted:
        note = (
            f"{folder / RUN_SCORES}: scores of {len(scores)} videos, {RESULTS} is of {counted};"
            f" expected all of them: {AGAIN}"
        )
        damaged.append((RUN_SCORES, note))
    truth = truth_of(folder) if scores else {}
    bounded = all(
        not s.size or (s.dtype.kind == "f" and s.min() >= 0 and s.max() <= 1)
        for s in scores.values()
    )
    clips, sources = [], []
    for name, score in scores.items():
        path = found.get(name)
        fps = rate_of(path)
        try:
            with whole(folder / RUN_SCORES, AGAIN, f"video {name!r}"):
                clip = frames_clip(name, score, truth.get(name), fps, raised, bounded)
                require_shown(clip)
        except DataError as error:
            damaged.append((name, str(error)))
            continue
        clips.append(clip)
        sources.append(Source(path, fps or DEFAULT_FPS))
    with whole(folder / RESULTS, AGAIN):
        shown = [s._asdict() for s in tables.sections(results)]
        first, *rest = tables.headline_lines(results)
    facts = [("", first.removeprefix("HEADLINE").strip()), *(("", line) for line in rest)]
    if threshold is not None:
        facts.append(("threshold", f"{threshold:.3g}" + (f": {rule}" if rule else "")))
    title = str(results.get("label") or folder.name)
    return Contents("run", title, facts, threshold, clips, sources, [], shown, [], damaged)


def frames_clip(
    name: str,
    score: np.ndarray,
    labels: np.ndarray | None,
    fps: float,
    alarm: Raised | None,
    bounded: bool,
) -> Clip:
    """Scores [T] of frames as units of equal scores; labels [T] or None; in seconds where fps is
    above 0, else in frames."""
    score = np.asarray(score, np.float64)
    edges = np.unique(np.r_[0, np.flatnonzero(np.diff(score)) + 1, len(score)])
    rate = fps if fps > 0 else 1.0
    spans = None if labels is None else tuple((s / rate, e / rate) for s, e in spans_of(labels))
    label = None if labels is None else int(np.any(labels))
    start, end = edges[:-1] / rate, edges[1:] / rate
    shown, truth = score[edges[:-1]], {"spans": spans, "label": label}
    video = VideoScores(name, "", fps, len(score), start, end, shown, {}, **truth)
    return clip_of(video, alarm, bounded, "s" if fps > 0 else "frame")


def calibration_of(folder: Path) -> tuple[float, str] | None:
    """(threshold, how it was made) of a run; None where it has none. Raises DataError for a damaged
    one."""
    path = folder / CALIBRATION
    if not lies_at(path):
        return None
    with whole(path, AGAIN):
        tree = read_json(path, "the threshold of a run's alarms")
        return float(tree["threshold"]), str(tree.get("rule", ""))


def truth_of(folder: Path) -> dict[str, np.ndarray]:
    """Frame labels of a run's test videos; {} where its data is not at hand."""
    if not (folder / "config.json").is_file():
        return {}
    from gfvad.tasks import frame_labels

    try:
        return dict(frame_labels(folder))
    except (ConfigError, DataError, OSError):
        return {}


def several_runs(folder: Path, paths: Sequence[Path]) -> Contents:
    """Several runs: a table of settings with mean and spread over seeds, and one of the runs.
    Raises DataError as `summary.summarise`, and where all are damaged."""
    sound, damaged = [], []
    for path in paths:
        try:
            with whole(path, AGAIN):
                require_regular(path, "results.json of a run")
                summary.summarise([path])
                headline_cells(summary.read(path).get("headline") or {})
            sound.append(path)
        except DataError as error:
            damaged.append((path.parent.name, str(error)))
    if not sound:
        others = f" (and so for all {len(paths)} runs)" if len(paths) > 1 else ""
        raise DataError(damaged[0][1] + others)
    paths, rows = sound, summary.summarise(sound)
    metrics = [m for m in summary.COLUMNS if any(not np.isnan(row.values[m]).all() for row in rows)]
    header = ["dataset", "setting", "seeds", *(f"{tables.title(m)}, mean ± sd" for m in metrics)]
    cells = []
    for row in rows:
        values = [summary.cell(row.values[m]) for m in metrics]
        cells.append([row.dataset, row.label, str(len(row.seeds)), *values])
    shown = [table("Settings: micro frame metrics, last checkpoint, as they are", header, cells)]
    for row in rows:
        if row.beside:
            values = [[name, summary.cell(v)] for name, v in row.beside.items()]
            title = f"{row.dataset}, {row.label}: besides"
            shown.append(table(title, ["value", "mean ± sd"], values))
    for row in rows:
        if tested := paired.table(row.paired):
            title = f"{row.dataset}, {row.label}, mean over {len(row.seeds)} seeds"
            shown.append(table(f"{title}: {tested['title']}", tested["header"], tested["rows"]))
    header = ["folder", "dataset", "setting", "seed", "metric", "value", "95 % interval"]
    lines = []
    for path, r in ((path, summary.read(path)) for path in paths):
        told = [path.parent.name, str(r["dataset"]), str(r.get("label", "")), str(r["seed"])]
        lines.append([*told, *headline_cells(r.get("headline") or {})])
    shown.append(table("Runs: headline of each", header, lines))
    settings = [
        setting(row.label, row.dataset, m, dict(zip(row.seeds, row.values[m], strict=True)))
        for row in rows
        for m in metrics
    ]
    datasets = ", ".join(dict.fromkeys(row.dataset for row in rows))
    facts = [("runs", str(len(paths))), ("settings", str(len(rows))), ("datasets", datasets)]
    title = f"Runs in {folder.resolve().name}"
    return Contents("runs", title, facts, None, [], [], [], shown, settings, damaged)


def table(title: str, header: list[str], rows: list[list[str]]) -> dict[str, Any]:
    """A table of a page."""
    return {"title": title, "header": header, "rows": rows, "marked": -1}


def setting(label: str, dataset: str, metric: str, values: Mapping[int, float]) -> dict[str, Any]:
    """A row of points in the plot of settings: seed -> value of a metric, NaN where undefined."""
    return {
        "label": label,
        "dataset": dataset,
        "metric": tables.title(metric),
        "seeds": list(values),
        "values": [None if np.isnan(v) else float(v) for v in values.values()],
    }


def ablation(folder: Path) -> Contents:
    """An ablation: the tables of its ablation.md with their paired tests, and the values of its
    ablation.csv. Raises DataError where they are missing or damaged."""
    redo = "run the same gfvad ablate again"
    path = folder / ABLATION
    with whole(path, redo):
        parts = read_text(path, "the tables of an ablation").split("\n## ")
        sections = [part.split("\n", 1) for part in parts]
        shown = [table(title, *markdown_cells(text)) for title, text in sections if "\n| " in text]
        dataset = sections[0][0].partition(": ")[2]
    with whole(folder / CSV, redo):
        values: dict[tuple[str, str], dict[int, float]] = {}
        for _, row in read_table(folder / CSV, ("setting", "seed", "metric", "value", *HEADLINE)):
            if all(row[key] == wanted for key, wanted in HEADLINE.items()):
                of_seeds = values.setdefault((row["setting"], row["metric"]), {})
                of_seeds[int(row["seed"])] = float(row["value"] or "nan")
    settings = [setting(name, dataset, metric, v) for (name, metric), v in values.items()]
    facts = [("settings", str(len({name for name, _ in values}))), ("dataset", dataset)]
    title = f"Ablation {folder.resolve().name}"
    return Contents("runs", title, facts, None, [], [], [], shown, settings)


def markdown_cells(text: str) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of the one table in a piece of Markdown."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    plain = [[cell.strip().replace("*", "").replace("`", "") for cell in line] for line in lines]
    header, _, *rows = plain
    return header, [row + [""] * (len(header) - len(row)) for row in rows]


def headline_cells(headline: Mapping[str, Any]) -> list[str]:
    """Metric, value and interval of a run's headline; dashes for what it lacks."""
    value, interval = headline.get("value"), headline.get("ci95")
    return [
        tables.title(headline.get("metric", "-")),
        "-" if value is None else f"{value:.4f}",
        f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "-",
    ]
