"""Runs the main job by every launcher on pretended machines, over an interruption in the middle.

    python launch/rehearsal/rehearse.py FOLDER [tpu slurm kubernetes]

Two processes on this machine, simulated data, a few steps. First the job runs undisturbed
(launch/cpu_pod.sh), then by each launcher, interrupted as soon as a checkpoint is written: the
slice is preempted, the time limit comes near, a pod's node goes away. Exit code 1 where the
parameters of the last checkpoint or the log differ in a single bit from the undisturbed run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
COMMANDS = {"gcloud": "fake_cloud", "sbatch": "fake_slurm", "srun": "fake_slurm"}
COMMANDS |= {"scontrol": "fake_slurm"}
PROCESSES, CHECKPOINT = 2, 10  # the step whose checkpoint brings the interruption


def shims(folder: Path) -> Path:
    """Makes a folder of commands that are the pretended ones; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in COMMANDS.items():
        words = f"{sys.executable} -S {HERE / module}.py"
        own = f" {name}" if module == "fake_slurm" else ""
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {words}{own} "$@"\n')
        path.chmod(0o755)
    return folder


def main(argv: Sequence[str]) -> int:
    """Runs a command line; returns the exit code."""
    ways = {"tpu": by_tpu, "slurm": by_slurm, "kubernetes": by_kubernetes}
    if not argv or set(argv[1:]) - set(ways):
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    # here: tests read `shims` without the libraries of the main job
    from gfvad.bench.kills import SMALL, parameters, same

    folder = Path(argv[0]).resolve()
    arguments = [*SMALL, "--config.parallel.devices=0"]
    whole = folder / "undisturbed"
    say("undisturbed", *timed(by_hand, folder, [*arguments, f"--workdir={whole}"]))
    differ = 0
    for name in argv[1:] or ways:
        workdir, fake = folder / name, folder / f"{name}-machine"
        shutil.rmtree(fake, ignore_errors=True)
        fake.mkdir(parents=True)
        result = timed(ways[name], fake, [*arguments, f"--workdir={workdir}"])
        acted = [p.name for p in fake.iterdir() if p.name in ("preempted", "limit", "acted")]
        wrong = same(workdir, whole, ("metrics.jsonl", "scores.npz"))
        wrong += [] if parameters(workdir) == parameters(whole) else ["checkpoints"]
        say(name, *result, "interrupted" if acted else "NOT INTERRUPTED", f"differ: {wrong}")
        differ += len(wrong) + (not acted)
    return int(differ > 0)


def timed(way, folder: Path, arguments: list[str]) -> tuple[str, str]:
    """Runs one way to start the job; (its result, seconds)."""
    began = time.monotonic()
    return way(folder, arguments), f"{time.monotonic() - began:.1f} s"


def say(*words: str) -> None:
    print("rehearse:", *words, flush=True)


def environment(folder: Path, arguments: list[str]) -> dict[str, str]:
    """Of every launcher: pretended commands first, the main job of this interpreter."""
    workdir = arguments[-1].partition("=")[2]
    return {
        **os.environ,
        "PATH": f"{shims(folder / 'bin')}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(CHECKOUT),
        "JAX_PLATFORMS": "cpu",
        "GFVAD_FAKE": str(folder),
        "GFVAD_FAKE_MOMENT": f"{workdir}/checkpoints/{CHECKPOINT}/*",
        "GFVAD_COMMAND": f"{sys.executable} -m gfvad.main",
    }


def run(words: list[str], folder: Path, arguments: list[str], **more: str) -> str:
    """A launcher with the arguments, to its end; its exit code. What it says is kept."""
    with open(folder / "said.txt", "w") as said:
        own = environment(folder, arguments) | more
        done = subprocess.run([*words, *arguments], cwd=CHECKOUT, env=own, stdout=said, stderr=said)
    return f"code {done.returncode}"


def by_hand(folder: Path, arguments: list[str]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return run(["bash", "launch/cpu_pod.sh", str(PROCESSES)], folder, arguments)


def by_tpu(folder: Path, arguments: list[str]) -> str:
    """A queued resource whose slice is preempted."""
    asked = {"TPU": "pod", "ZONE": "zone", "ACCELERATOR": "v5litepod-8", "RUNTIME": "v2"}
    own = {"REPOSITORY": str(CHECKOUT), "POLL": "0.5", "SPOT": "1"}
    return run(["bash", "launch/tpu_pod.sh"], folder, arguments, **asked, **own)


def by_slurm(folder: Path, arguments: list[str]) -> str:
    """A job of two nodes that comes near its time limit."""
    return run(["sbatch", f"--nodes={PROCESSES}", "launch/slurm.sh"], folder, arguments)


def by_kubernetes(folder: Path, arguments: list[str]) -> str:
    """A JobSet of which one pod's node goes away."""
    import yaml
    from fake_kubernetes import Cluster
    from workers import Moment

    words = ["--name=rehearsal", "--image=none", f"--pods={PROCESSES}", "--"]
    script = str(CHECKOUT / "launch" / "k8s_jobset.py")
    text = subprocess.run(
        [sys.executable, script, *words, *arguments], check=True, capture_output=True, text=True
    ).stdout
    own = environment(folder, arguments)
    moment = Moment(own["GFVAD_FAKE_MOMENT"], folder / "acted")
    cluster = Cluster(yaml.safe_load(text), CHECKOUT, own, moment, "lose")
    return f"{cluster.run()} ({', '.join(cluster.events)})"


if __name__ == "__main__":
    sys.path.insert(0, str(CHECKOUT))
    sys.exit(main(sys.argv[1:]))
