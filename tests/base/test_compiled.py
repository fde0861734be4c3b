"""Compiled programs are kept by default, in a folder that does not grow without end."""

import os
import subprocess
import sys

import pytest

from gfvad.base import compiled


@pytest.fixture
def fresh(monkeypatch):
    """As before jax is imported."""
    monkeypatch.delitem(sys.modules, "jax", raising=False)


def test_a_folder_of_this_processor_is_named_and_made(tmp_path, fresh):
    environment = {"GFVAD_CACHE": str(tmp_path)}
    compiled.keep_programs(environment)
    folder = tmp_path / "compiled" / compiled.processor()
    assert environment[compiled.FOLDER] == str(folder) and folder.is_dir()
    assert environment[compiled.SECONDS] == compiled.WORTH


@pytest.mark.parametrize(
    "given",
    [
        {compiled.FOLDER: "/elsewhere"},
        {compiled.SWITCH: "False"},
        {"GFVAD_CACHE": "/dev/null/nowhere"},
    ],
)
def test_what_the_user_says_and_what_cannot_be_written(given, tmp_path, fresh):
    environment = {"GFVAD_CACHE": str(tmp_path)} | given
    before = dict(environment)
    compiled.keep_programs(environment)
    assert environment == before and not any(tmp_path.iterdir())


def test_too_late_where_jax_has_read_its_variables(tmp_path):
    import jax  # noqa: F401

    environment = {"GFVAD_CACHE": str(tmp_path)}
    compiled.keep_programs(environment)
    assert compiled.FOLDER not in environment


def test_what_was_not_read_for_longest_goes_first(tmp_path):
    for age, name in enumerate(["new", "middle", "old", "oldest"]):
        path = tmp_path / name
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    compiled.bound(tmp_path, largest=400)
    assert len(list(tmp_path.iterdir())) == 4
    compiled.bound(tmp_path, largest=399)
    assert {p.name for p in tmp_path.iterdir()} == {"new", "middle"}


def test_a_run_log_does_not_import_torch(tmp_path):
    code = (
        "import sys, pathlib; from gfvad.train.logs import RunLog\n"
        f"with RunLog(pathlib.Path({str(tmp_path)!r})) as log: log.write(1, 'train', {{'loss': 1}})"
        "\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert list((tmp_path / "tensorboard").iterdir())
