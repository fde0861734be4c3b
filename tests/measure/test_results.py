"""results.json, scores.npz and the printed table."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

import gfvad
from gfvad.base.types import ConfigError, DataError, ScoredVideo
from gfvad.measure import bootstrap, protocols, results, tables

META = {
    "dataset": "xd_violence-simulated",
    "split": "test",
    "ground_truth_frames": 160,
    "seed": 3,
    "config_hash": "0a1b2c3d",
    "device": "cpu x 1",
    "wall_seconds": 12.5,
    "metric": "ap",
    "bayes_optimal": {"auc": 0.98, "ap": np.float64("nan")},
}


def make_videos():
    rng = np.random.default_rng(0)
    labels = [np.repeat([0, i % 2, 0, 0], 10).astype(np.uint8) for i in range(4)]
    spans = [np.array([[10, 20]] * (i % 2), np.int64).reshape(-1, 2) for i in range(4)]
    return [
        ScoredVideo(
            f"v{i}",
            np.repeat(rng.random(4), 10),
            y,
            i % 2,
            ("fight",) * (i % 2),
            s,
            ("fight",) * (i % 2),
            10,
            24.0,
        )
        for i, (y, s) in enumerate(zip(labels, spans))
    ]


@pytest.fixture(scope="module")
def records():
    cfg = SimpleNamespace(ema=(0.9,), gaussian=(), bootstrap=50)
    return [
        r
        for c in ("best-on-test", "last", "best")
        for r in protocols.protocol_matrix(make_videos(), cfg, checkpoint=c)
    ]


def test_round_trip(tmp_path, records):
    path = tmp_path / "run" / "results.json"
    tree = results.write_results(path, records, META)
    assert results.read_results(path) == tree
    assert os.listdir(path.parent) == ["results.json"]  # no temporary file is left
    assert tree["headline"]["metric"] == "ap" and tree["headline"]["checkpoint"] == "last"
    assert (
        tree["dataset"] == "xd_violence-simulated"
        and tree["bayes_optimal"]["ap"] is None
        and "NaN" not in path.read_text()
    )
    assert {r["checkpoint"] for r in tree["records"]} == {"last", "best"} and {
        r["checkpoint"] for r in tree["extras"]
    } == {"best-on-test"}
    assert (
        len(tree["records"]) + len(tree["extras"]) == len(records)
        and tree["code_version"] == results.code_version()
    )


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")

    def fails(file):
        file.write(b"half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        results.atomically(path, fails)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["results.json"]


def test_areas_of_earlier_versions_are_called_what_they_are(tmp_path):
    """They had the interpolated ones alone, as rbdc and tbdc; what has both is left as it is."""
    old = {
        "schema": 1,
        "records": [
            {"metric": m, "value": v} for m, v in (("auc", 0.9), ("rbdc", 0.8), ("tbdc", 0.7))
        ],
        "named": {"floor, tbdc/x": 0.6, "a": 1},
    }
    (tmp_path / "old.json").write_text(json.dumps(old))
    found = results.read_results(tmp_path / "old.json")
    assert [r["metric"] for r in found["records"]] == [
        "auc",
        "rbdc_interpolated",
        "tbdc_interpolated",
    ]
    assert found["named"] == {"floor, tbdc_interpolated/x": 0.6, "a": 1}
    (tmp_path / "new.json").write_text(
        json.dumps(found | {"records": found["records"] + [{"metric": "rbdc", "value": 0.75}]})
    )
    assert [r["metric"] for r in results.read_results(tmp_path / "new.json")["records"]][
        -1
    ] == "rbdc"


def test_incomplete_results_are_refused(records):
    with pytest.raises(ConfigError, match="meta lacks dataset"):
        results.build_results(records, {k: v for k, v in META.items() if k != "dataset"})
    with pytest.raises(ConfigError, match="lacks ci95"):
        results.build_results([{k: v for k, v in records[0].items() if k != "ci95"}], META)
    with pytest.raises(ConfigError, match="no record of metric 'ap'"):
        results.build_results([r for r in records if r["checkpoint"] == "best-on-test"], META)


def test_code_version_without_git(monkeypatch, tmp_path):
    monkeypatch.setattr(gfvad, "__file__", str(tmp_path / "gfvad" / "__init__.py"))
    assert results.code_version() == gfvad.__version__
    monkeypatch.setenv("PATH", str(tmp_path))
    assert results.code_version() == gfvad.__version__


def test_scores_round_trip(tmp_path):
    names = ["v=S-7rRLrxnVQ__#1_label_B4-0-0", "file", "01/a.npy", "Bad.Boys 1995"]
    written = {name: np.linspace(0, 1, 5 + i) for i, name in enumerate(names)}
    found = results.read_scores(results.write_scores(tmp_path / "scores.npz", written))
    assert list(found) == names
    for name in names:
        assert (
            found[name].dtype == np.float32
            and (found[name] == written[name].astype(np.float32)).all()
        )
    videos = make_videos()
    one, two = (results.write_scores(tmp_path / f"{i}.npz", videos).read_bytes() for i in range(2))
    assert one == two  # equal scores, equal bytes
    with np.load(tmp_path / "0.npz", allow_pickle=False) as archive:
        assert set(archive.files) == {v.name for v in videos}


def test_bad_files(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "text.json").write_text("{")
    (tmp_path / "old.json").write_text(json.dumps({"schema": 0}))
    with pytest.raises(DataError, match="not an .npz archive"):
        results.read_scores(tmp_path / "text.npz")
    with pytest.raises(DataError, match="not found"):
        results.read_scores(tmp_path / "absent.npz")
    with pytest.raises(DataError, match="not usable JSON"):
        results.read_results(tmp_path / "text.json")
    with pytest.raises(DataError, match="schema 0"):
        results.read_results(tmp_path / "old.json")
    with pytest.raises(DataError, match="every video once"):
        results.write_scores(tmp_path / "s.npz", [make_videos()[0]] * 2)
    with pytest.raises(DataError, match="expected \\[frames\\]"):
        results.write_scores(tmp_path / "s.npz", {"v": np.zeros((2, 3))})


@pytest.mark.parametrize("width", [80, 110, 160])
def test_table(records, width):
    text = tables.as_text(results.build_results(records, META), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("HEADLINE  xd_violence-simulated test: AP 0.")
    assert (
        "SIMULATED data" in text
        and "Bayes-optimal scorer" in text
        and "AUC 0.9800, AP undefined" in text
    )
    for named in (
        "160 frames",
        "seed 3",
        "config 0a1b2c3d",
        results.code_version(),
        "cpu x 1",
        "checkpoint last",
    ):
        assert named in " ".join(line.strip() for line in lines), named
    marked = [line.split() for line in lines if line.startswith(">")]
    assert len(marked) == 1 and marked[0][1:5] == ["last", "micro", "none", "none"]
    assert text.index("EXTRA, weights chosen on the test labels") < text.index(
        "best-on-test  micro"
    )
    assert all(
        line.count("best-on-test") == 0
        for line in lines[: next(i for i, line in enumerate(lines) if "EXTRA" in line)]
    )
    assert "\x1b" not in text


def test_which_interval_is_said(records):
    """Also of runs of earlier versions, which had percentiles of few videos too."""
    tree = results.build_results(records, META)
    assert tree[
        "ci_method"
    ] == bootstrap.CI_METHOD and f"over videos ({bootstrap.METHODS[0]})" in tables.markdown(tree)
    assert f"over videos ({bootstrap.METHODS[1]})" in tables.markdown(
        {k: v for k, v in tree.items() if k != "ci_method"}
    )


def test_table_of_a_real_set_says_nothing_of_simulation(records, capsys):
    plain = {
        **{k: v for k, v in META.items() if k != "bayes_optimal"},
        "dataset": "ucf_crime",
        "ground_truth": "16-frame multiples",
    }
    tree = results.build_results([r for r in records if r["checkpoint"] == "last"], plain)
    tables.print_table(tree)
    printed = capsys.readouterr().out
    assert (
        "SIMULATED" not in printed
        and "EXTRA" not in printed
        and "160 frames (16-frame multiples)" in printed
    )
    assert max(map(len, printed.splitlines())) <= tables.WIDTH


def test_markdown(records):
    text = tables.markdown(results.build_results(records, META))
    assert (
        text.startswith("**HEADLINE  xd_violence-simulated")
        and "| **last** | **micro** | **none** | **none** |" in text
    )
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows) and "SIMULATED" in text
