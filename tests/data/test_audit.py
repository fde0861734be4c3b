"""The audit of a folder finds everything that was broken in it, and nothing in a sound one."""

import random
import shutil

import feature_folders as ff
import numpy as np
import pytest

from gfvad.data.features import audit, layouts


def run(root, *modalities, layout="xd_violence", **options):
    return audit.audit(
        layouts.open_layout(ff.config(layout, root, *modalities)), progress=None, **options
    )


def kinds(report, error=True):
    return sorted(p.kind for _, p in report.problems if p.error == error)


@pytest.fixture(scope="module")
def xd_root(tmp_path_factory):
    return ff.xd(tmp_path_factory.mktemp("xd"))


@pytest.fixture
def root(xd_root, tmp_path):
    return shutil.copytree(xd_root, tmp_path / "xd")


def test_sound(xd_root):
    report = run(xd_root, "rgb", "audio", deep=True)
    assert report.errors == 0 and kinds(report, False) == ["misaligned"] * 6
    train, test = report.counts
    assert (train.videos, train.abnormal, train.files, train.units) == (3, 2, 18, 18)
    assert (test.videos, test.abnormal, test.units) == (3, 2, 16)
    assert train.gigabytes == pytest.approx(
        sum(p.stat().st_size for p in xd_root.glob("*/RGB/*")) / 1e9 + 3 * (7 * 128 * 4 + 128) / 1e9
    )
    text = audit.format_report(report)
    assert (
        "note  misaligned: 6" in text
        and "rgb 6, audio 7; cut to the shortest" in text
        and text.endswith("0 errors, 6 notes")
    )
    assert "values were not read" in audit.format_report(run(xd_root, "rgb"))


NAME, RGB = "v=abc__#1_label_B1-0-0", "i3d-features/RGB"


@pytest.mark.parametrize(
    "kind, spoil",
    [
        (
            "truncated",
            lambda r: (r / f"{RGB}/{NAME}__1.npy").write_bytes(
                (r / f"{RGB}/{NAME}__1.npy").read_bytes()[:-9]
            ),
        ),
        ("unreadable", lambda r: (r / f"{RGB}/{NAME}__1.npy").write_bytes(b"")),
        (
            "unreadable",
            lambda r: np.save(r / f"{RGB}/{NAME}__1.npy", np.array([None]), allow_pickle=True),
        ),
        ("shape", lambda r: np.save(r / f"{RGB}/{NAME}__1.npy", ff.features(6, 512))),
        ("shape", lambda r: np.save(r / f"{RGB}/{NAME}__1.npy", np.zeros((6, 1024), np.uint8))),
        ("shape", lambda r: np.save(r / f"{RGB}/{NAME}__1.npy", np.zeros((0, 1024), np.float32))),
        ("misaligned", lambda r: np.save(r / f"{RGB}/{NAME}__1.npy", ff.features(7, 1024))),
        (
            "misaligned",
            lambda r: np.save(r / f"vggish-features/train/{NAME}__vggish.npy", ff.features(8, 128)),
        ),
        (
            "not finite",
            lambda r: np.save(r / f"{RGB}/{NAME}__1.npy", np.full((6, 1024), np.inf, np.float32)),
        ),
        ("missing", lambda r: (r / f"{RGB}/{NAME}__1.npy").unlink()),
        ("pairing", lambda r: (r / f"vggish-features/train/{NAME}__vggish.npy").unlink()),
        (
            "name",
            lambda r: (r / f"vggish-features/train/{NAME}__vggish.npy").rename(
                r / "vggish-features/train/abc__vggish.npy"
            ),
        ),
        (
            "annotation",
            lambda r: ff.write_lines(r / "annotations.txt", "Film.D__#00-05-00_label_B4-B6-0 0 50"),
        ),
        (
            "annotation",
            lambda r: ff.write_lines(
                r / "frame_counts.txt", *(f"{n}@{c + 64}" for n, c in ff.XD_TEST.items())
            ),
        ),
        (
            "missing",
            lambda r: ff.write_lines(
                r / "frame_counts.txt",
                "gone_label_A@99",
                *(f"{n}@{c}" for n, c in ff.XD_TEST.items()),
            ),
        ),
    ],
)
def test_finds(root, kind, spoil):
    spoil(root)
    report = run(root, "rgb", "audio", deep=True)
    assert kind in kinds(report) and set(kinds(report)) <= {kind, "pairing"}
    text = audit.format_report(report)
    assert f"ERROR {kind}: " in text and f"{report.errors} errors" in text
    assert any(word in text for word in ("abc", "v=def", "gone"))


def test_values_are_read_only_when_asked(root):
    np.save(root / f"{RGB}/{NAME}__1.npy", np.full((6, 1024), np.nan, np.float32))
    assert run(root, "rgb").errors == 0
    report = run(root, "rgb", deep=True)
    assert kinds(report) == ["not finite"] and "6144 values" in report.problems[0][1].detail


def test_duplicates(root):
    for crop in range(5):
        shutil.copy(
            root / f"{RGB}/{NAME}__{crop}.npy",
            root / f"{RGB}/Film.B__#00-03-00_00-04-00_label_B2-G-0__{crop}.npy",
        )
    one = np.load(root / f"{RGB}/{NAME}__0.npy")
    one[3, 500] += 1  # same size and same ends, another value inside
    np.save(root / f"{RGB}/Film.A__#00-01-00_00-02-00_label_A__0.npy", one)
    report = run(root, "rgb")
    found = [p for _, p in report.problems if p.kind == "duplicated"]
    assert (
        len(found) == 5
        and not report.errors
        and found[0].detail == f"Film.B__#00-03-00_00-04-00_label_B2-G-0__0.npy = {NAME}__0.npy"
    )
    shutil.copy(
        root / f"{RGB}/{NAME}__0.npy",
        root / "i3d-features/RGBTest/Film.D__#00-05-00_label_B4-B6-0__0.npy",
    )
    assert any("they are in both parts" in p.detail for _, p in run(root, "rgb").problems)


def test_flow_missing_is_a_note(tmp_path):
    root = ff.xd(tmp_path, flow=True)
    for crop in range(5):
        (root / f"i3d-features/FlowTest/Film.C__#00-01-00_label_A__{crop}.npy").unlink()
    report = run(root, "rgb", "flow")
    assert report.errors == 0 and [p.where for _, p in report.problems if p.kind == "missing"] == [
        "Film.C__#00-01-00_label_A"
    ]


def test_foreign_files_and_long_lists(root):
    for i in range(8):
        ff.write_lines(root / f"{RGB}/note{i}.txt", "x")
    report = run(root, "rgb")
    text = audit.format_report(report)
    assert (
        report.errors == 0
        and "note  foreign: 8 (files that belong to nothing, left out)" in text
        and "... and 3 more" in text
    )
    assert "note7.txt" in audit.format_report(report, 0) and "note7.txt" not in text


def test_deterministic(root, monkeypatch):
    (root / f"{RGB}/{NAME}__1.npy").write_bytes(b"")
    first = audit.format_report(run(root, "rgb", "audio"), 0)
    import os

    walk, iterdir = os.walk, os.listdir

    def shuffled(*args, **kwargs):
        for folder, folders, files in walk(*args, **kwargs):
            random.shuffle(files)
            random.shuffle(folders)
            yield folder, folders, files

    monkeypatch.setattr(os, "walk", shuffled)
    monkeypatch.setattr(os, "listdir", lambda p=".": random.sample(iterdir(p), len(iterdir(p))))
    assert all(audit.format_report(run(root, "rgb", "audio"), 0) == first for _ in range(3))


@pytest.mark.parametrize(
    "layout, make, modalities",
    [
        ("ucf_crime", lambda p: ff.ucf(p, 2048), ("i3d",)),
        ("ucf_crime", lambda p: ff.ucf(p, 1024), ("i3d",)),
        ("ucf_logits", ff.ucf_logits, ("i3d_logits", "text")),
        ("shanghaitech", ff.shanghai, ("i3d",)),
        ("tevad", ff.tevad_shanghai, ("i3d", "text")),
        ("vadclip", ff.vadclip, ("clip",)),
        ("generic", ff.generic_folder, ("pose", "clip")),
    ],
)
def test_every_layout(tmp_path, layout, make, modalities):
    report = run(make(tmp_path / "set"), *modalities, layout=layout, deep=True)
    assert report.errors == 0, audit.format_report(report)
    assert all(c.videos and c.units and c.files for c in report.counts)
    assert {p.kind for _, p in report.problems} <= {"misaligned", "text"}


def test_broken_first_file_does_not_decide(tmp_path):
    root = ff.vadclip(tmp_path)
    np.save(sorted(root.glob("**/Abuse001*"))[0], ff.features(4, 100))
    report = run(root, "clip", layout="vadclip")
    assert [p.where.rsplit("/", 1)[-1] for _, p in report.problems] == [
        "Abuse001_x264__0.npy"
    ] and kinds(report) == ["shape"]


def test_container_values(tmp_path):
    root = ff.ucf_logits(tmp_path)
    x = ff.features(2, 8, 6)
    x[1, 2, 3] = np.nan
    np.savez(
        root / "i3d_logits_test_dev.npz", x=x, name=["Abuse028_x264", "Normal_Videos_003_x264"]
    )
    assert run(root, "i3d_logits", layout="ucf_logits").errors == 0
    report = run(root, "i3d_logits", layout="ucf_logits", deep=True)
    assert kinds(report) == ["not finite"] and "Normal_Videos_003_x264" in audit.format_report(
        report
    )
