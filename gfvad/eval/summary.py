"""Mean and spread over seeds of finished runs.

    python -m gfvad.eval.summary FOLDER [FOLDER ...]

Each FOLDER holds results.json or sub-folders that do. Runs whose configs differ only in the seed are one row.
"""
from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.types import DataError

COLUMNS = ("auc", "ap")


class Row(NamedTuple):
    """One setting over its seeds."""

    label: str
    dataset: str
    seeds: tuple[int, ...]
    values: dict[str, np.ndarray]  # metric -> [seeds] micro, no normalisation, no smoothing, last checkpoint


def read(path: Path) -> dict:
    """One results.json. Raises DataError where it is missing or not whole."""
    try:
        results = json.loads(path.read_text())
    except FileNotFoundError as e:
        raise DataError(f"{path}: not found; expected a finished run (python -m gfvad.main writes it at the end)") from e
    except json.JSONDecodeError as e:
        raise DataError(f"{path}: not JSON ({e}); run the evaluation again with --mode=evaluate") from e
    missing = {"records", "seed", "dataset", "headline", "group"} - set(results)
    if missing:
        raise DataError(f"{path}: keys {sorted(missing)} are missing; expected a results.json of this project; evaluate the run again")
    return results


def find(folder: Path) -> list[Path]:
    """results.json of a folder, or of its sub-folders."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one with results.json in it or in its sub-folders")
    found = [folder / "results.json"] if (folder / "results.json").is_file() else sorted(folder.glob("*/results.json"))
    if not found:
        raise DataError(f"{folder}: no results.json in it or in its sub-folders; expected finished runs")
    return found


def honest_value(results: dict, metric: str) -> float | None:
    """Micro, no normalisation, no smoothing, last checkpoint."""
    wanted = {"metric": metric, "aggregation": "micro", "normalisation": "none", "smoothing": "none", "checkpoint": "last"}
    values = [r["value"] for r in results["records"] if all(r.get(k) == v for k, v in wanted.items())]
    return values[0] if values else None


def summarise(paths: Sequence[Path]) -> list[Row]:
    """Groups runs by their config without the seed. Raises DataError where one seed stands twice in a group."""
    groups = defaultdict(list)
    for path in paths:
        groups[read(path)["group"]].append((path, read(path)))
    rows = []
    for members in groups.values():
        seeds = [results["seed"] for _, results in members]
        if len(set(seeds)) < len(seeds):
            raise DataError(f"{members[0][0]} and others: seeds {sorted(seeds)} repeat within one setting; give each run once")
        members = [m for _, m in sorted(zip(seeds, members, strict=True), key=lambda pair: pair[0])]
        values = {m: np.array([np.nan if (v := honest_value(r, m)) is None else v for _, r in members]) for m in COLUMNS}
        first = members[0][1]
        rows.append(Row(first.get("label") or str(members[0][0].parent), first["dataset"], tuple(sorted(seeds)), values))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown: setting, seeds, mean ± sample standard deviation and range of each metric."""
    lines = ["| dataset | setting | seeds | " + " | ".join(f"{m.upper()} mean ± sd (min to max)" for m in COLUMNS) + " |",
             "|---|---|---|" + "---|" * len(COLUMNS)]  # fmt: skip
    for row in rows:
        cells = []
        for metric in COLUMNS:
            v = row.values[metric]
            spread = f" ± {v.std(ddof=1):.4f} ({v.min():.4f} to {v.max():.4f})" if len(v) > 1 else ""
            cells.append(f"{v.mean():.4f}{spread}")
        lines.append(f"| {row.dataset} | {row.label} | {len(row.seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m gfvad.eval.summary", description="Mean and spread over seeds of finished runs.")
    parser.add_argument("folders", nargs="+", type=Path, help="run folders, or folders of run folders")
    try:
        folders = parser.parse_args(argv).folders
        print(table(summarise([path for folder in folders for path in find(folder)])))
        print("\nmicro frame metrics, last checkpoint, no normalisation, no smoothing")
        return 0
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
