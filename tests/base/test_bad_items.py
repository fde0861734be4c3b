"""One bad item among good ones: the others are scored and shown, and one line names it."""

from __future__ import annotations

import json
import os

import feature_folders as ff
import numpy as np
import pytest
from scoring_calls import (  # noqa: F401
    NAMES,
    call,
    features,
    scorer,
)

from gfvad.base.files import read_table, write_json
from gfvad.commands import report
from gfvad.measure import results

# ---- one bad item


def huge(folder, tree):
    with open(folder / "motion" / "calm.npy", "r+b") as file:
        content = file.read().replace(b"(3, 2)", b"(3, 2" + b"0" * 12 + b")")
        file.seek(0)
        file.write(content[:128])


DAMAGE = {
    "header": (huge, "not a whole|truncated|shape"),
    "missing file": (lambda folder, tree: (folder / "motion" / "calm.npy").unlink(), "not found"),
    "cut": (lambda folder, tree: os.truncate(folder / "motion" / "calm.npy", 140), "truncated"),
    "pipe": (
        lambda folder, tree: (
            (folder / "motion" / "calm.npy").unlink(),
            os.mkfifo(folder / "motion" / "calm.npy"),
        ),
        "named pipe",
    ),
    "NaN": (
        lambda folder, tree: np.save(
            folder / "motion" / "calm.npy", np.full((3, 2), np.nan, np.float32)
        ),
        "not finite",
    ),
    "rows": (
        lambda folder, tree: np.save(folder / "motion" / "calm.npy", np.zeros((2, 2), np.float32)),
        "2 units",
    ),
    "no units": (
        lambda folder, tree: (folder / "units.csv").write_text(
            (folder / "units.csv").read_text().replace("calm,", "other,")
        ),
        "no rows of video 'calm'",
    ),
    **{
        f"no {key}": (lambda folder, tree, key=key: tree["videos"]["calm"].pop(key), f"lacks {key}")
        for key in ("fps", "path", "files", "missing", "frames")
    },
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_one_bad_video_does_not_stop_the_others(call, features, tmp_path, capsys, kind):
    damage, message = DAMAGE[kind]
    tree = json.loads((features / "manifest.json").read_text())
    damage(features, tree)
    write_json(features / "manifest.json", tree)
    assert call() == 1
    assert [r["video"] for _, r in read_table(tmp_path / "out" / "scores.csv", ("video",))][
        ::3
    ] == list(NAMES[1:])
    said = capsys.readouterr().err
    assert "1 of 4 files gave no scores" in said and "Traceback" not in said
    assert any(part in said for part in message.split("|")), said
    assert len(json.loads((tmp_path / "out" / "scores.json").read_text())["failed"]) == 1


TABLES = {  # file, what becomes of its text, exit code, words of the message
    "spans of nobody": (
        "spans.csv",
        lambda text: "name,start,end\nnobody,1,9\ncalm,1,9\n",
        0,
        "spans.csv: 1 of 2 names are of no video in manifest.json, and are left out: nobody",
    ),
    "times of nobody": (
        "units.csv",
        lambda text: text + "nobody,0,0,0.64\n",
        0,
        "units.csv: 1 of 5 names are of no video in manifest.json",
    ),
    "no seconds": (
        "units.csv",
        lambda text: text.replace("calm,1,0.64", "calm,1,nan"),
        2,
        "start: 'nan'; expected seconds",
    ),
    "ends before it starts": (
        "units.csv",
        lambda text: text.replace("calm,1,0.64", "calm,1,99"),
        2,
        "expected seconds: extract the videos again, from 99",
    ),
    "units in another order": (
        "units.csv",
        lambda text: text.replace("calm,0,", "calm,7,"),
        2,
        "unit '7' of video 'calm'; expected its units in their order, here 0",
    ),
    "a unit lost": (
        "units.csv",
        lambda text: "".join(
            line for line in text.splitlines(True) if not line.startswith("calm,1,")
        ),
        2,
        "unit '2' of video 'calm'",
    ),
    "a span that ends before it starts": (
        "spans.csv",
        lambda text: "name,start,end\ncalm,9,1\n",
        2,
        "spans.csv, line 2",
    ),
    "a pipe": ("spans.csv", None, 2, "spans.csv: a named pipe"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_features_that_do_not_fit(call, features, capsys, kind):
    file, change, code, words = TABLES[kind]
    path = features / file
    if change:
        path.write_text(change(path.read_text() if path.exists() else ""))
    else:
        os.mkfifo(path)
    assert call() == code
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"kind": "gfvad.features", "encoders": {}, "videos": [], "failed": {}}',
        '{"kind": "gfvad.features", "encoders": {}}',
        "\xff",
    ],
)
def test_a_damaged_manifest_is_one_error(call, features, capsys, content):
    (features / "manifest.json").write_bytes(content.encode("latin-1"))
    assert call() == 2
    said = capsys.readouterr().err
    assert (
        said.startswith(f"error: {features / 'manifest.json'}")
        and len(said.strip().splitlines()) == 1
    )


@pytest.mark.parametrize(
    "damage, named",
    [
        (lambda tree: tree["videos"][0].pop("score"), "lacks score"),
        (lambda tree: tree["videos"].__setitem__(0, 5), "video 0"),
        (lambda tree: tree["videos"][0].update(start=["x"] * 3), "damaged"),
        (lambda tree: tree["videos"][0].update(score=[1e999] * 3), "not finite"),
        (lambda tree: tree["videos"][0].update(spans=3), "damaged"),
        (lambda tree: tree["videos"][0].update(name=7), "name 7"),
    ],
)
def test_a_report_shows_what_is_whole(call, tmp_path, capsys, monkeypatch, damage, named):
    monkeypatch.setattr("gfvad.reporting.page.plotly_script", lambda: "")
    assert call() == 0
    tree = json.loads((tmp_path / "out" / "scores.json").read_text())
    damage(tree)
    (tmp_path / "out" / "scores.json").write_text(json.dumps(tree))
    assert report.main([str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "1 damaged" in said and named in said and "Traceback" not in said
    assert "@street" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_a_report_without_one_videos_details(call, tmp_path, capsys, monkeypatch, content):
    monkeypatch.setattr("gfvad.reporting.page.plotly_script", lambda: "")
    assert call() == 0
    (tmp_path / "out" / "details" / "calm.npz").write_bytes(content)
    assert report.main([str(tmp_path / "out")]) == 1
    assert (
        "calm: Graph, heat maps and boxes are missing: calm.npz cannot be read"
        in capsys.readouterr().err
    )


def test_details_whose_header_asks_for_too_much(tmp_path):
    import io
    import zipfile

    from gfvad.reporting.clips import read_details

    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    )
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("graph.npy", head.getvalue())
    assert (
        read_details(tmp_path / "x.npz")[0] == {}
        and "truncated" in read_details(tmp_path / "x.npz")[1]
    )


RECORD = {
    "metric": "ap",
    "aggregation": "micro",
    "normalisation": "none",
    "smoothing": "none",
    "checkpoint": "last",
    "value": 0.5,
    "ci95": None,
    "n_videos": 1,
    "n_frames": 2,
}
META = {
    "dataset": "d",
    "split": "test",
    "ground_truth_frames": 2,
    "config_hash": "x",
    "device": "cpu",
    "wall_seconds": 1.0,
    "group": "g",
}


def test_a_folder_of_runs_with_a_damaged_one(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gfvad.reporting.page.plotly_script", lambda: "")
    for seed in range(2):
        results.write_results(
            tmp_path / f"run{seed}" / "results.json", [RECORD], {**META, "seed": seed}
        )
    for k, content in enumerate(
        ("{", "[]", '{"records": 5, "seed": 9, "dataset": "d", "headline": {}, "group": "g"}')
    ):
        ff.write_lines(tmp_path / f"bad{k}" / "results.json", content)
    assert report.main([str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "3 damaged" in said and all(f"bad{k}" in said for k in range(3))
    for seed in range(2):
        (tmp_path / f"run{seed}" / "results.json").write_text("{")
    (tmp_path / "report.html").unlink()
    assert report.main([str(tmp_path)]) == 2


@pytest.mark.parametrize(
    "name, content",
    [
        ("scores.npz", b"PK\x03\x04 cut"),
        ("scores.npz", b""),
        ("scores.npz", None),
        ("calibration.json", b"{"),
        ("calibration.json", b'{"threshold": "x"}'),
    ],
)
def test_a_report_of_a_run_with_a_damaged_file(tmp_path, capsys, monkeypatch, name, content):
    monkeypatch.setattr("gfvad.reporting.page.plotly_script", lambda: "")
    results.write_results(tmp_path / "results.json", [RECORD], {**META, "seed": 0})
    os.mkfifo(tmp_path / name) if content is None else (tmp_path / name).write_bytes(content)
    assert report.main([str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert (
        "1 damaged" in said
        and str(tmp_path / name) in said
        and "Traceback" not in said
        and (tmp_path / "report.html").is_file()
    )
