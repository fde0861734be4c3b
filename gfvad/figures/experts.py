"""How often the experts of a sparse filter are used: a layer each, and where in the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import SubFigure

from gfvad.base.types import DataError
from gfvad.figures.curves import BLUE, CYCLE, ORANGE, new_figure, save, shorten, style
from gfvad.figures.model import VALUES

NEUTRAL = "0.8"  # experts without a colour of their own
SHARES: dict[str, Any] = {"cmap": VALUES, "aspect": "auto", "interpolation": "nearest", "vmin": 0}
MAX_BARS = 4  # layers that still get bars of their own


def _layers(figure: SubFigure, usage: np.ndarray) -> None:
    """Share of each expert [L, E] in per cent: bars a layer, or one map of layers and experts
    where there are many layers."""
    layers, experts = usage.shape
    share = 100 * usage / np.maximum(usage.sum(axis=1, keepdims=True), 1e-12)
    dead = (usage <= 0).sum(axis=1)
    if layers > MAX_BARS:
        axes = figure.subplots()
        extent = (-0.5, experts - 0.5, layers + 0.5, 0.5)
        drawn = axes.imshow(share, extent=extent, **SHARES)
        title = f"{layers} layers of {experts} experts, {int(dead.sum())} dead in all"
        style(axes, "expert", "layer", title)
        axes.grid(False)
        axes.locator_params(integer=True)
        figure.colorbar(drawn, ax=axes).set_label("slots (%)", fontsize=10)
        return
    for i, axes in enumerate(figure.subplots(1, layers, sharey=True, squeeze=False)[0]):
        axes.bar(np.arange(experts), share[i], color=BLUE, width=0.8)
        axes.axhline(100 / experts, color=ORANGE, linestyle="--", linewidth=2, label="even share")
        title = f"layer {i + 1}: {dead[i]} of {experts} dead"
        style(axes, "expert", "slots (%)" if i == 0 else "", title)
        axes.locator_params(axis="x", integer=True, nbins=8)
        if i == layers - 1:
            axes.legend(fontsize=10, frameon=False, loc="upper right")


def _place(axes: Axes, by_place: np.ndarray) -> None:
    """Map [h, w]: integers are the most used expert of each place, numbers a quantity such as
    the entropy of the routing."""
    if not np.issubdtype(by_place.dtype, np.integer):
        drawn = axes.imshow(by_place, cmap=VALUES, interpolation="nearest")
        bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.8)
        bar.set_label("entropy of the routing", fontsize=10)
        style(axes, "column", "row", "by place: entropy")
    else:
        experts, places = np.unique(by_place, return_counts=True)
        # the most frequent get a colour each
        named = experts[np.sort(np.argsort(-places, kind="stable")[: len(CYCLE)])]
        index = np.where(np.isin(by_place, named), np.searchsorted(named, by_place), len(named))
        others = len(experts) - len(named)
        colours = ListedColormap([*CYCLE[: len(named)], *([NEUTRAL] if others else [])])
        norm = BoundaryNorm(np.arange(colours.N + 1) - 0.5, colours.N)
        drawn = axes.imshow(index, cmap=colours, norm=norm, interpolation="nearest")
        bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.8, ticks=range(colours.N))
        bar.set_ticklabels([*map(str, named), *([f"{others} others"] if others else [])])
        style(axes, "column", "row", "by place: most used expert")
    axes.grid(False)


def expert_usage(
    path: str | Path,
    usage: np.ndarray,
    by_place: np.ndarray,
    by_time: np.ndarray,
    name: str = "experts",
    fps: float = 0.0,
) -> Path:
    """Use of experts of a model: by layer, by place of the frame and by time of a clip.

    usage: [L, E] slots or shares of each layer; by_place: [h, w] int (most used expert) or float
    (entropy); by_time: [T, E] slots or shares of each frame, or [T] entropy. name starts the title;
    fps 0: time in frames. Raises DataError for other shapes.
    """
    usage, by_place = np.atleast_2d(np.asarray(usage, np.float64)), np.asarray(by_place)
    by_time = np.asarray(by_time, np.float64)
    times = by_time.ndim == 1 or (by_time.ndim == 2 and by_time.shape[1] == usage.shape[1])
    if usage.ndim != 2 or by_place.ndim != 2 or not times:
        raise DataError(
            f"expert usage: usage {usage.shape}, by place {by_place.shape}, by time"
            f" {by_time.shape}; expected [L, E], [h, w] and [T, E] or [T]"
        )
    factor, xlabel = (1 / fps, "time (s)") if fps > 0 else (1.0, "time (frames)")
    figure = new_figure(f"{shorten(name)}: use of experts", 7.0)
    top, bottom = figure.subfigures(2, 1, squeeze=False)[:, 0]
    _layers(top, usage)
    left, right = bottom.subplots(1, 2)
    _place(left, by_place)
    if by_time.ndim == 1:
        edges = np.arange(len(by_time) + 1) * factor
        right.stairs(by_time, edges, baseline=None, color=BLUE, linewidth=1.6)
        style(right, xlabel, "entropy of the routing", "by time: entropy")
    else:
        share = 100 * by_time / np.maximum(by_time.sum(axis=1, keepdims=True), 1e-12)
        extent = (0, len(share) * factor, usage.shape[1] - 0.5, -0.5)
        drawn = right.imshow(share.T, extent=extent, **SHARES)
        bottom.colorbar(drawn, ax=right).set_label("slots of the frame (%)", fontsize=10)
        style(right, xlabel, "expert", "by time: share of each expert")
        right.grid(False)
    return save(figure, path)
