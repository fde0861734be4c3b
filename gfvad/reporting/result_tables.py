"""Fills the tables of README.md and docs/ from the stored results.

    gfvad report --tables [CHECKOUT]

A page holds `<!-- table: NAME -->` ... `<!-- end -->`; what stands between is written from
docs/results/: `tables.toml` says what the table shows, `NAME.csv` holds the values, `runs.csv` the
commands that measured them (`<!-- run: NAME -->` ... `<!-- end -->`).

Values of settings have the columns setting, seed, metric, value and run. `seed` is a number, or
`mean`, `sd`, `n` where only these are known, `fold K` (mean of a fold), `p_folds`, `p_bootstrap`,
`low_bootstrap`, `high_bootstrap` (tests against the base), or empty. Any other CSV (with a column
run) is a table as it was printed. A table with `reported` (names of sets) shows what papers report
on them (gfvad/measure/reported.csv); with `model`, of the method that our model of that name is.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from gfvad.base.errors import DataError
from gfvad.base.files import read_table, read_text, write_text
from gfvad.base.names import nearest
from gfvad.measure import reported
from gfvad.measure.compare import between, number, p_value, paired_t, spread

RESULTS = Path("docs", "results")
MARKED = re.compile(r"(<!-- (table|run): (\S+) -->\n)(.*?)(<!-- end -->)", re.S)
PLACEHOLDER = re.compile(r"\{([^{}]+)\}")

Cell = dict[str, str]  # seed or statistic -> value, of one setting and metric


def update(checkout: Path) -> list[Path]:
    """Writes every page whose tables differ from the stored results; returns those pages. Raises as
    `outdated`."""
    return [write_text(page, text) for page, text in outdated(checkout).items()]


def outdated(checkout: Path) -> dict[Path, str]:
    """Pages whose tables differ from the stored results, as they should be. Raises DataError for a
    folder that is no checkout and for a table that cannot be made."""
    if not (checkout / RESULTS / "tables.toml").is_file():
        raise DataError(
            f"{checkout}: no {RESULTS}/tables.toml in it; expected a checkout of gfvad: run the"
            " command there, or name its folder"
        )
    results = Results(checkout / RESULTS)
    changed = {}
    for page in [checkout / "README.md", *sorted((checkout / "docs").rglob("*.md"))]:
        before = read_text(page, "a page of the documentation")
        after = MARKED.sub(lambda m: m[1] + results.marked(m[2], m[3]) + "\n" + m[5], before)
        if after != before:
            changed[page] = after
    return changed


class Results:
    """The stored results of a checkout, and the tables that are made of them."""

    def __init__(self, folder: Path):
        """folder: docs/results of the checkout."""
        self.folder = folder
        self.layout = tomllib.loads(read_text(folder / "tables.toml", "the layout of the tables"))
        self.rows = cache(self._rows)
        self.values = cache(self._values)

    def _rows(self, name: str) -> list[dict[str, str]]:
        return [row for _, row in read_table(self.folder / f"{name}.csv", ("run",))]

    def _values(self, name: str) -> dict[str, dict[str, Cell]]:
        """Setting -> metric -> cell, of a CSV of settings."""
        found: dict[str, dict[str, Cell]] = {}
        for row in self.rows(name):
            cell = found.setdefault(row["setting"], {}).setdefault(row["metric"], {})
            if row["seed"] in cell:
                raise DataError(f"{self.folder / name}.csv: {row} stands there twice")
            cell[row["seed"]] = row["value"]
        return found

    def marked(self, kind: str, name: str) -> str:
        """What stands between the two comments of a mark."""
        return self.run(name) if kind == "run" else self.table(name)

    def run(self, name: str) -> str:
        """The commands of a run, with date and machine."""
        runs = [row for row in self.rows("runs") if row["run"] == name]
        if not runs:
            known = sorted({row["run"] for row in self.rows("runs")})
            raise DataError(f"{self.folder}/runs.csv: no run {name!r}{nearest(name, known)}")
        commands = "\n".join(row["command"] for row in runs)
        return f"```bash\n{commands}\n```\n\nMeasured {runs[0]['date']} on {runs[0]['machine']}."

    def table(self, name: str) -> str:
        """A table of tables.toml in Markdown."""
        known = self.layout["table"]
        if name not in known:
            raise DataError(f"{self.folder}/tables.toml: no table {name!r}{nearest(name, known)}")
        table = known[name]
        if "reported" in table:
            return markdown(*reported.as_table(table["reported"], table.get("model", "")))
        if "rows" in table:
            header, *rows = table["rows"]
            return markdown(header, [[self.absolute(cell) for cell in row] for row in rows])
        columns = table.get("columns")
        columns = self.layout["columns"][columns] if isinstance(columns, str) else columns
        rows = self.rows(table["csv"])
        if "setting" not in rows[0]:
            columns = columns or {key: f"{{{key}}}" for key in rows[0] if key != "run"}
            cells = [[filled(text, row.__getitem__) for text in columns.values()] for row in rows]
            return markdown(columns, cells[: table.get("first")])
        return markdown(columns, self.of_settings(table, columns))

    def of_settings(self, table: Mapping[str, Any], columns: Mapping[str, str]) -> list[list[str]]:
        """Cells of a table with a row a setting. In a column's text `$` is the table's metric,
        `{METRIC STATISTIC}` a value (the statistic as in STATISTICS), `{label}` the setting's."""
        values, base, metric = self.values(table["csv"]), table.get("base"), table.get("metric", "")
        labels = table.get("settings") or labels_of(values, metric, base)
        metrics = {metric for of_setting in values.values() for metric in of_setting}

        def cell(setting: str, text: str) -> str:
            if text == "label":
                return labels[setting]
            key, _, statistic = text.partition(" ")
            if key not in metrics:
                raise DataError(
                    f"{table['csv']}.csv: no metric {key!r}{nearest(key, sorted(metrics))}"
                )
            found = values[setting].get(key, {})
            against = values[base].get(key, {}) if base and base != setting else {}
            return STATISTICS[statistic](found, against) if found else ""

        return [
            [filled(text.replace("$", metric), partial(cell, setting)) for text in columns.values()]
            for setting in labels
        ]

    def absolute(self, text: str) -> str:
        """A text with `{CSV/SETTING/METRIC STATISTIC}` filled in."""

        def value(key: str) -> str:
            name, _, rest = key.partition("/")
            setting, _, metric = rest.rpartition("/")  # settings may have strokes in their names
            metric, _, statistic = metric.partition(" ")
            try:
                return STATISTICS[statistic](self.values(name)[setting][metric], {})
            except KeyError as error:
                raise DataError(f"{self.folder}/tables.toml, {{{key}}}: no {error}") from None

        return filled(text, value)


def labels_of(
    values: Mapping[str, Mapping[str, Cell]], metric: str, base: str | None
) -> dict[str, str]:
    """Label of each setting with seeds, the base first, then from the best down; behind them the
    floors that stand beside models with costs."""
    mean = {name: over_seeds(cells.get(metric, {})) for name, cells in values.items()}
    ranked = sorted(mean, key=lambda name: (name != base, -mean[name][0]))
    found = {n: f"`{n}`" if n != base else f"**`{n}`** (base)" for n in ranked if mean[n][2]}
    if any("parameters" in cells for cells in values.values()):
        floors = [n for n in ranked if n.startswith(FLOOR) and not math.isnan(mean[n][0])]
        found |= {name: f"floor: {name.removeprefix(FLOOR)}" for name in floors}
    return found


def filled(text: str, value: Any) -> str:
    """A text with each {KEY} replaced by value(KEY)."""
    return PLACEHOLDER.sub(lambda match: value(match[1]), text)


def markdown(header: Sequence[str] | Mapping[str, str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [list(header), ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def of_seeds(cell: Cell, kind: str = r"\d+") -> dict[str, float]:
    """Seed (or fold) -> value."""
    return {key: float(value) for key, value in cell.items() if re.fullmatch(kind, key)}


def over_seeds(cell: Cell) -> tuple[float, float, int]:
    """(mean, standard deviation, number of values); NaN where unknown."""
    if "mean" in cell:
        return float(cell["mean"]), float(cell.get("sd", "nan")), int(cell.get("n", "0"))
    found = spread([*of_seeds(cell).values()] or [float(cell.get("", "nan"))])
    return found.mean, found.deviation, len(of_seeds(cell))


def plain(cell: Cell, base: Cell) -> str:
    """'0.8885 ± 0.0052'; a single value as it is stored."""
    mean, deviation, count = over_seeds(cell)
    shown = number(mean) if count or "mean" in cell else cell[""]
    return shown if math.isnan(deviation) else f"{shown} ± {number(deviation)}"


def paired(cell: Cell, base: Cell) -> tuple[float, tuple[float, float]]:
    """`paired_t` over the seeds of both."""
    a, b = of_seeds(cell), of_seeds(base)
    both = [key for key in a if key in b]
    return paired_t([a[key] for key in both], [b[key] for key in both])


FOLD, FLOOR = r"fold \d+", "floor/"
# statistic of a placeholder -> what it shows of (a cell, that of the base; {} of the base itself)
STATISTICS = {
    "": plain,
    "whole": lambda cell, base: f"{float(cell['']):,.0f}",
    "over videos": lambda cell, base: (
        between((float(cell["low"]), float(cell["high"]))) if not of_one(cell) else ""
    ),
    "mean": lambda cell, base: number(over_seeds(cell)[0]),
    "n": lambda cell, base: str(over_seeds(cell)[2] or ""),
    "95 %": lambda cell, base: between(spread([*of_seeds(cell).values()]).interval),
    "difference": lambda cell, base: (
        number(over_seeds(cell)[0] - over_seeds(base)[0], True) if base else ""
    ),
    "95 % seeds": lambda cell, base: between(paired(cell, base)[1], True) if base else "",
    "p seeds": lambda cell, base: p_value(paired(cell, base)[0]) if tested(cell, base) else "",
    "95 % videos": lambda cell, base: (
        between((float(cell["low_bootstrap"]), float(cell["high_bootstrap"])), True)
        if tested(cell, base)
        else ""
    ),
    "p videos": lambda cell, base: (
        p_value(float(cell["p_bootstrap"])) if tested(cell, base) else ""
    ),
    "folds": lambda cell, base: ", ".join(map(number, of_seeds(cell, FOLD).values())),
    "folds below": lambda cell, base: folds_below(cell, base) if base else "",
    "p folds": lambda cell, base: p_value(float(cell["p_folds"])) if tested(cell, base) else "",
}


def of_one(cell: Cell) -> bool:
    """Whether there is one value alone, of what has no seeds: a floor, a number of parameters."""
    return set(cell) == {""}


def tested(cell: Cell, base: Cell) -> bool:
    """Whether a cell has tests against that of the base."""
    return bool(base) and not of_one(cell)


def folds_below(cell: Cell, base: Cell) -> str:
    """'3 of 5': folds in which a setting is below the base."""
    values, limit = of_seeds(cell, FOLD), of_seeds(base, FOLD)
    return f"{sum(values[fold] < limit[fold] for fold in values)} of {len(values)}"
