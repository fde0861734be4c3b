"""Pretended `sbatch`, `srun` and `scontrol`: a job whose tasks are processes here.

GFVAD_FAKE is its folder: `calls.txt` holds every call, `requeue` says that the job goes back into
the queue. GFVAD_FAKE_MOMENT: a glob; when a file matches, the time limit is near: every task gets
SIGTERM, as `--signal=TERM@120` asks. `sbatch` returns when the job has left the queue for good.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from workers import Moment, Workers


def main(argv: Sequence[str]) -> int:
    """One call of a command of Slurm, its name first; returns its exit code."""
    folder = Path(os.environ["GFVAD_FAKE"])
    with open(folder / "calls.txt", "a") as calls:
        print(*(word.splitlines()[0] for word in argv if word), file=calls)
    return {"sbatch": sbatch, "srun": srun, "scontrol": scontrol}[argv[0]](folder, argv[1:])


def sbatch(folder: Path, words: Sequence[str]) -> int:
    """Runs a script, as a copy elsewhere as Slurm does, until nobody puts it back."""
    options = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--nodes="))
    script, *arguments = words[len(options) :]
    spooled = folder / "slurm_script"
    shutil.copy(script, spooled)
    # jax's coordinator has its port from the number of the job
    job = os.environ.get("GFVAD_FAKE_JOB") or str(random.SystemRandom().randrange(1 << 20))
    environment = {
        **os.environ,
        "SLURM_SUBMIT_DIR": os.getcwd(),
        "SLURM_JOB_ID": job,
        "SLURM_NTASKS": options.get("nodes", "1"),
    }
    count, asked = 0, folder / "requeue"
    while True:
        asked.unlink(missing_ok=True)
        environment["SLURM_RESTART_COUNT"] = str(count)
        code = subprocess.run(["bash", str(spooled), *arguments], env=environment).returncode
        if not asked.exists():
            return code
        count += 1


def srun(folder: Path, words: Sequence[str]) -> int:
    """Runs every task to its end; the highest code is its own."""
    assert words[:2] == ["--kill-on-bad-exit=0", "--wait=600"], words
    moment = Moment(os.environ.get("GFVAD_FAKE_MOMENT", ""), folder / "limit")
    tasks, workers = int(os.environ["SLURM_NTASKS"]), Workers()
    signal.signal(signal.SIGTERM, lambda *_: workers.send(signal.SIGTERM))
    for i in range(tasks):
        own = {
            "SLURM_PROCID": str(i),
            "SLURM_LOCALID": "0",
            "SLURM_STEP_NUM_TASKS": str(tasks),
            "SLURM_STEP_NODELIST": "localhost",
            "SLURM_JOB_NUM_NODES": str(tasks),
        }
        workers.start(words[2:], {**os.environ, **own}, Path.cwd())

    def each() -> bool:
        if moment.come():
            workers.send(signal.SIGTERM)
        return False

    codes = workers.watch(each)
    return max(code or 0 for code in codes)


def scontrol(folder: Path, words: Sequence[str]) -> int:
    """`show job` says that it runs, or what GFVAD_FAKE_STATE says; `requeue` puts it back."""
    if "requeue" in words:
        (folder / "requeue").touch()
    else:
        state = os.environ.get("GFVAD_FAKE_STATE", "RUNNING")
        print(f"JobId={words[-1]} JobName=gfvad JobState={state} Reason=None")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
