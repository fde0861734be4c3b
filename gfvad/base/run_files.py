"""Which files of a run's folder, and of `--mode=score`, are this project's own: `base/owned.py`
told what they look like."""

from __future__ import annotations

import functools
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gfvad.base.files import read_json
from gfvad.base.owned import Owned

RESULTS = ("results.json", "results.md", "scores.npz", "paired.npz")
LOGS = ("metrics.jsonl", "timing.jsonl")
DRAWN = ("score_timelines", "learning_curves", "fused_graph", "coefficients", "expert_usage")
FIGURES = tuple(f"figures/{name}.png" for name in (*DRAWN, "terms", "experts"))
EVALUATED = (*RESULTS, "calibration.json", *FIGURES)
RUN_FILES = ("config.json", "features.json", *LOGS, *EVALUATED)
KEYS = {  # of a JSON file of a run
    "config.json": {"data", "model", "train", "seed"},
    "results.json": {"schema", "records", "headline"},
    "calibration.json": {"step", "threshold", "rule"},
    "features.json": {"encoders"},
    "sweep.json": {"sweep", "base", "seeds", "settings"},
}
BEGINNINGS: dict[str, str | tuple[str, ...]] = {
    "results.md": ("**HEADLINE", "**BELOW ITS FLOOR"),
    "ablation.md": "# Ablation ",
    "ablation.csv": "setting,seed,metric,",
    "folds.md": "# Folds ",
    "folds.csv": "setting,seed,metric,",
    "comparison.md": "# Comparison ",
    "comparison.csv": "setting,seed,metric,",
    "costs.json": "{",
}
PNG, MATPLOTLIB = b"\x89PNG\r\n\x1a\n", b"Matplotlib"

Job = Callable[[Any], int]


def owned_run(workdir: Path) -> Owned:
    """What training and evaluation wrote into a run's folder."""
    return Owned(workdir, "run", "gfvad train", is_of_a_run)


def owned_ablation(workdir: Path) -> Owned:
    """What an ablation wrote into its folder, but for the folders of its runs."""
    return Owned(workdir, "ablation", "gfvad ablate", is_of_a_run)


def owned_comparison(workdir: Path) -> Owned:
    """What `gfvad compare --config` wrote beside them."""
    return Owned(workdir, "comparison", "gfvad compare", is_of_a_run)


def owned_scores(output: Path) -> Owned:
    """What --mode=score wrote into the folder of its output."""
    return Owned(output.parent, "frame-scores", "gfvad --mode=score", is_no_runs_scores)


def is_of_a_run(path: Path) -> bool:
    """Whether a file is of a run or an ablation by its content; of versions that kept no record."""
    if path.name in KEYS:
        return KEYS[path.name] <= set(read_json(path, "a file of a run"))
    if path.suffix in (".png", ".mp4"):
        with open(path, "rb") as file:
            head = file.read(2000)
        picture = head.startswith(PNG) and MATPLOTLIB in head
        return picture or path.suffix == ".mp4" and head[4:8] == b"ftyp"
    if path.name in ("scores.npz", "paired.npz"):
        return is_frame_scores(path)
    with open(path, encoding="utf-8") as file:
        first = file.readline(1 << 20)
    if path.name in LOGS:
        if not first.endswith("\n"):  # cut short
            return not first or first.startswith('{"step"')
        return {"step", "kind"} <= set(json.loads(first))
    return first.startswith(BEGINNINGS[path.name])


def is_frame_scores(path: Path) -> bool:
    """Whether a file is an archive of one array of frame scores a video, as
    `results.write_scores` writes them."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        found = archive.infolist()
        heads = [archive.open(info).read(128) for info in found[:20]]
    kinds = {(info.compress_type, info.date_time[0]) for info in found}
    compressed = kinds <= {(zipfile.ZIP_DEFLATED, 1980)}
    return compressed and all(b"'descr': '<f4'" in head and b",), }" in head for head in heads)


def is_no_runs_scores(path: Path) -> bool:
    """Whether a file is an archive of frame scores that is not that of a run's test part
    (earlier versions kept no record)."""
    of_a_run = path.name == "scores.npz" and (path.parent / "checkpoints").is_dir()
    return not of_a_run and is_frame_scores(path)


def claims_run(job: Job) -> Job:
    """A job that writes into arguments.workdir, which is refused where somebody else's file is
    in the place of one of a run's."""
    return _claiming(job, lambda own: {*RUN_FILES, *own.known()})


def claims_results(job: Job) -> Job:
    """The same for a job that writes the results of a run alone."""
    return _claiming(job, lambda own: EVALUATED)


def _claiming(job: Job, names: Callable[[Owned], Iterable[str]]) -> Job:
    @functools.wraps(job)
    def claimed(arguments: Any) -> int:
        own = owned_run(arguments.workdir)
        own.claim(names(own))
        return job(arguments)

    return claimed


def claims_output(job: Job) -> Job:
    """A job that writes arguments.output, which is refused where somebody else's file is in its
    place, or another process writes it."""

    @functools.wraps(job)
    def claimed(arguments: Any) -> int:
        output: Path = arguments.output
        lock = f".{output.name[-100:]}.lock"
        with owned_scores(output).locked("output", [output.name], lock=lock):
            return job(arguments)

    return claimed


def publish(output: Path, write: Callable[[Path], object]) -> Path:
    """Writes the output of --mode=score by write(path); returns its path."""
    with owned_scores(output).staged() as folder:
        write(folder / output.name)
    return output


def drawn(workdir: Path, paths: Iterable[Path]) -> None:
    """Takes down figures of a run."""
    owned_run(workdir).finish(path.relative_to(workdir).as_posix() for path in paths)
