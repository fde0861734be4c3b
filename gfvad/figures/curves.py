"""Figures of a run as PNG files 1000 pixels wide: learning curves and score timelines. Graphs,
coefficients and experts: figures_model.py.

No pyplot and no change of matplotlib's settings: each figure is an object of its own, drawn by Agg.
Colours are those of Okabe and Ito, which colour-blind readers can tell apart; curves differ in
their marks or dashes too. Every title starts with the dataset's name as given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gfvad.base.files import parse_json, read_text
from gfvad.base.types import DataError, ScoredVideo
from gfvad.measure.frames import compress, spans_of
from gfvad.measure.metrics import cumulative_counts, ranking_metrics

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#000000"
CYCLE = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK)
DASHES = ("-", "--", "-.", ":")
PREDICTED = ("appearance", "flow", "text")  # errors that the predictive model is followed by
DPI = 100
WIDTH = 10.0  # inches: 1000 pixels


def new_figure(title: str, height: float) -> Figure:
    """An empty figure WIDTH wide with its title."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor="white")
    figure.suptitle(title, fontsize=12, fontweight="bold")
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Writes the PNG and returns its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=DPI)
    return path


def style(axes: Axes, xlabel: str, ylabel: str, title: str = "") -> None:
    """Labels, a light grid and no upper and right frame."""
    axes.set_xlabel(xlabel, fontsize=11)
    axes.set_ylabel(ylabel, fontsize=11)
    axes.set_title(title, fontsize=11, loc="left")
    axes.tick_params(labelsize=10)
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines log; an unfinished last line is left out. Raises DataError where
    another line cannot be read."""
    what = "the log of a run, one object a line; train again to write it anew"
    rows, lines = [], read_text(path, what).splitlines()
    for i, line in enumerate(lines):
        try:
            rows.append(parse_json(line, f"{path}, line {i + 1}", what, finite=False))
        except DataError:
            if i < len(lines) - 1:
                raise
    return rows


def curve(rows: Sequence[Mapping[str, Any]], kind: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps [L], values [L]) of one number in the log rows of one kind."""
    points = [
        (row["step"], row[key])
        for row in rows
        if row.get("kind") == kind and isinstance(row.get(key), (int, float))
    ]
    steps, values = zip(*points) if points else ((), ())
    return np.array(steps, np.float64), np.array(values, np.float64)


def _lines(axes: Axes, rows, curves: Sequence[tuple[str, str, str]]) -> None:
    """Draws (kind, key, label) curves that have points, each in its own colour and dash, with a
    legend."""
    for i, (kind, key, label) in enumerate(curves):
        steps, values = curve(rows, kind, key)
        if len(steps):
            mark = None if kind == "train" else "o"  # an evaluation is rare: mark its points
            look = {"color": CYCLE[i % 7], "linewidth": 1.8, "marker": mark, "markersize": 5}
            axes.plot(steps, values, DASHES[i % 4], label=label, **look)
    if axes.lines:
        many = len(axes.lines) > 4
        if many:  # room above the curves for a legend of several rows
            low, high = axes.get_ylim()
            axes.set_ylim(low, high + 0.15 * (high - low) * -(-len(axes.lines) // 2))
        columns, loc = (2, "upper center") if many else (1, "best")
        axes.legend(fontsize=10, frameon=False, ncols=columns, loc=loc)
    else:
        middle = {"transform": axes.transAxes, "ha": "center"}
        axes.text(0.5, 0.5, "not in the log", color="0.4", fontsize=11, **middle)


def learning_curves(
    log: str | Path | Sequence[Mapping[str, Any]], dataset: str, path: str | Path
) -> Path:
    """Losses, held-out metrics, learning rate and norms over steps, from metrics.jsonl (or its
    rows; see train/logs.py)."""
    rows = read_log(log) if isinstance(log, (str, Path)) else log
    terms = sorted({k for row in rows for k in row if k.startswith("loss/")})
    figure = new_figure(f"{dataset}: learning curves", 7.0)
    (top_left, top_right), (left, right) = figure.subplots(2, 2, sharex=True)
    losses = [("train", "loss", "total, training")]
    losses += [("validation", "loss", "classification, validation")]
    _lines(top_left, rows, losses + [("train", k, k.removeprefix("loss/")) for k in terms])
    style(top_left, "", "loss", "Losses (terms before their weight)" if terms else "Losses")
    # the held-out training videos have video labels, the test split has frame labels: not the same
    # AUC
    held_out = [("validation", k, f"{k.upper()}, validation videos") for k in ("auc", "ap")]
    # the predictive model is followed by the errors of its predictions
    validated = {k for row in rows for k in row if row.get("kind") == "validation"}
    errors = sorted(validated & set(PREDICTED))
    held_out += [("validation", k, f"error of {k}, held-out videos") for k in errors]
    held_out += [("test", k, f"{k.upper()}, test frames (extra)") for k in ("auc", "ap")]
    _lines(top_right, rows, held_out)
    style(top_right, "", "error" if errors else "AUC, AP", "Held-out metrics")
    _lines(left, rows, [("train", "learning_rate", "learning rate")])
    style(left, "step", "learning rate", "Learning rate")
    left.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3))
    norms = [("train", "gradient_norm", "gradient, before clipping")]
    _lines(right, rows, [*norms, ("train", "update_norm", "update")])
    style(right, "step", "global L2 norm (log scale)", "Norms")
    if right.lines and all(np.all(line.get_ydata() > 0) for line in right.lines):
        right.set_yscale("log")
    return save(figure, path)


def video_error(video: ScoredVideo) -> tuple[str, float]:
    """('AUC', value) where both classes are present, else ('mean error', mean |score - label|)."""
    runs = compress(video.scores, video.labels)
    auc = ranking_metrics(cumulative_counts(*runs))["auc"]
    if not np.isnan(auc):
        return "AUC", auc
    error = np.abs(np.asarray(video.scores, np.float64) - video.labels)
    return "mean error", float(error.mean())


def pick(videos: Sequence[ScoredVideo]) -> list[tuple[str, ScoredVideo, str]]:
    """(best | median | worst, video, 'AUC 0.93') by AUC over videos with an event; by mean error
    where no video has one."""
    rated = [(video, *video_error(video)) for video in videos if len(video.labels)]
    by_auc = sorted((r for r in rated if r[1] == "AUC"), key=lambda r: -r[2])
    ranked = by_auc or sorted(rated, key=lambda r: r[2])
    places = {"best": 0, "median": (len(ranked) - 1) // 2, "worst": len(ranked) - 1}
    chosen = {}
    for label, i in places.items():
        if ranked and i not in chosen:
            chosen[i] = (label, ranked[i][0], f"{ranked[i][1]} {ranked[i][2]:.3f}")
    return list(chosen.values())


def time_axis(video: ScoredVideo) -> tuple[float, str]:
    """(factor from frames to the axis, label of the axis): seconds where the frame rate is
    known."""
    return (1 / video.fps, "time (s)") if video.fps > 0 else (1.0, "time (frames)")


def shade(axes: Axes, spans: np.ndarray, factor: float, label: str = "true event") -> None:
    """Shades half-open spans [S, 2] of frames, labelled once."""
    for start, end in np.asarray(spans).reshape(-1, 2) * factor:
        axes.axvspan(start, end, color=ORANGE, alpha=0.3, linewidth=0, label=label)
        label = ""


def shorten(name: str, width: int = 60) -> str:
    """A name of at most `width` characters, cut in its middle."""
    return name if len(name) <= width else f"{name[: width // 2 - 1]}…{name[-(width // 2 - 1) :]}"


def score_timelines(
    videos: Sequence[ScoredVideo], dataset: str, path: str | Path, threshold: float
) -> Path:
    """Frame scores of the best, median and worst video with the true spans (the labels) shaded and
    the alarm threshold.

    Raises DataError where no video has labels.
    """
    chosen = pick(videos)
    if not chosen:
        raise DataError(
            "score timelines: no video with frame labels; expected the scored videos of an"
            " evaluation"
        )
    by = "AUC within the video" if chosen[0][2].startswith("AUC") else "mean error"
    mixed = sum(v.labels.any() and not v.labels.all() for v in videos if len(v.labels))
    title = f"{' / '.join(c[0] for c in chosen)} of {mixed or len(videos)} videos by {by}"
    figure = new_figure(f"{dataset}: {title}", 2.6 * len(chosen) + 0.6)
    panels = figure.subplots(len(chosen), 1, squeeze=False)[:, 0]
    for axes, (label, video, value) in zip(panels, chosen):
        factor, xlabel = time_axis(video)
        edges = np.r_[np.arange(len(video.scores)), len(video.scores)] * factor
        shade(axes, spans_of(video.labels), factor)
        axes.stairs(video.scores, edges, baseline=None, color=BLUE, linewidth=1.5, label="score")
        name = f"threshold {threshold:.3g}"
        axes.axhline(threshold, color=BLACK, linestyle="--", linewidth=1, label=name)
        classes = f" ({', '.join(video.classes)})" if video.classes else ""
        style(axes, xlabel, "anomaly score", f"{label}: {shorten(video.name)}{classes}, {value}")
        axes.set_xlim(0, edges[-1])
        if video.scores.min() >= 0 and video.scores.max() <= 1:
            axes.set_ylim(-0.03, 1.03)
        axes.legend(fontsize=10, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save(figure, path)
