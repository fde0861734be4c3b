"""Figures of what a model learned: fused graph around an event, fusion coefficients A, use of
experts. Rules as in figures.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from gfvad.base.types import DataError, ScoredVideo
from gfvad.figures.curves import BLUE, ORANGE, new_figure, save, shorten, style, time_axis

VALUES = "viridis"  # sequential, even for colour-blind readers
SIGNED = "PuOr_r"  # diverging, safe for colour-blind readers; white is 0
MAX_SLICES = 6
MAX_ANNOTATED = 17  # coefficients a side that still get their value written in 1000 pixels


def unit_starts(video: ScoredVideo, n_units: int) -> np.ndarray:
    """[N + 1] frame at which each unit starts, and the end of the last. unit_frames 0: the units
    are equal spans of the video."""
    step = video.unit_frames or len(video.scores) / n_units
    return np.arange(n_units + 1) * float(step)


def event_window(
    spans: np.ndarray, starts: np.ndarray, widest: int = 32
) -> tuple[slice, slice] | None:
    """(units before, units from the start of) the event with the longest equal windows of at most
    `widest` units; None where none fits.

    spans [S, 2] in frames, starts [N + 1] of units. A window before never reaches into another
    event; one after lies inside its event.
    """
    best: tuple[int, slice, slice] | None = None
    firsts = np.searchsorted(starts, spans[:, 0], "right") - 1
    ends = np.minimum(np.searchsorted(starts, spans[:, 1], "left"), len(starts) - 1)
    taken = list(zip(firsts.tolist(), ends.tolist()))
    for first, end in taken:
        free = first - max((e for f, e in taken if f < first), default=0)
        width = min(free, end - first, widest)
        if width >= 2 and (best is None or width > best[0]):
            best = (width, slice(first - width, first), slice(first, first + width))
    return best[1:] if best else None


def _heat(
    axes: Axes,
    values: np.ndarray,
    span: np.ndarray,
    limits: tuple[float, float],
    colours: str,
    label: str,
) -> None:
    """Draws [w, w] values over a span [start, end] of both axes, with its colour bar."""
    extent = (span[0], span[1], span[0], span[1])
    image = axes.imshow(values, colours, extent=extent, origin="lower", interpolation="nearest")
    image.set_clim(*limits)
    beyond = "max" if values.max() > limits[1] else "neither"
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.85, extend=beyond)
    bar.set_label(label, fontsize=10)
    axes.locator_params(nbins=6)


def _mark_events(axes: Axes, spans: np.ndarray, end: float, factor: float) -> None:
    """Dashed white lines at the first and last frame of each span [S, 2], in both directions; a
    legend on dark ground."""
    edges = np.minimum(spans[spans[:, 0] < end], end).ravel() * factor
    for i, edge in enumerate(edges):
        label = "start and end of a true event" if i == 0 else None
        axes.axhline(edge, color="white", linewidth=1.4, linestyle="--", label=label)
        axes.axvline(edge, color="white", linewidth=1.4, linestyle="--")
    if len(edges):
        dark = {"facecolor": "0.2", "labelcolor": "white", "framealpha": 0.9}
        axes.legend(fontsize=10, loc="upper left", **dark)


def fused_graph(
    graph: np.ndarray, video: ScoredVideo, dataset: str, path: str | Path, channel: int = 0
) -> Path:
    """The fused graph of a video with its events marked, its parts before and in an event, and
    their difference.

    graph: [N, N] or [G, N, N] (one channel is drawn) over the video's first N units. "In" starts
    with the event, "before" are as many units just before it; without an event that has two units
    on either side, only the whole graph is drawn.
    Raises DataError for a graph that is not square.
    """
    graph = np.asarray(graph, np.float64)
    which = f", channel {channel + 1} of {len(graph)}" if graph.ndim == 3 and len(graph) > 1 else ""
    graph = graph[channel] if graph.ndim == 3 else graph
    if graph.ndim != 2 or graph.shape[0] != graph.shape[1]:
        raise DataError(
            f"fused graph of {video.name!r}: shape {graph.shape}, expected [N, N] or [G, N, N]"
        )
    factor, label = time_axis(video)
    starts = unit_starts(video, len(graph))  # [N + 1] frames
    spans = np.asarray(video.spans, np.int64).reshape(-1, 2)
    windows = event_window(spans, starts)
    title = f"{dataset}: fused graph{which}\n{shorten(video.name, 60)}"
    figure = new_figure(title, 8.6 if windows else 7.6)
    panels = figure.subplots(2, 2).ravel() if windows else np.array([figure.subplots()])
    # the diagonal relates a unit to itself and is far above the rest: colours end at the largest
    # edge between two units
    off = graph[~np.eye(len(graph), dtype=bool)]
    limits = (float(off.min()), float(off.max())) if len(off) else (0.0, 1.0)
    _heat(panels[0], graph, starts[[0, -1]] * factor, limits, VALUES, "edge weight")
    style(panels[0], label, label, "whole video")
    _mark_events(panels[0], spans, starts[-1], factor)
    if windows:
        blocks = [graph[w, w] for w in windows]  # [w, w] each
        names = ("before the event", "in the event, from its start")
        for axes, block, window, name in zip(panels[1:], blocks, windows, names):
            span = starts[[window.start, window.stop]] * factor
            _heat(axes, block, span, limits, VALUES, "edge weight")
            style(axes, label, label, f"{name} ({window.stop - window.start} units)")
        change = blocks[1] - blocks[0]
        reach = float(np.abs(change).max()) or 1.0
        span = (starts[[windows[0].start, windows[0].stop]] - starts[windows[0].start]) * factor
        _heat(panels[3], change, span, (-reach, reach), SIGNED, "change of edge weight")
        since = label.replace("time", "time since start of the window")
        style(panels[3], since, since, "in the event minus before")
    for axes in panels:
        axes.grid(False)
    return save(figure, path)


def _coefficient_slices(a: np.ndarray) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """[P+1] * M tensor -> (powers of graphs 3.., [P+1, Q+1]) of at most MAX_SLICES slices of
    largest norm, in order of the powers."""
    if a.ndim <= 2:
        return [((), a.reshape(1, -1) if a.ndim == 1 else a)]
    slices = [(rest, a[(slice(None), slice(None), *rest)]) for rest in np.ndindex(a.shape[2:])]
    largest = sorted(slices, key=lambda s: -np.linalg.norm(s[1]))[:MAX_SLICES]
    return sorted(largest, key=lambda s: s[0])


def coefficients(
    a: np.ndarray, dataset: str, path: str | Path, names: Sequence[str] = (), channels: int = 1
) -> Path:
    """A as a heat map with its values: rows are powers of the first graph, columns of the second.

    a: [P+1] (one graph), [P+1, Q+1], or for M > 2 graphs [P+1, Q+1, ...]: slices at fixed powers of
    the other graphs, the MAX_SLICES of largest norm. names: of the M graphs; channels: G, of which
    this is the first. Raises DataError where names are given and are not M.
    """
    a = np.asarray(a, np.float64)
    names = tuple(names) or tuple(f"graph {i + 1}" for i in range(a.ndim))
    if len(names) != a.ndim:
        raise DataError(
            f"coefficients: {len(names)} names {names} for {a.ndim} graphs (shape {a.shape});"
            " expected one a graph"
        )
    slices = _coefficient_slices(a)
    n_slices = int(np.prod(a.shape[2:])) if a.ndim > 2 else 1
    columns = min(3, len(slices)) if len(slices) > 1 else 1
    rows = -(-len(slices) // columns)
    shown = f", {len(slices)} of {n_slices} slices (largest norm)" if len(slices) < n_slices else ""
    channel = f", channel 1 of {channels}" if channels > 1 else ""
    side = 3.4 if len(slices) > 1 else (2.6 if a.ndim == 1 else 7.0)
    figure = new_figure(f"{dataset}: fusion coefficients A{channel}{shown}", side * rows + 0.6)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    reach = float(np.abs(a).max()) or 1.0
    for axes, (rest, values) in zip(grid, slices):
        axes.imshow(values, cmap=SIGNED, vmin=-reach, vmax=reach, aspect="equal")
        fixed = ", ".join(f"{n}$^{{({p})}}$" for n, p in zip(names[2:], rest))
        across, down = (names[0], "") if a.ndim == 1 else (names[1], f"power of {names[0]}")
        style(axes, f"power of {across}", down, f"at {fixed}" if fixed else "")
        axes.set_xticks(range(values.shape[1]))
        axes.set_yticks(range(values.shape[0]) if a.ndim > 1 else [])
        axes.grid(False)
        if max(values.shape) <= MAX_ANNOTATED:
            _annotate(axes, values, reach, 11 if len(slices) == 1 and max(values.shape) <= 9 else 8)
    for axes in grid[len(slices) :]:
        axes.set_visible(False)
    drawn = ScalarMappable(Normalize(-reach, reach), SIGNED)
    bar = figure.colorbar(drawn, ax=list(grid), shrink=0.8)
    bar.set_label(f"coefficient A[{', '.join('pqrstuvw'[: a.ndim])}]", fontsize=11)
    return save(figure, path)


def _annotate(axes: Axes, values: np.ndarray, reach: float, size: int) -> None:
    """Writes each value into its cell, white on dark, with as many decimals as tell the largest,
    `reach`, to three digits."""
    decimals = int(np.clip(2 - np.floor(np.log10(reach)), 0, 4))
    for (i, j), value in np.ndenumerate(values):
        text = f"{round(value, decimals) + 0.0:.{decimals}f}"
        colour = "white" if abs(value) > 0.6 * reach else "black"
        axes.text(j, i, text, ha="center", va="center", fontsize=size, color=colour)


def expert_usage(usage: Mapping[str, np.ndarray], dataset: str, path: str | Path) -> Path:
    """Share of routed slots of each expert [E], a panel a modality, beside the even share; experts
    without any are counted as dead.

    Raises DataError without a modality.
    """
    if not usage:
        raise DataError(
            "expert usage: no modality; expected shares of experts from a model with a sparse"
            " feature filter"
        )
    title = f"{dataset}: use of experts in the sparse feature filter"
    figure = new_figure(title, 2.9 * len(usage) + 0.6)
    panels = figure.subplots(len(usage), 1, squeeze=False)[:, 0]
    for axes, (name, shares) in zip(panels, usage.items()):
        shares = np.asarray(shares, np.float64)
        share = shares / max(shares.sum(), 1e-12) * 100  # [E] per cent
        axes.bar(np.arange(len(share)), share, color=BLUE, width=0.8, label="share of routed slots")
        even = 100 / len(share)
        axes.axhline(even, color=ORANGE, linestyle="--", linewidth=2, label="even share")
        title = f"{name}: {len(share)} experts, {int(np.sum(shares <= 0))} dead"
        style(axes, "expert", "slots (%)", title)
        axes.set_xlim(-0.7, len(share) - 0.3)
        axes.legend(fontsize=10, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save(figure, path)
