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
flags = os.environ.get("XLA_FLAGS", "")
devices = 0 if "host_platform_device_count" in flags else 8
# compiling is most of the tests' time; commands that tests start inherit this
if os.environ.setdefault(compiling.SWITCH, "1") == "1":
    os.environ["XLA_FLAGS"] = f"{flags} {compiling.xla_flags(devices)}".strip()
elif devices:
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={devices}"
# what one test or command has compiled, the others read: a folder for this run, which its workers
# and commands inherit
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="gfvad-compiled-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

REPOSITORY = Path(__file__).resolve().parent.parent


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
