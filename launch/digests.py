"""What the main commands give, as digests: run it before and after a change that must not move a
number, then compare.

    python launch/digests.py run ../shared/data before
    python launch/digests.py compare before after

`run` trains, scores and streams (about 15 minutes on 2 cores); `compare` gives 0 where all is equal
to the bit, else what differs.

Parameters are those of the last checkpoint; scores, logged losses and the values of results.json
are taken as they are written.
"""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

QUICK = ["--config.eval.figures=False", "--config.eval.bootstrap=50"]
RUNS = {  # name -> arguments of `python -m gfvad.main`; {data} is the folder of the real sets
    "xd": ["--config=configs/xd.py"],
    "ucf": ["--config=configs/ucf.py", "--config.data.root={data}/ucf_crime"],
    "ped2_weak": ["--config=configs/ped2_weak.py", "--config.data.root={data}/ped2"],
    "ped2_small": [
        "--config=configs/ped2.py:small",
        "--config.data.root={data}/ped2",
        "--config.train.steps=60",
    ],
    "own": ["--config=configs/own.py:clips", "--config.data.root={out}/features"],
}
SWEEP = """def get_sweep(config):
    return {"settings": {"base": {}, "rank1": {"model.fusion.rank": 1}}, "base": "base", "seeds": 2}
"""


def commands(data: Path, out: Path) -> Iterator[tuple[str, list[str]]]:
    """(name, arguments after `python -m`) in the order they need each other."""
    for name, arguments in RUNS.items():
        if name == "own":
            clips = [
                "gfvad.extract",
                f"{data}/fight_clips",
                f"--out={out}/features",
                "--normal=noFight",
                "--abnormal=fight",
            ]
            yield "extract", clips
        filled = [a.format(data=data, out=out) for a in arguments]
        yield name, ["gfvad.main", *filled, f"--workdir={out}/{name}", *QUICK]
    (out / "sweep.py").write_text(SWEEP)
    yield (
        "ablation",
        [
            "gfvad.ablate",
            "--config=configs/xd.py",
            f"--sweep={out}/sweep.py",
            f"--workdir={out}/ablation",
            "--seeds=2",
            "--config.train.steps=20",
            *QUICK,
        ],
    )
    yield (
        "export",
        [
            "gfvad.export",
            f"--workdir={out}/own",
            f"--out={out}/export",
            "--platforms=cpu",
        ],
    )
    yield (
        "exported",
        [
            "gfvad.score",
            f"--model={out}/export",
            f"{out}/features",
            f"--out={out}/exported",
        ],
    )
    clip = sorted((data / "fight_clips" / "fight").glob("*.mp4"))[0]
    yield (
        "stream",
        [
            "gfvad.score",
            f"--model={out}/own",
            "--stream",
            str(clip),
            f"--out={out}/stream",
        ],
    )


def run(data: Path, out: Path) -> int:
    """Runs every command; returns the number of those that failed."""
    out.mkdir(parents=True)
    failed = 0
    for name, arguments in commands(data.resolve(), out.resolve()):
        started = time.monotonic()
        with open(out / f"{name}.log", "w") as log:
            code = subprocess.run(
                [sys.executable, "-m", *arguments], stdout=log, stderr=log
            ).returncode
        failed += code != 0
        print(f"{name}: exit code {code}, {time.monotonic() - started:.0f} s", flush=True)
    (out / "digests.json").write_text(json.dumps(digests(out), indent=1, sort_keys=True))
    return failed


def digests(out: Path) -> dict[str, str]:
    """{what: digest} of everything that is a number."""
    found = {}
    for checkpoint in sorted(out.rglob("checkpoints")):
        steps = [p for p in checkpoint.iterdir() if p.name.isdigit()]
        if steps:
            found[f"parameters {checkpoint.parent.relative_to(out)}"] = parameters(
                max(steps, key=lambda p: int(p.name))
            )
    for path in sorted(out.rglob("scores.npz")):
        with np.load(path) as arrays:
            found[str(path.relative_to(out))] = of(
                {name: arrays[name].tobytes().hex() for name in arrays.files}
            )
    for path in sorted(out.rglob("metrics.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found[str(path.relative_to(out))] = of(rows)
    for path in sorted(out.rglob("results.json")):
        tree = json.loads(path.read_text())
        found[str(path.relative_to(out))] = of(
            [
                [
                    r[k]
                    for k in (
                        "metric",
                        "aggregation",
                        "normalisation",
                        "smoothing",
                        "checkpoint",
                        "value",
                    )
                ]
                for r in tree["records"]
            ]
        )
    for path in sorted([*out.rglob("scores.csv"), *out.rglob("alarms.csv")]):
        found[str(path.relative_to(out))] = of(list(csv.reader(path.read_text().splitlines())))
    for path in sorted((out / "features").rglob("*.npy")):
        found[str(path.relative_to(out))] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found


def parameters(step: Path) -> str:
    """Of all arrays of a checkpoint."""
    import orbax.checkpoint as ocp

    arrays = ocp.PyTreeCheckpointer().restore(step / "state")
    return of({name: np.asarray(x).tobytes().hex() for name, x in arrays.items()})


def of(tree: Any) -> str:
    """Digest of what JSON can hold."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]


def compare(before: Path, after: Path) -> int:
    """Prints what differs; returns how many."""
    trees = [json.loads((folder / "digests.json").read_text()) for folder in (before, after)]
    differing = sorted(
        key for key in {*trees[0], *trees[1]} if trees[0].get(key) != trees[1].get(key)
    )
    for key in differing:
        print(f"{key}: {trees[0].get(key)} before, {trees[1].get(key)} after")
    print(f"{len(trees[0])} digests before, {len(trees[1])} after, {len(differing)} differ")
    return len(differing)


if __name__ == "__main__":
    mode, first, second = sys.argv[1:]
    sys.exit(min(1, {"run": run, "compare": compare}[mode](Path(first), Path(second))))
