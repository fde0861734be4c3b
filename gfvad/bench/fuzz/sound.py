"""The sound inputs: made once a run of the fuzzer by the project's own commands."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from gfvad.bench.fuzz.commands import FEATURES, OF_RECORDS, TABLES, build_files, call
from gfvad.bench.fuzz.fork import Child, run_all
from gfvad.bench.fuzz.sizes import (
    CLIPS,
    OF_PATCHES,
    OF_TRACKS,
    OWN,
    PATCHES,
    PREDICTIVE,
    SMALL,
    TRACKS,
    overrides,
)

DONE = "sound.json"


def commanded(module: str, words: str, *settings: str) -> int:
    """A step that is one command, which has to end well."""
    argv = (*settings, *words.split())
    if code := call(module, argv):
        raise RuntimeError(f"python -m {module} {' '.join(argv)} ended with {code} on sound inputs")
    return 0


def halved() -> int:
    """The run as it was after half its steps, and a folder of two runs without weights."""
    shutil.copytree("run", "half")
    shutil.rmtree("half/checkpoints/4")
    for name in ("results.json", "results.md", "scores.npz", "calibration.json"):
        Path("half", name).unlink(missing_ok=True)
    for name in ("a", "b"):
        shutil.copytree(
            "run", Path("runs") / name, ignore=shutil.ignore_patterns("checkpoints", "tensorboard")
        )
        path = Path("runs") / name / "results.json"
        tree = json.loads(path.read_text())
        tree["seed"] = tree["config"]["seed"] = len(name) + ord(name)
        path.write_text(json.dumps(tree))
    return 0


def _step(name: str, words: str) -> Callable[[], int]:
    return partial(commanded, f"gfvad.commands.{name}", words)


def _training(config: str, settings: Sequence[str], folder: str) -> Callable[[], int]:
    return partial(commanded, "gfvad.main", f"--workdir={folder}", config, *settings)


FOUR, RECORDS = overrides("train.steps=4"), overrides(OF_RECORDS)
FIRST = (
    ("files", build_files),
    ("features", _step("extract", f"clips --out=features --workers=0 {TABLES}")),
    ("records", _step("prepare", f"{FEATURES} --source=features --out=records")),
)
CHAINS = (
    (
        ("run", _training(OWN, (*SMALL, *FOUR), "run")),
        ("half", halved),
        ("export", _step("export", "--workdir=run --out=export --platforms=cpu")),
        ("scores", _step("score", "--model=run features --out=scores --threshold=0.5")),
    ),
    (
        ("frames_run", _training(PREDICTIVE, CLIPS, "frames_run")),
        ("of_records", _training(OWN, (*SMALL, *RECORDS), "of_records")),
    ),
    (
        ("novelty_run", _training(OF_TRACKS, TRACKS, "novelty_run")),
        (
            "novelty_export",
            _step("export", "--workdir=novelty_run --out=novelty_export --platforms=cpu"),
        ),
        ("patch_run", _training(OF_PATCHES, PATCHES, "patch_run")),
    ),
)


def make(folder: Path, jobs: int) -> None:
    """All sound inputs below a folder; nothing where they lie there already.

    Raises RuntimeError, with what was said, where a step fails.
    """
    if (folder / DONE).is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    after_that = {one[0]: other for chain in (FIRST, *CHAINS) for one, other in pairwise(chain)}

    def begin(name: str, step: Callable[[], int]) -> Child:
        print(f"fuzz: making {name}", file=sys.stderr, flush=True)
        return Child(name, folder, folder / ".said" / name, step, 600.0)

    def ended(child: Child) -> list[Child]:
        if child.status != 0:
            raise RuntimeError(
                f"the sound inputs cannot be made: step {child.name} ended with {child.status}:\n"
                f"{child.said('stderr')[-3000:]}"
            )
        return [begin(*after_that[child.name])] if child.name in after_that else []

    for chains in ((FIRST,), CHAINS):  # steps of a chain one after the other, chains side by side
        run_all([begin(*chain[0]) for chain in chains], jobs, ended)
    (folder / DONE).write_text("{}")


def copy_inputs(sound: Path, needs: tuple[str, ...], case: Path) -> None:
    """The inputs of a command into a case's folder, and a folder of the user's beside them."""
    for name in needs:
        (shutil.copytree if (sound / name).is_dir() else shutil.copy2)(sound / name, case / name)
    for name in ("user", "tmp", "home"):
        os.mkdir(case / name)
    (case / "user" / "notes.txt").write_text("notes of the user\n")
