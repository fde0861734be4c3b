"""`gfvad bench kills --cases=20 --seed=0`: SIGKILL at random moments of training (of fused
features, of graph novelty), extraction and scoring; all must end in the bits of an undisturbed run.

After each kill of training one random byte of the newest checkpoint is turned over. Commands are
forks of one process that has read the libraries and started no backend. Exit code 1 where a single
byte of an output differs.

--storage=gs (or s3) kills a training of --processes=2 whose data and --workdir are in a bucket of
an emulator (pip install -r launch/requirements-emulators.txt) instead.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from gfvad.base.options import Parser
from gfvad.bench.fuzz import media, people
from gfvad.bench.fuzz.commands import call
from gfvad.bench.fuzz.fork import Child
from gfvad.bench.fuzz.sizes import CONFIGS, overrides

SMALL = (
    f"--config={CONFIGS / 'xd.py'}",
    *overrides("""
        data.simulated.train_videos=12 data.simulated.test_videos=4 data.simulated.crops=1
        data.simulated.units=8 data.eval_batch_size=4 model.embed_dim=4 model.head.hidden=4
        train.steps=60 train.batch_size=4 train.log_every=3 train.eval_every=10
        parallel.devices=1 train.checkpoint_every=5 eval.bootstrap=0 eval.figures=False
    """),
)
NOVELTY = (
    f"--config={CONFIGS / 'avenue_tracks.py'}",
    *overrides("""
        data.train=train data.test=test data.labels=labels.npz data.eval_batch_size=16 model.bank=64
        train.steps=60 train.batch_size=16 train.log_every=3 train.eval_every=10
        parallel.devices=1 train.checkpoint_every=5 eval.bootstrap=0 eval.figures=False
    """),
)
VIDEOS, FRAMES = 6, 64  # made for extraction


def begin(folder: Path, module: str, *words: str) -> Child:
    """Starts a command in a fork of this process."""
    work = partial(call, f"gfvad.{module}", words)
    child = Child(module, folder, folder / "said", work, math.inf)
    child.start()
    return child


def finish(child: Child) -> float:
    """Waits; returns its seconds. Raises RuntimeError where it ended with another exit code
    than 0."""
    while child.status is None and not child.poll():
        time.sleep(0.01)
    if child.status:
        raise RuntimeError(f"exit code {child.status}: {child.said('stderr')[-2000:]}")
    return child.seconds


def kill_after(child: Child, seconds: float, ready: Callable[[], bool] = lambda: True) -> bool:
    """SIGKILL so many seconds after `ready()`; False where it was done before. Raises as
    `finish`."""
    since = None
    while not child.poll():
        if since is None and ready():
            since = time.monotonic()
        if since is not None and time.monotonic() - since >= seconds:
            child.kill()
            while not child.poll():
                time.sleep(0.002)
            return True
        time.sleep(0.002)
    finish(child)
    return False


def checkpoints(workdir: Path) -> list[Path]:
    """Folders of a run's checkpoints by their steps."""
    folders = (p for p in (workdir / "checkpoints").glob("*") if p.name.isdigit())
    return sorted(folders, key=lambda p: int(p.name))


def flip_newest(workdir: Path, rng: random.Random) -> str:
    """Turns one bit of a random file of the newest checkpoint over; says where. '' where there
    is none."""
    found = (p for last in checkpoints(workdir)[-1:] for p in last.rglob("*"))
    files = sorted(p for p in found if p.is_file() and p.stat().st_size)
    if not files:
        return ""
    weights = [p.stat().st_size for p in files]
    path = rng.choices(files, weights)[0]
    content = bytearray(path.read_bytes())
    position = rng.randrange(len(content))
    content[position] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"{path.relative_to(workdir)}, byte {position}"


def same(found: Path, expected: Path, names: Sequence[str]) -> list[str]:
    """The files of `names` that differ, by bytes."""
    return [
        name
        for name in names
        if not (found / name).is_file()
        or (found / name).read_bytes() != (expected / name).read_bytes()
    ]


def rows(workdir: Path) -> int:
    """Rows of a run's log so far."""
    path = workdir / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def parameters(workdir: Path) -> dict[str, str]:
    """Digests of the arrays of the last checkpoint."""
    last = checkpoints(workdir)[-1]
    return json.loads((last / "meta" / "metadata").read_text())["arrays"]


def stepping(child: Child, workdir: Path, least: int = 0) -> bool:
    """Whether a training has taken its first step, and logged so many rows."""
    return "train:" in child.said("stderr") and rows(workdir) >= least


def kill_training(folder: Path, cases: int, rng: random.Random) -> int:
    """Kills training; returns the number of wrong bits found (files that differ)."""
    return kill_runs(folder, SMALL, cases, rng)


def kill_novelty(folder: Path, cases: int, rng: random.Random) -> int:
    """The same of graph novelty, whose bank and calibration must be the same too."""
    own = folder / "novelty"
    people.write(own / "tracks")
    return kill_runs(own, (*NOVELTY, f"--config.data.root={own / 'tracks'}"), cases, rng)


def kill_runs(folder: Path, words: Sequence[str], cases: int, rng: random.Random) -> int:
    """Kills the training that words ask for; returns the number of files that differ."""
    whole = folder / "whole"
    training = lambda workdir: begin(folder, "main", *words, f"--workdir={workdir}")
    # the first one also makes the data and the compiled programs
    finish(training(whole))
    shutil.rmtree(whole)
    child, first = training(whole), 0.0
    while not child.poll():
        first = first or child.seconds * stepping(child, whole)
        time.sleep(0.005)
    seconds, total = finish(child) - first, rows(whole)
    say(f"train: undisturbed {seconds:.1f} s from the first step to the end")
    kills = damaged = differ = rounds = 0
    while kills < cases:
        workdir, rounds = folder / f"killed{rounds}", rounds + 1
        again = True
        while again:
            child = training(workdir)
            # every fourth one anywhere from the first step to the end of the evaluation, the others
            # while steps are taken
            if rng.random() < 0.25:
                moment, least = rng.random() * seconds * 0.8, 0
            else:
                least = rng.randint(min(rows(workdir), total), total)
                moment = rng.random() * 0.1
            ready = partial(stepping, child, workdir, least)
            again = kills < cases and kill_after(child, moment, ready)
            if again:
                kills += 1
                where = flip_newest(workdir, rng)
                damaged += bool(where)
                say(f"train: kill {kills}, {where or 'no checkpoint yet'}")
        finish(child)
        kept = [path.name for path in whole.glob("novelty-*.json")]
        wrong = same(workdir, whole, ("metrics.jsonl", "scores.npz", *kept))
        wrong += [] if parameters(workdir) == parameters(whole) else ["checkpoints"]
        differ += len(wrong)
        ended = f"DIFFERENT: {', '.join(wrong)}" if wrong else "in the same bits"
        say(f"train: run {rounds} ended {ended}")
    say(
        f"train: {kills} kills, {damaged} with a flipped byte in the newest checkpoint, {rounds}"
        f" runs, {differ} files differ"
    )
    return differ


def kill_extraction(folder: Path, cases: int, rng: random.Random) -> int:
    """Kills extraction; returns the number of files that differ."""
    videos, whole = folder / "videos", folder / "features"
    for i in range(VIDEOS):
        media.write_video(videos / f"video{i}.mp4", FRAMES, i, sound=False)
    words = (str(videos), "--modalities=motion,appearance", "--workers=0")
    extraction = lambda out: begin(folder, "commands.extract", *words, f"--out={out}")
    seconds = finish(extraction(whole))
    files = (p for p in sorted(whole.rglob("*")) if p.suffix in (".npy", ".csv", ".txt"))
    names = [str(p.relative_to(whole)) for p in files if p.is_file()]
    kills = differ = rounds = 0
    while kills < cases:
        out, rounds = folder / f"features{rounds}", rounds + 1
        while kills < cases and kill_after(extraction(out), rng.random() * seconds):
            kills += 1
        finish(extraction(out))
        differ += len(same(out, whole, names))
    say(f"extract: {kills} kills, {rounds} folders of {len(names)} files, {differ} files differ")
    return differ


def kill_scoring(folder: Path, cases: int, rng: random.Random) -> int:
    """Kills scoring; returns the number of outputs that differ, or that a kill left in part."""
    run = folder / "whole"
    if not run.exists():
        finish(begin(folder, "main", *SMALL, f"--workdir={run}"))
    root = next((Path(os.environ["GFVAD_CACHE"]) / "simulated").iterdir())
    words = ("--mode=score", f"--workdir={run}", f"--input={root}")
    scoring = lambda out: begin(folder, "main", *words, f"--output={out}")
    expected, out = folder / "expected.npz", folder / "scores.npz"
    finish(scoring(expected))
    seconds = finish(scoring(expected))
    kills = differ = 0
    while kills < cases:
        kills += kill_after(scoring(out), rng.random() * seconds)
        if out.exists():
            differ += out.read_bytes() != expected.read_bytes()
            out.unlink()
    finish(scoring(out))
    differ += out.read_bytes() != expected.read_bytes()
    say(f"score: {kills} kills, {differ} outputs differ")
    return differ


say = partial(print, flush=True)
WORK = {
    "train": kill_training,
    "extract": kill_extraction,
    "score": kill_scoring,
    "novelty": kill_novelty,
}


def run(argv: Sequence[str]) -> None:
    """Kills what was asked for; exits with 1 where a bit differs."""
    parser = Parser("gfvad bench kills", __doc__)
    parser.add_argument("--cases", type=int, default=20, help="kills of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and bytes")
    parser.add_argument(
        "--work", default=",".join(WORK), help=f"some of {','.join(WORK)}, joined by commas"
    )
    parser.add_argument("--storage", choices=("gs", "s3"), help="in a bucket of an emulator")
    parser.add_argument("--processes", type=int, default=2, help="with --storage: that train")
    arguments = parser.parse_args(argv)
    if arguments.storage:
        from gfvad.bench import _storage_kills

        given = arguments.storage, arguments.processes, arguments.cases, arguments.seed
        if _storage_kills.run(*given, SMALL):
            sys.exit(1)
        return
    chosen = [name for name in arguments.work.split(",") if name]
    if not chosen or set(chosen) - set(WORK) or arguments.cases < 1:
        parser.error(
            f"--work={arguments.work}: expected some of {', '.join(WORK)}, and --cases of at"
            " least 1"
        )
    with tempfile.TemporaryDirectory(prefix="gfvad-kills-") as name:
        folder = Path(name)
        os.environ |= {
            "GFVAD_CACHE": str(folder / "cache"),
            "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        from gfvad.extraction import job as extraction  # noqa: F401
        from gfvad.tasks.fusion import run  # noqa: F401  read once for all forks

        differ = sum(
            WORK[one](folder, arguments.cases, random.Random(f"{arguments.seed} {one}"))
            for one in chosen
        )
    print("all in the same bits" if not differ else f"{differ} outputs DIFFER")
    if differ:
        sys.exit(1)
