"""Mean and spread over seeds of finished runs (`gfvad compare summary`).

Runs whose configs differ only in the seed are one row. Runs of the predictive model get a second
table, a column a setting: other protocols, pixel metrics, and every value that results.json has by
name (floors, terms alone, ...).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.errors import DataError
from gfvad.base.files import lies_at, read_json
from gfvad.measure import paired
from gfvad.measure.protocols import HEADLINE
from gfvad.measure.results import find_results, left_out, name_areas
from gfvad.measure.tables import title

COLUMNS = ("auc", "ap")
PIXEL = (
    "pixel_auc",
    "pixel_criterion_auc",
    "pixel_criterion_eer",
    "rbdc",
    "tbdc",
    "rbdc_interpolated",
    "tbdc_interpolated",
)
BESIDE = {  # rows of the second table ahead of those by name -> the record
    "AUC, min-max a video, Gaussian of sigma 5": (
        HEADLINE | {"metric": "auc", "normalisation": "minmax", "smoothing": "gaussian5"}
    ),
    **{title(metric): HEADLINE | {"metric": metric} for metric in PIXEL},
}


class Row(NamedTuple):
    """One setting over its seeds."""

    label: str
    dataset: str
    seeds: tuple[int, ...]
    # metric -> [seeds] micro, no normalisation, no smoothing, last checkpoint
    values: dict[str, np.ndarray]
    # of a predictive model: what else was measured -> [seeds], NaN where a run lacks it; else empty
    beside: dict[str, np.ndarray]
    # the mean over seeds against each score beside it (paired.py)
    paired: list[dict[str, Any]]


def read(path: Path) -> dict:
    """One results.json. Raises DataError where it is missing or not whole."""
    if not lies_at(path):
        raise DataError(
            f"{path}: not found; expected a finished run (gfvad train writes it at the end)"
        )
    results = read_json(path, "the results of a run: evaluate it again by gfvad evaluate")
    missing = {"records", "seed", "dataset", "headline", "group"} - set(results)
    if missing:
        raise DataError(
            f"{path}: keys {sorted(missing)} are missing; expected a results.json of this project;"
            " evaluate the run again"
        )
    return name_areas(results)


def find(folder: Path) -> list[Path]:
    """results.json of a folder, or of its sub-folders."""
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; expected one with results.json in it or in its sub-folders"
        )
    found, without = find_results(folder)
    if found and without:
        print(f"left out: {left_out(without)} (in {folder})", file=sys.stderr)
    if not found:
        raise DataError(
            f"{folder}: no results.json in it or in its sub-folders; expected finished runs"
        )
    return found


def value_of(results: dict, wanted: Mapping[str, str]) -> float:
    """Value of the first record with these entries; NaN where there is none or it is undefined."""
    fits = lambda r: all(r.get(k) == v for k, v in wanted.items())
    values = [r["value"] for r in results["records"] if fits(r)]
    return np.nan if not values or values[0] is None else float(values[0])


def values_beside(runs: Sequence[dict]) -> dict[str, np.ndarray]:
    """Name -> [seeds] of what runs with `named` values hold beside the plain metrics, records
    first; rows that no run has are left out."""
    if not any("named" in results for results in runs):
        return {}
    found = {n: [value_of(run, wanted) for run in runs] for n, wanted in BESIDE.items()}
    for name in dict.fromkeys(name for run in runs for name in run.get("named", ())):
        found[name] = [run.get("named", {}).get(name) for run in runs]
    # null is NaN in float64
    arrays = {name: np.array(values, np.float64) for name, values in found.items()}
    return {name: values for name, values in arrays.items() if not np.isnan(values).all()}


def summarise(paths: Sequence[Path]) -> list[Row]:
    """Groups runs by their config without the seed. Raises DataError where one seed stands twice
    in a group."""
    groups: dict[str, list[tuple[Path, dict]]] = {}
    for path in paths:
        results = read(path)
        groups.setdefault(results["group"], []).append((path, results))
    rows = []
    for members in groups.values():
        seeds = sorted(results["seed"] for _, results in members)
        if len(set(seeds)) < len(seeds):
            raise DataError(
                f"{members[0][0]} and others: seeds {seeds} repeat within one setting; give each"
                " run once"
            )
        members.sort(key=lambda member: member[1]["seed"])
        runs = [results for _, results in members]
        of = lambda m, runs=runs: np.array([value_of(r, HEADLINE | {"metric": m}) for r in runs])
        label = runs[0].get("label") or str(members[0][0].parent)
        values = {m: of(m) for m in COLUMNS}, values_beside(runs)
        tested = paired.over_seeds([(r, path.parent) for path, r in members])
        rows.append(Row(label, runs[0]["dataset"], tuple(seeds), *values, tested))
    return rows


def seeds_table(rows: Sequence[Row]) -> str:
    """Markdown: setting, seeds, mean ± sample standard deviation and range of each metric."""
    metrics = [f"{m.upper()} mean ± sd (min to max)" for m in COLUMNS]
    lines = [["dataset", "setting", "seeds", *metrics]]
    for row in rows:
        cells = [row.dataset, row.label, str(len(row.seeds))]
        for v in (row.values[metric] for metric in COLUMNS):
            cells.append(f"{v.mean():.4f}")
            if len(v) > 1:
                cells[-1] += f" ± {v.std(ddof=1):.4f} ({v.min():.4f} to {v.max():.4f})"
        lines.append(cells)
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body])


def table_beside(rows: Sequence[Row]) -> str:
    """Markdown: a line a value by name, a column a setting, mean ± sample standard deviation
    over its seeds; '' without such settings."""
    rows = [row for row in rows if row.beside]
    several = len({row.dataset for row in rows}) > 1
    settings = [(f"{row.dataset}: " if several else "") + row.label for row in rows]
    lines = [["value", *settings], ["---"] * (len(rows) + 1)]
    for name in dict.fromkeys(name for row in rows for name in row.beside):
        lines.append([name, *(cell(row.beside.get(name, np.zeros(0))) for row in rows)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def paired_text(rows: Sequence[Row]) -> str:
    """Markdown: of each setting, what its mean over seeds is against the scores that stand beside
    it; '' where none has such pairs."""
    parts = []
    for row in rows:
        if table := paired.table(row.paired):
            lines = [table["header"], ["---"] * len(table["header"]), *table["rows"]]
            cells = "\n".join(f"| {' | '.join(line)} |" for line in lines)
            about = f"{row.dataset}, {row.label}, mean over {len(row.seeds)} seeds"
            parts.append(f"{about}: {table['title']}\n\n{cells}")
    return "\n\n".join(parts)


def cell(values: np.ndarray) -> str:
    """'0.9474 ± 0.0012'; of the seeds that have the value, and how many where some lack it; '-'
    where none has."""
    known = values[~np.isnan(values)]
    if not len(known):
        return "-"
    spread = f" ± {known.std(ddof=1):.4f}" if len(known) > 1 else ""
    of = f" ({len(known)} of {len(values)} seeds)" if len(known) < len(values) else ""
    return f"{known.mean():.4f}{spread}{of}"
