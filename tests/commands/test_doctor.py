"""`gfvad doctor`: what it finds of an installation and of a folder, and what it makes of it."""

import importlib.metadata

import feature_folders
import numpy as np
import pytest
import tiny_clips

from gfvad import library
from gfvad.commands import doctor


@pytest.fixture
def run(capsys, monkeypatch, tmp_path, repository):
    monkeypatch.setenv("GFVAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(repository)

    def run(*words):
        code = doctor.main(list(words))
        return code, capsys.readouterr().out

    return run


def test_all_is_well(run, tmp_path):
    code, said = run()
    assert code == 0 and "FAIL" not in said and said.endswith("all checks passed\n")
    for words in ("Python 3.", "ok    packages: jax", "extra video", "jax 0.", "1 x cpu", "xd"):
        assert words in said.replace("8 x cpu", "1 x cpu"), words
    assert f"cache {tmp_path / 'cache'}" in said and not (tmp_path / "cache").exists()


def test_what_is_absent_or_strange_is_named(run, monkeypatch):
    """A package that is needed fails; one of an extra is told, with the command that brings it."""
    real = importlib.metadata.version

    def version(name):
        if name in ("optax", "plotly"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.1.0" if name == "rich" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    code, said = run()
    assert code == 1 and 'FAIL  packages: pip install "optax<0.3,>=0.2.8"' in said
    assert 'note  extra report: pip install "plotly<8,>=7.1"' in said
    assert "not tried: rich 0.1.0 (tried: <16,>=15)" in said and said.endswith("1 failed\n")


def test_requirements_of_an_installed_package(monkeypatch, tmp_path):
    """The metadata of a wheel say the same as pyproject.toml."""
    there = doctor.requirements()
    assert {"", "text", "video", "report", "encoders", "storage"} == set(there)
    lines = [str(requirement) for requirement in there[""]]
    lines += [f'{r}; extra == "{name}"' for name in there if name for r in there[name]]
    lines += ['jax[tpu]<0.11; extra == "tpu"', 'gfvad[text]; extra == "all"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    monkeypatch.setattr(doctor.gfvad, "__file__", str(tmp_path / "site-packages/gfvad/__init__.py"))
    assert {n: sorted(map(str, r)) for n, r in doctor.requirements().items()} == {
        n: sorted(map(str, r)) for n, r in there.items()
    }


def test_wrong_arithmetic_fails(run, monkeypatch):
    monkeypatch.setattr(library, "fuse", lambda graphs, a: 1.01 * graphs[0] + a.sum())
    code, said = run()
    assert code == 1 and "FAIL  graphs and their fusion" in said


def test_a_broken_library_does_not_hide_the_rest(run, monkeypatch):
    monkeypatch.setattr("jax.devices", lambda: 1 / 0)
    code, said = run()
    assert code == 1 and "FAIL  devices: ZeroDivisionError" in said and "ok    configs" in said


@pytest.mark.parametrize(
    "maker, words",
    [
        ("ucf_logits", "ucf_logits in "),
        ("xd", "xd_violence in "),
        ("ucf", "ucf_crime in "),
        ("vadclip", "vadclip in "),
    ],
)
def test_features(run, tmp_path, maker, words):
    more = {"family": 2048} if maker == "ucf" else {}
    root = getattr(feature_folders, maker)(tmp_path / "set", **more)
    code, said = run(f"--data={root}")
    assert code == 0 and words in said, said


def test_damaged_features(run, tmp_path):
    root = feature_folders.xd(tmp_path / "set")
    (root / "i3d-features/RGB/v=abc__#1_label_B1-0-0__0.npy").write_bytes(b"")
    code, said = run(f"--data={root}")
    assert code == 1 and "ERROR unreadable: 1" in said


def test_frames_and_nothing_known(run, tmp_path):
    code, said = run(f"--data={tiny_clips.write_set(tmp_path / 'frames')}")
    assert code == 0 and "a set of frames, layout 'frames': " in said and "3 test videos" in said
    (tmp_path / "other").mkdir()
    np.save(tmp_path / "other" / "x.npy", np.zeros(3))
    code, said = run(f"--data={tmp_path / 'other'}")
    assert code == 0 and "no known set" in said
    code, said = run(f"--data={tmp_path / 'absent'}")
    assert code == 1 and "no such folder" in said
