"""Mean and spread over seeds."""

import json

import numpy as np
import pytest

from gfvad.base.types import DataError
from gfvad.commands import compare
from gfvad.measure import summary


def _run(folder, seed, value, group="g"):
    folder.mkdir(parents=True)
    record = {
        "aggregation": "micro",
        "normalisation": "none",
        "smoothing": "none",
        "checkpoint": "last",
    }
    records = [
        record | {"metric": "auc", "value": value},
        record | {"metric": "auc", "value": 0.99, "checkpoint": "best-on-test"},
        record | {"metric": "ap", "value": value / 2},
    ]
    content = {
        "records": records,
        "seed": seed,
        "dataset": "d",
        "headline": {},
        "group": group,
        "label": f"label {group}",
    }
    (folder / "results.json").write_text(json.dumps(content))


def test_mean_and_spread(tmp_path, capsys):
    values = np.array([0.8, 0.9, 0.85])
    for seed, value in enumerate(values):
        _run(tmp_path / f"seed{seed}", seed, value)
    _run(tmp_path / "other", 0, 0.7, group="h")
    rows = summary.summarise(summary.find(tmp_path))
    row = next(r for r in rows if len(r.seeds) == 3)
    np.testing.assert_allclose(row.values["auc"], values)
    assert compare.main(["summary", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert (
        f"{values.mean():.4f} ± {values.std(ddof=1):.4f} (0.8000 to 0.9000)" in printed
        and "| 0.7000 |" in printed
    )


def _predictive(folder, seed, values, named, group="p", dataset="ped2"):
    """A run of the predictive model; values: metric -> (normalisation, smoothing, value)."""
    _run(folder, seed, 0.9, group)
    content = json.loads((folder / "results.json").read_text()) | {
        "named": named,
        "dataset": dataset,
    }
    for metric, (normalisation, smoothing, value) in values.items():
        content["records"].append(
            {
                "metric": metric,
                "aggregation": "micro",
                "normalisation": normalisation,
                "smoothing": smoothing,
                "checkpoint": "last",
                "value": value,
            }
        )
    (folder / "results.json").write_text(json.dumps(content))


def _line(printed, name):
    """Cells of the line of a value."""
    return next(
        [c.strip() for c in line.strip("|").split("|")][1:]
        for line in printed.splitlines()
        if line.startswith(f"| {name} |")
    )


def test_second_table_of_predictive_runs(tmp_path, capsys):
    for seed in range(3):
        values = {
            "auc": ("minmax", "gaussian5", 0.95 + seed / 100),
            "rbdc": ("none", "none", 0.5 + seed / 10),
            "tbdc": ("none", "none", None),
        }
        _predictive(
            tmp_path / f"a{seed}",
            seed,
            values,
            {"floor/flow": 0.947, "term alone/pace": 0.8 + seed / 100},
        )
    _predictive(
        tmp_path / "b0",
        0,
        {"pixel_auc": ("minmax", "none", 0.1)},
        {"floor/flow": 0.947, "term alone/flow": None},
        group="q",
    )
    _run(tmp_path / "weak", 0, 0.7)
    assert compare.main(["summary", str(tmp_path)]) == 0
    first, second = capsys.readouterr().out.split("no smoothing\n")
    assert "| label g |" in first and "label g" not in second
    assert "| value | label p | label q |\n| --- | --- | --- |" in second
    assert _line(second, "AUC, min-max a video, Gaussian of sigma 5") == ["0.9600 ± 0.0100", "-"]
    # what runs of earlier versions have as rbdc
    assert _line(second, "RBDC, interpolated") == ["0.6000 ± 0.1000", "-"]
    assert _line(second, "floor/flow") == ["0.9470 ± 0.0000", "0.9470"]
    assert _line(second, "term alone/pace") == ["0.8100 ± 0.0100", "-"]
    # undefined, of another protocol
    assert not any(word in second for word in ("TBDC", "pixel AUC", "term alone/flow"))
    names = [line.split("|")[1].strip() for line in second.splitlines() if line.startswith("|")]
    assert names == [
        "value",
        "---",
        "AUC, min-max a video, Gaussian of sigma 5",
        "RBDC, interpolated",
        "floor/flow",
        "term alone/pace",
    ]


def test_second_table_says_what_is_missing(tmp_path):
    for seed, named in enumerate(({"x": 0.5}, {"x": None}, {"x": 0.7})):
        _predictive(tmp_path / f"a{seed}", seed, {}, named)
    _predictive(tmp_path / "b", 0, {}, {"x": 0.1}, group="q", dataset="avenue")
    printed = summary.table_beside(summary.summarise(summary.find(tmp_path)))
    assert (
        _line(printed, "x") == ["0.6000 ± 0.1414 (2 of 3 seeds)", "0.1000"]
        and "| ped2: label p | avenue: label q |" in printed
    )
    assert summary.table_beside([]) == "" and summary.cell(np.array([np.nan])) == "-"


def test_no_second_table_without_predictive_runs(tmp_path, capsys):
    _run(tmp_path / "a", 0, 0.5)
    assert compare.main(["summary", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("no normalisation, no smoothing\n")


def test_bad_folders(tmp_path, capsys):
    assert compare.main(["summary", str(tmp_path / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert compare.main(["summary", str(tmp_path)]) == 2
    _run(tmp_path / "a", 0, 0.5)
    _run(tmp_path / "b", 0, 0.5)
    with pytest.raises(DataError, match="repeat"):
        summary.summarise(summary.find(tmp_path))
    (tmp_path / "a" / "results.json").write_text("{")
    with pytest.raises(DataError, match="not usable JSON"):
        summary.summarise(summary.find(tmp_path))


@pytest.mark.parametrize("place", ["nothing", "loop", "folder", "dangling"])
def test_a_run_without_results_is_named(tmp_path, capsys, place):
    from gfvad.commands import report

    _run(tmp_path / "runs/a", 0, 0.7)
    gone = tmp_path / "runs/unfinished/results.json"
    gone.parent.mkdir()
    makers = {
        "loop": lambda: gone.symlink_to(gone.name),
        "folder": gone.mkdir,
        "dangling": lambda: gone.symlink_to("nowhere"),
    }
    makers.get(place, lambda: None)()
    code = compare.main(["summary", str(tmp_path / "runs")])
    said = capsys.readouterr().err
    assert (
        "unfinished" in said and "results.json" in said and code == (0 if place == "nothing" else 2)
    )
    code = report.main([str(tmp_path / "runs"), f"--out={tmp_path / 'page.html'}"])
    said = capsys.readouterr().err + (tmp_path / "page.html").read_text()
    assert "unfinished" in said and code == (0 if place == "nothing" else 1)


@pytest.mark.parametrize("place", ["loop", "folder", "dangling"])
def test_a_threshold_that_is_no_file_is_not_taken_for_absent(tmp_path, place):
    from gfvad.extraction import provenance
    from gfvad.measure.calibration import CALIBRATION, read_calibration
    from gfvad.reporting.runs import calibration_of

    for name in (CALIBRATION, provenance.FEATURES):
        path = tmp_path / name
        {
            "loop": lambda p: p.symlink_to(p.name),
            "folder": lambda p: p.mkdir(),
            "dangling": lambda p: p.symlink_to("nowhere"),
        }[place](path)
    for read in (lambda: read_calibration(tmp_path, 1), lambda: calibration_of(tmp_path)):
        with pytest.raises(DataError, match=CALIBRATION):
            read()
    with pytest.raises(DataError, match=provenance.FEATURES):
        provenance.kept(tmp_path)
