"""Joins ablations that differ in nothing but the videos they test (`gfvad extract --fold=K`) into
one table: cross-validation (`gfvad compare folds`).

The value of a fold is its mean over seeds; the table shows mean and deviation over folds and seeds,
and, against the base, a paired t-test over folds (their training parts overlap, which the test does
not know: take its p as a guide, Dietterich 1998).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.errors import ConfigError, DataError
from gfvad.base.files import read_json, read_table
from gfvad.base.names import nearest
from gfvad.measure.compare import OF_VIDEOS, number, p_value, paired_t
from gfvad.measure.protocols import HEADLINE


class Joined(NamedTuple):
    """One setting over all folds."""

    name: str
    values: np.ndarray  # [folds, seeds]
    difference: float  # of the mean over folds, from the base; NaN of the base
    p: float  # paired t-test over folds; NaN of the base


def read_fold(folder: Path, metric: str) -> tuple[str, dict[str, dict[int, float]]]:
    """(base setting, {setting: {seed: value}}) of one ablation. Raises DataError for a folder
    without one, or without the metric."""
    try:
        base = read_json(folder / "sweep.json", "that of gfvad ablate")["base"]
        columns = ("setting", "seed", "metric", "value", *HEADLINE)
        rows = [row for _, row in read_table(folder / "ablation.csv", columns)]
        wanted, found = {**HEADLINE, "metric": metric}, dict[str, dict[int, float]]()
        for row in rows:
            if all(row[key] == value for key, value in wanted.items()):
                found.setdefault(row["setting"], {})[int(row["seed"])] = float(row["value"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{folder}: no finished ablation ({error}); expected sweep.json and ablation.csv of"
            " gfvad ablate"
        ) from None
    if base not in found:
        raise DataError(
            f"{folder}/ablation.csv: no {metric!r} of"
            f" {base!r}{nearest(metric, sorted({row['metric'] for row in rows}))}"
        )
    return base, found


def join(folders: Sequence[Path], metric: str) -> list[Joined]:
    """The settings that all folds have, the base first. Raises DataError where folds differ in
    base or seeds, ConfigError for fewer than two."""
    if len(folders) < 2:
        raise ConfigError(f"{len(folders)} folds: expected the folders of two ablations or more")
    folds = [read_fold(folder, metric) for folder in folders]
    base, first = folds[0]
    everywhere = [name for name in first if all(name in values for _, values in folds)]
    names = dict.fromkeys((base, *everywhere))
    for folder, (own, values) in zip(folders, folds):
        differ = [n for n in names if n in values and values[n].keys() != first[n].keys()]
        if own != base or differ:
            raise DataError(
                f"{folder}: base {own!r}, seeds {sorted(values.get(base, ()))}; expected those of"
                f" {folders[0]}: {base!r}, {sorted(first[base])}"
            )
    made: list[Joined] = []
    for name in names:
        seeds = sorted(first[name])
        values = np.array([[values[name][seed] for seed in seeds] for _, values in folds])
        difference, p = math.nan, math.nan
        if made:
            own, other = values.mean(1), made[0].values.mean(1)
            difference, p = float((own - other).mean()), paired_t(own, other)[0]
        made.append(Joined(name, values, difference, p))
    return made


def joined_table(joined: Sequence[Joined], metric: str) -> str:
    """Markdown."""
    folds, seeds = joined[0].values.shape
    name = "AUC of whole videos by their peaks" if metric == OF_VIDEOS else metric.upper()
    header = "setting | values | mean ± sd | of each fold | difference | folds below the base"
    lines = [f"## {name}, {folds} folds x {seeds} seeds", ""]
    lines += [f"| {header} | p, t-test over folds |", "|---|---|---|---|---|---|---|"]
    base = joined[0].values.mean(1)
    for one in joined:
        own, v, rest = one.values.mean(1), one.values, "| | | |"
        if one is not joined[0]:
            below = f"{(own < base).sum()} of {folds}"
            rest = f"| {number(one.difference, signed=True)} | {below} | {p_value(one.p)} |"
        lines.append(
            f"| `{one.name}` | {v.size} | {v.mean():.4f} ± {v.std(ddof=1):.4f} |"
            f" {', '.join(f'{mean:.4f}' for mean in own)} {rest}"
        )
    return "\n".join(lines)
