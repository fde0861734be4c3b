"""The sound inputs: made once a run of the fuzzer by the project's own commands."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from gfvad.bench.fuzz.commands import OF_RECORDS, build_files, call, say
from gfvad.bench.fuzz.fork import Child, run_all
from gfvad.bench.fuzz.sizes import CLIPS, OWN, PREDICTIVE, SMALL

DONE = "sound.json"


def commanded(module: str, *argv: str) -> Callable[[], int]:
    """A step that is one command, which has to end well."""

    def step() -> int:
        code = call(module, argv)
        if code:
            raise RuntimeError(
                f"python -m {module} {' '.join(argv)} ended with {code} on sound inputs"
            )
        return code

    return step


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


FIRST = (
    ("files", build_files),
    (
        "features",
        commanded(
            "gfvad.commands.extract",
            "clips",
            "--out=features",
            "--workers=0",
            "--labels=labels.csv",
            "--spans=spans.csv",
        ),
    ),
    (
        "records",
        commanded(
            "gfvad.commands.prepare",
            "--dataset=generic",
            "--source=features",
            "--modalities=motion,appearance,audio",
            "--out=records",
        ),
    ),
)
CHAINS = (
    (
        ("run", commanded("gfvad.main", OWN, *SMALL, "--config.train.steps=4", "--workdir=run")),
        ("half", halved),
        (
            "export",
            commanded("gfvad.commands.export", "--workdir=run", "--out=export", "--platforms=cpu"),
        ),
        (
            "scores",
            commanded(
                "gfvad.commands.score", "--model=run", "features", "--out=scores", "--threshold=0.5"
            ),
        ),
    ),
    (
        ("frames_run", commanded("gfvad.main", PREDICTIVE, *CLIPS, "--workdir=frames_run")),
        ("of_records", commanded("gfvad.main", *OF_RECORDS, "--workdir=of_records")),
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
    for chains in ((FIRST,), CHAINS):
        lanes(folder, [list(steps) for steps in chains], jobs)
    (folder / DONE).write_text("{}")


def lanes(folder: Path, waiting: list[list[tuple[str, Callable]]], jobs: int) -> None:
    """Steps of a lane one after the other, lanes side by side."""

    def begin(lane: int, name: str, step: Callable) -> Child:
        say(f"fuzz: making {name}")
        return Child(f"{lane}/{name}", folder, folder / ".said" / name, step, 600.0)

    ready = [(i, *steps.pop(0)) for i, steps in enumerate(waiting) if steps]
    children = [begin(*one) for one in ready]

    def after(child: Child) -> list[Child]:
        check(child)
        lane = int(child.name.split("/")[0])
        return [begin(lane, *waiting[lane].pop(0))] if waiting[lane] else []

    run_all(children, jobs, after)


def check(child: Child) -> None:
    """Raises RuntimeError where a step failed."""
    if child.status != 0:
        raise RuntimeError(
            f"the sound inputs cannot be made: step {child.name} ended with {child.status}:\n"
            f"{child.stderr()[-3000:]}"
        )


def copy(sound: Path, needs: tuple[str, ...], case: Path) -> None:
    """The inputs of a command into a case's folder, and a folder of the user's beside them."""
    for name in needs:
        (shutil.copytree if (sound / name).is_dir() else shutil.copy2)(sound / name, case / name)
    (case / "user").mkdir()
    (case / "user" / "notes.txt").write_text("notes of the user\n")
    for name in ("tmp", "home"):
        os.mkdir(case / name)
