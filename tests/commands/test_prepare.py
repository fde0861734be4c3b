"""The command line `gfvad prepare`: check, records, errors and exit codes."""

import subprocess
import sys

import feature_folders as ff
import numpy as np
import pytest

from gfvad.commands import prepare
from gfvad.data.features import records


@pytest.fixture(scope="module")
def xd_root(tmp_path_factory):
    return ff.xd(tmp_path_factory.mktemp("xd"))


def test_check(xd_root, tmp_path, capsys):
    assert prepare.main(["--dataset=xd_violence", f"--source={xd_root}", "--check", "--deep"]) == 0
    out = capsys.readouterr().out
    assert "modalities rgb, audio" in out and "0 errors, 6 notes" in out
    assert "ground truth: annotations.txt, ((n - 1) // 16) * 16 frames" in out
    root = ff.xd(tmp_path / "broken")
    for name in ("v=abc__#1_label_B1-0-0__0.npy", "v=abc__#1_label_B1-0-0__1.npy"):
        (root / "i3d-features/RGB" / name).write_bytes(b"")
    assert (
        prepare.main(["--dataset=xd_violence", f"--source={root}", "--check", "--modalities=rgb"])
        == 1
    )
    out = capsys.readouterr().out
    assert "ERROR unreadable: 2" in out and "v=abc__#1_label_B1-0-0__0.npy: empty file" in out
    # found before anything is written
    assert (
        prepare.main(["--dataset=xd_violence", f"--source={root}", f"--out={tmp_path / 'out'}"])
        == 1
    )
    assert "ERROR unreadable: 2" in capsys.readouterr().out and not (tmp_path / "out").exists()


def test_records(xd_root, tmp_path, capsys):
    out = tmp_path / "out"
    assert prepare.main(["--dataset=xd_violence", f"--source={xd_root}", f"--out={out}"]) == 0
    assert "aligned: 6 videos" in capsys.readouterr().out
    train, test = records.open_records(out, "train"), records.open_records(out, "test")
    assert sorted(train.names) == sorted(ff.XD_TRAIN) and train.dims == {"rgb": 1024, "audio": 128}
    video = next(v for v in test if v.name.startswith("v=def"))
    assert video.spans.tolist() == [[10, 40], [60, 96]] and video.num_frames == 96
    np.testing.assert_array_equal(
        video.features["rgb"][4],
        np.load(xd_root / "i3d-features/RGBTest/v=def__#1_label_G-0-0__4.npy"),
    )


def test_text_of_captions(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GFVAD_CACHE", str(tmp_path / "cache"))
    root = ff.ucf_logits(tmp_path / "ucf")
    text = ["--modalities=i3d_logits,text", "--captions=captions.json", "--text-encoder=hash"]
    assert (
        prepare.main(
            ["--dataset=ucf_logits", f"--source={root}", *text, f"--out={tmp_path / 'out'}"]
        )
        == 0
    )
    assert records.open_records(tmp_path / "out", "test").dims == {"i3d_logits": 6, "text": 384}
    assert "without captions, text zeros: 3 videos" in capsys.readouterr().out


def test_simulated_set_is_written_first(tmp_path, monkeypatch, capsys):
    from gfvad.data import simulate

    monkeypatch.setattr(simulate, "simulated_folder", lambda root, cfg: ff.xd(root / "here"))
    assert (
        prepare.main(["--dataset=xd_violence-simulated", f"--source={tmp_path / 'sim'}", "--check"])
        == 0
    )
    out = capsys.readouterr().out
    assert f"simulated set: {tmp_path / 'sim/here'}" in out and "xd_violence-simulated in" in out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--dataset=xd_violance", "--source=."],
            "did you mean 'xd_violence'.*one of xd_violence, xd_violence-simulated, ucf_crime",
        ),
        (["--dataset=xd_violence", "--source=."], "--out=DIR is missing"),
        (
            ["--dataset=xd_violence", "--source=/nowhere", "--check"],
            "/nowhere: found nothing; expected the folder of the features",
        ),
        (["--dataset=xd_violence", "--source=.", "--check"], "annotations.txt: cannot be read"),
        (["--dataset=ucf_crime", "--source=configs", "--check"], "none named X_x264_i3d.npy"),
        (
            ["--dataset=xd_violence", "--source=.", "--check", "--modalities=rbg"],
            "annotations.txt: cannot be read",
        ),
    ],
)
def test_errors(arguments, message, capsys, monkeypatch, repository):
    import re

    monkeypatch.chdir(repository)
    assert prepare.main(arguments) == 2
    assert re.search(message, capsys.readouterr().err)


def test_help_names_the_datasets(capsys):
    with pytest.raises(SystemExit) as done:
        prepare.parse_words(["--help"])
    assert done.value.code == 0 and "shanghaitech" in capsys.readouterr().out


def test_as_a_module(repository, shared_data):
    """The documented command, in a process of its own, on the real class scores."""
    command = [
        sys.executable,
        "-m",
        "gfvad.main",
        "prepare",
        "--dataset=ucf_logits",
        f"--source={shared_data / 'ucf_crime'}",
        "--check",
        "--deep",
    ]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (
        "train       1,501       794" in done.stdout
        and "test           60        30" in done.stdout
    )
    assert "0 errors, 0 notes" in done.stdout


def test_documented_commands(repository):
    """Every prepare command of docs/sets names a dataset and options that exist; every dataset has
    a page, and docs/data.md links it."""
    pages = {page.stem: page.read_text() for page in (repository / "docs" / "sets").glob("*.md")}
    commands = [
        line.split()
        for page in pages.values()
        for line in page.splitlines()
        if line.startswith("gfvad prepare")
    ]
    documented = {prepare.parse_words(command[2:]).dataset for command in commands}
    assert documented == set(prepare.DATASETS)
    assert set(pages) >= set(prepare.DATASETS) - {prepare.SIMULATED}
    data = (repository / "docs" / "data.md").read_text()
    assert all(f"(sets/{name}.md)" in data for name in pages)
