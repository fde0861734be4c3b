"""Tables of the pages come from the stored results, and these from runs that are named."""

import csv
import shutil

import numpy as np
import pytest

from gfvad.base.errors import DataError
from gfvad.commands import report
from gfvad.reporting.result_tables import RESULTS, Results, outdated

TABLES = """
[table]
auc = {csv = "runs_of_a", base = "a", metric = "auc", columns = "all"}
printed = {csv = "printed"}
[columns.all]
setting = "{label}"
seeds = "{$ n}"
mean = "{$}"
interval = "{$ 95 %}"
difference = "{$ difference}"
seeds_p = "{$ p seeds}"
videos = "{$ 95 % videos}"
videos_p = "{$ p videos}"
ap = "{ap}"
"""
VALUES = """setting,seed,metric,value,run
a,0,auc,0.9,first
a,1,auc,0.8,first
b,0,auc,0.7,first
b,1,auc,0.5,first
b,low_bootstrap,auc,-0.3,first
b,high_bootstrap,auc,-0.1,first
b,p_bootstrap,auc,0.0009995,first
b,mean,ap,0.4,first
b,sd,ap,0.05,first
floor,,auc,0.6,first
"""


def test_every_table_is_as_the_stored_results_say(repository):
    assert not [*outdated(repository)], "gfvad report --tables writes them"


def test_every_table_is_shown(repository):
    pages = "".join(
        page.read_text()
        for page in [repository / "README.md", *(repository / "docs").rglob("*.md")]
    )
    results = Results(repository / RESULTS)
    for name in results.layout["table"]:
        assert f"<!-- table: {name} -->" in pages, name


def test_every_value_names_its_run(repository):
    with (repository / RESULTS / "runs.csv").open() as file:
        runs = {row["run"] for row in csv.DictReader(file)}
    named = set()
    for path in (repository / RESULTS).glob("*.csv"):
        with path.open() as file:
            named |= {row["run"] for row in csv.DictReader(file)}
    assert named == runs


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / RESULTS
    folder.mkdir(parents=True)
    (folder / "tables.toml").write_text(TABLES)
    (folder / "runs_of_a.csv").write_text(VALUES)
    (folder / "printed.csv").write_text("x,y,run\n1,2,first\n")
    (folder / "runs.csv").write_text("run,date,machine,command\nfirst,2026-01-01,a clock,go on\n")
    (tmp_path / "README.md").write_text(
        "a\n<!-- table: auc -->\nold\n<!-- end -->\nb\n<!-- table: printed -->\n<!-- end -->\n"
        "<!-- run: first -->\n<!-- end -->\n"
    )
    return tmp_path


def test_fills_tables(checkout, capsys):
    assert report.main(["--tables", str(checkout)]) == 0
    assert "README.md" in capsys.readouterr().out
    lines = (checkout / "README.md").read_text().splitlines()
    assert lines[0] == "a" and lines[7] == "b"
    a, b = (lines[i].split(" | ") for i in (4, 5))
    half = 12.706204736 * np.std([0.9, 0.8], ddof=1) / np.sqrt(2)
    assert a[:4] == [
        "| **`a`** (base)",
        "2",
        "0.8500 ± 0.0707",
        f"{max(0.85 - half, 0):.4f} to 1.0000",
    ]
    assert a[4:] == ["", "", "", "", " |"]
    assert b[:3] == ["| `b`", "2", "0.6000 ± 0.1414"]
    assert b[4:6] == ["-0.2500", "0.126"]
    assert b[6:] == ["-0.3000 to -0.1000", "< 0.001", "0.4000 ± 0.0500 |"]
    assert "| 1 | 2 |" in lines and "go on" in lines and "Measured 2026-01-01 on a clock." in lines
    assert report.main(["--tables", str(checkout)]) == 0
    assert "as the stored results say" in capsys.readouterr().out


def test_floors_stand_below_models_with_costs(checkout):
    values = VALUES + "a,,parameters,1234567.0,first\na,low,auc,0.7,first\na,high,auc,0.95,first\n"
    values += "b,low,auc,0.4,first\nb,high,auc,0.65,first\nb,p_folds,auc,0.01,first\n"
    (checkout / RESULTS / "runs_of_a.csv").write_text(
        values.replace("floor,,auc", "floor/length,,auc")
    )
    layout = TABLES.replace('ap = "{ap}"', 'ap = "{ap}"\nsize = "{parameters whole}"')
    layout += 'between = "{auc over videos}"\nfolds_p = "{auc p folds}"\n'
    (checkout / RESULTS / "tables.toml").write_text(layout)
    report.main(["--tables", str(checkout)])
    lines = (checkout / "README.md").read_text().splitlines()
    assert lines[4].endswith("| 1,234,567 | 0.7000 to 0.9500 |  |")
    assert lines[5].endswith("|  | 0.4000 to 0.6500 | 0.010 |")
    assert lines[6] == "| floor: length |  | 0.6 | - | -0.2500 |  |  |  |  |  |  |  |"


@pytest.mark.parametrize(
    "file, before, after, words",
    [
        ("README.md", "table: auc", "table: aux", ["aux", "auc"]),
        ("README.md", "run: first", "run: fist", ["fist", "first"]),
        ("docs/results/tables.toml", "{ap}", "{apt}", ["apt", "ap"]),
        ("docs/results/runs_of_a.csv", "a,1,auc", "a,0,auc", ["twice"]),
        ("docs/results/tables.toml", "", "", ["tables.toml", "checkout"]),
    ],
)
def test_what_cannot_be_filled(checkout, file, before, after, words):
    path = checkout / file
    if before:
        path.write_text(path.read_text().replace(before, after))
    else:
        shutil.move(path, checkout / "elsewhere")
    with pytest.raises(DataError) as error:
        outdated(checkout)
    assert all(word in str(error.value) for word in words)
