"""Shared fixtures. Eight emulated CPU devices are set up before jax starts, so that
device-mapping tests run anywhere."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import compiling
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# compiling is most of the tests' time; commands that tests start inherit this
os.environ.setdefault(compiling.SWITCH, "1")
flags = os.environ.get("XLA_FLAGS", "").split()
known = {flag.split("=")[0] for flag in flags}
flags += [flag for flag in compiling.xla_flags(8).split() if flag.split("=")[0] not in known]
os.environ["XLA_FLAGS"] = " ".join(flags)
# what one test or command has compiled, the others read: a folder for this run, which its workers
# and commands inherit
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="gfvad-compiled-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

REPOSITORY = Path(__file__).resolve().parent.parent
# begun first, so that no process is alone with one of them in the end
LONGEST = (
    "bench/test_fuzz.py",
    "commands/test_commands.py",
    "commands/test_commands_after.py",
    "train/test_parallel.py",
    "ablation/test_ablate.py",
    "tasks/test_optimised.py",
    "tasks/prediction/test_clip_job.py",
    "tasks/fusion/test_foils.py",
    "reporting/test_report.py",
    "train/test_resume.py",
)


def pytest_collection_modifyitems(items):
    """The longest files first; launch/test.sh hands files to processes in this order."""
    place = {str(REPOSITORY / "tests" / name): i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(str(item.path), len(place)))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real sets; tests that need it skip where it is missing."""
    root = Path(os.environ.get("GFVAD_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"real data not found at {root} (set GFVAD_SHARED_DATA to its folder)")
    return root


@pytest.fixture(autouse=True, scope="module")
def bounded_memory():
    """Compiled programs are let go after each file of tests: kept until the end they come to
    several gigabytes a process."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
