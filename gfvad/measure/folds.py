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
        rows = [
            row
            for _, row in read_table(
                folder / "ablation.csv", ("setting", "seed", "metric", "value", *HEADLINE)
            )
        ]
        found: dict[str, dict[int, float]] = {}
        for row in rows:
            if row["metric"] == metric and all(
                row[key] == value for key, value in HEADLINE.items()
            ):
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
    names = [
        base,
        *(name for name in first if name != base and all(name in values for _, values in folds)),
    ]
    for folder, (own, values) in zip(folders, folds):
        if own != base or any(
            values[name].keys() != first[name].keys() for name in names if name in values
        ):
            raise DataError(
                f"{folder}: base {own!r}, seeds {sorted(values.get(base, ()))}; expected those of"
                f" {folders[0]}: {base!r}, {sorted(first[base])}"
            )
    tables = {
        name: np.array(
            [[values[name][seed] for seed in sorted(first[name])] for _, values in folds]
        )
        for name in names
    }
    made = []
    for name, table in tables.items():
        own, other = table.mean(1), tables[base].mean(1)
        made.append(
            Joined(
                name,
                table,
                *(
                    (math.nan, math.nan)
                    if name == base
                    else (float((own - other).mean()), paired_t(own, other)[0])
                ),
            )
        )
    return made


def table(joined: Sequence[Joined], metric: str) -> str:
    """Markdown."""
    folds, seeds = joined[0].values.shape
    lines = [
        (
            f"## {'AUC of whole videos by their peaks' if metric == OF_VIDEOS else metric.upper()},"
            f" {folds} folds x {seeds} seeds"
        ),
        "",
        (
            "| setting | values | mean ± sd | of each fold | difference | folds below the base | p,"
            " t-test over folds |"
        ),
        "|---|---|---|---|---|---|---|",
    ]
    base = joined[0].values.mean(1)
    for one in joined:
        own = one.values.mean(1)
        rest = (
            "| | | |"
            if one is joined[0]
            else (
                f"| {number(one.difference, signed=True)} | {(own < base).sum()} of {folds} |"
                f" {p_value(one.p)} |"
            )
        )
        lines.append(
            f"| `{one.name}` | {one.values.size} | {one.values.mean():.4f} ±"
            f" {one.values.std(ddof=1):.4f} | {', '.join(f'{v:.4f}' for v in own)} {rest}"
        )
    return "\n".join(lines)
