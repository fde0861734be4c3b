"""Figures of a sweep: a forest plot of all settings with their intervals and, of a number that
was varied, the curve over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gfvad.ablation.sweep import Setting, Sweep
from gfvad.figures.curves import BLUE, CYCLE, DASHES, RED, new_figure, save, style
from gfvad.measure.compare import spread
from gfvad.settings.config import flatten

POINTS = 3  # values of a number from which on a curve is drawn
CURVES = 7  # lines in one figure; more cannot be told apart


def draw(
    folder: Path, dataset: str, sweep: Sweep, values: Mapping[str, Sequence[float]], metric: str
) -> list[Path]:
    """forest.png, and curve_KEY.png for each number that takes three values or more. values:
    setting -> metric of each seed (may be empty)."""
    known = {name: list(v) for name, v in values.items() if len(v)}
    paths = [forest(known, sweep.base, f"{dataset}: {sweep.name}", metric, folder / "forest.png")]
    settings = [setting for setting in sweep.settings if setting.name in known]
    title = f"{dataset}: {sweep.name}"
    for key, lines in axes(settings).items():
        path = folder / f"curve_{key.replace('.', '_')}.png"
        paths.append(curve(key, lines, known, (title, metric), path))
    return paths


def forest(
    values: Mapping[str, Sequence[float]], base: str, title: str, metric: str, path: Path
) -> Path:
    """A line a setting, the base on top and the others from the best down: its seeds, their mean
    and its 95 % interval."""
    names = [base, *sorted((n for n in values if n != base), key=lambda n: -np.mean(values[n]))]
    figure = new_figure(f"{title}, mean and 95 % interval over seeds", 1.2 + 0.32 * len(names))
    panel = figure.subplots()
    for place, name in enumerate(names):
        s = spread(values[name])
        colour = RED if name == base else BLUE
        seeds = [place] * len(values[name])
        panel.plot(values[name], seeds, "o", color="0.7", markersize=4, zorder=1)
        if not np.isnan(s.interval[0]):
            panel.plot(s.interval, [place, place], "-", color=colour, linewidth=2, zorder=2)
        panel.plot([s.mean], [place], "D", color=colour, markersize=6, zorder=3)
    panel.axvline(float(np.mean(values[base])), color=RED, linestyle=":", linewidth=1)
    ticks = [f"{name} (base)" if name == base != "base" else name for name in names]
    panel.set_yticks(range(len(names)), ticks)
    panel.set_ylim(len(names) - 0.4, -0.6)
    low, high = panel.get_xlim()
    # an interval by t of two or three seeds can leave what the metric can be
    panel.set_xlim(max(low, 0.0), min(high, 1.0))
    style(panel, f"frame {metric.upper()}", "")
    return save(figure, path)


def axes(settings: Sequence[Setting]) -> dict[str, dict[str, list[tuple[float, str]]]]:
    """Numeric key -> {what else a line's settings have in common: [(value, setting)] by value}, of
    keys with three values or more.

    Found from the configs alone: a line is made of settings that are equal in all but that key.
    """
    leaves = {setting.name: flatten(setting.config) for setting in settings}
    for own in leaves.values():
        own.pop("variant", None)
    first = next(iter(leaves.values()), {})
    differing = [k for k in first if len({repr(own.get(k)) for own in leaves.values()}) > 1]
    found = {}
    for key in differing:
        lines: dict[str, list[tuple[float, str]]] = {}
        for name, own in leaves.items():
            value = own.get(key)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                others = (k for k in differing if k != key)
                rest = ", ".join(f"{k.rsplit('.', 1)[-1]} {own.get(k)!r}" for k in others)
                lines.setdefault(rest, []).append((float(value), name))
        lines = {rest: sorted(points) for rest, points in lines.items() if len(points) >= POINTS}
        if lines:
            found[key] = dict(list(lines.items())[:CURVES])
    return found


def curve(
    key: str,
    lines: Mapping[str, list[tuple[float, str]]],
    values: Mapping[str, Sequence[float]],
    labels: tuple[str, str],
    path: Path,
) -> Path:
    """The metric over a number, with its 95 % interval; a line for each combination of the other
    keys. labels: title, metric."""
    title, metric = labels
    figure = new_figure(f"{title}, over {key}", 4.5)
    panel = figure.subplots()
    for i, (rest, points) in enumerate(lines.items()):
        x = np.array([value for value, _ in points])
        spreads = [spread(values[name]) for _, name in points]
        colour = CYCLE[i % len(CYCLE)]
        look = {"color": colour, "marker": "o", "markersize": 5, "linewidth": 1.8}
        panel.plot(x, [s.mean for s in spreads], DASHES[i % 4], label=rest or None, **look)
        low, high = (np.array([s.interval[end] for s in spreads]) for end in (0, 1))
        known = ~np.isnan(low)
        panel.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0, where=known)
    x = np.array([value for points in lines.values() for value, _ in points])
    if x.min() > 0 and x.max() / x.min() >= 30:
        panel.set_xscale("log")
    style(panel, key, f"frame {metric.upper()}")
    low, high = panel.get_ylim()
    panel.set_ylim(max(low, 0.0), min(high, 1.0))
    if len(lines) > 1:
        panel.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save(figure, path)
