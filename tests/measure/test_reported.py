"""What papers report: the file is whole, and its figures come out with their protocols."""

import tomllib

import pytest

from gfvad.measure import reported as lib
from gfvad.measure.reported import METRICS, SETS, as_table, reported

PROGRAM = ("checkpoint", "normalisation", "smoothing")  # what a program that was read tells


def test_every_row_is_a_figure_of_a_known_set():
    for row in lib.rows():
        assert row.set in SETS and row.metric in METRICS, row
        assert 0 < row.share < 1 and row.method and row.features and row.source, row
        assert all(getattr(row, part) for part in PROGRAM), row
        # a protocol is known by a program that is named
        known = {row.checkpoint, row.crops, row.normalisation, row.smoothing} - {lib.UNKNOWN, ""}
        assert not known or row.program or row.source.startswith("its paper"), row


def test_no_figure_stands_twice():
    seen = [(r.method, r.set, r.metric, r.features) for r in lib.rows()]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    "dataset, model, values",
    [
        ("ucf_crime", "paper", ["81.71"]),
        ("xd_violence", "paper", ["65.77"]),
        ("msad", "paper", ["87.30", "64.40"]),
        ("ped2", "paper", ["98.4"]),
        ("avenue_tracks", "ai_vad", ["93.7"]),
        ("shanghaitech_tracks", "memae", ["71.2"]),
        ("ped2_novelty", "mnad", ["97.0"]),
        ("shanghaitech", "mist", ["94.83"]),
        ("ucf_crime", "amsl", []),
        ("own", "", []),
        ("simulated", "", []),
    ],
)
def test_figures_of_a_set_and_a_model(dataset, model, values):
    assert [row.value for row in reported(dataset, model)] == values


def test_a_protocol_is_said_in_words():
    (own, *_) = reported("ucf_crime", "ur_dmu")
    assert own.protocol == "best checkpoint on test; mean over crops; raw"
    (on_xd, *_) = reported("xd_violence", "ur_dmu")
    assert on_xd.protocol == f"{own.protocol}; AP by the trapezoid rule"
    (ours,) = reported("ucf_crime", "paper")
    assert ours.protocol == "unknown" and round(ours.share, 6) == 0.8171
    (first, *_) = reported("ped2", "memae")
    assert first.protocol == "checkpoint unknown; min-max a video; not smoothed"


def test_a_table_has_a_row_a_method_and_names_what_differs():
    header, cells = as_table(["ucf_crime", "xd_violence", "msad"])
    assert header[:4] == ["method", "UCF-Crime", "XD-Violence", "MSAD"]
    rows = {row[0]: row[1:] for row in cells}
    assert len(rows) == len(cells)
    assert rows["DE-Net"][1] == "81.66 (I3D), 83.13 (I3D + sound)"
    assert rows["RTFM"][2] == "86.70, AP 66.30"
    assert "MSAD" in rows["RTFM"][-1] and "as quoted" in rows["RTFM"][-1]
    assert [row[0] for row in as_table(["avenue"], "paper")[1]] == [
        "SFN-VAD (MemoryOut), the method of the predictive model"
    ]


def test_the_file_is_part_of_the_package(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    assert lib.FILE.name in project["tool"]["setuptools"]["package-data"]["gfvad.measure"]
    assert lib.FILE.is_file()
