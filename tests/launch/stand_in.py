"""What the launchers start in their tests, in place of the main job: six steps of a sum, saved
every second one. The first start stops in the middle, when every process is there, until it is
ended.

SIGTERM at one process has all of them save and leave with 143, as the main job does.
--config=wrong ends with 2, --config=breaks with 1, --config=alone with 75 at the first start.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

STEPS, MIDDLE = 6, 3
number = os.environ.get("GFVAD_PROCESS") or os.environ.get("SLURM_PROCID", "0")
count = int(os.environ.get("GFVAD_PROCESSES") or os.environ.get("SLURM_NTASKS", "1"))
given = dict(word[2:].partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))
workdir = Path(given["workdir"])
workdir.mkdir(parents=True, exist_ok=True)
(workdir / f"words{number}").write_text(json.dumps(sys.argv[1:]))
with open(workdir / f"starts{number}", "a") as starts:
    starts.write("start\n")
if given["config"] in ("wrong", "breaks"):
    sys.exit({"wrong": 2, "breaks": 1}[given["config"]])
saved = workdir / f"saved{number}"
step, value = json.loads(saved.read_text()) if saved.exists() else (0, 1)
if given["config"] == "alone" and not (workdir / "peers").exists():
    (workdir / "peers").touch()
    sys.exit(75)


def save():
    half = saved.with_suffix(".half")
    half.write_text(json.dumps([step, value]))
    half.replace(saved)


def leave(*_):
    save()
    (workdir / "leave").touch()
    os._exit(143)


signal.signal(signal.SIGTERM, leave)
fresh = step == 0
while step < STEPS:
    step, value = step + 1, (value * 31 + step + int(number)) % 10007
    if step % 2 == 0:
        save()
    if fresh and step == MIDDLE:
        (workdir / f"ready{number}").touch()
        while len(list(workdir.glob("ready*"))) < count:
            time.sleep(0.01)
        (workdir / "middle").touch()
        while not (workdir / "leave").exists():
            time.sleep(0.01)
        leave()
(workdir / f"done{number}").write_text(str(value))
