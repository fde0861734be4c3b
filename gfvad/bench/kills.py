"""`gfvad bench kills --cases=20 --seed=0`: SIGKILL at random moments of training,
extraction and scoring; all must end in the bits of an undisturbed run.

After each kill of training one random byte of the newest checkpoint is turned over. Commands are
forks of one process that has read the libraries and started no backend. Exit code 1 where a single
byte of an output differs.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from gfvad.base.options import Parser
from gfvad.bench.fuzz import media

WORK = ("train", "extract", "score")
SMALL = [
    "--config=configs/xd.py",
    "--config.data.simulated.train_videos=12",
    "--config.data.simulated.test_videos=4",
    "--config.data.simulated.crops=1",
    "--config.data.simulated.units=8",
    "--config.data.eval_batch_size=4",
    "--config.model.embed_dim=4",
    "--config.model.head.hidden=4",
    "--config.train.steps=60",
    "--config.train.batch_size=4",
    "--config.train.log_every=3",
    "--config.train.eval_every=10",
    "--config.parallel.devices=1",
    "--config.train.checkpoint_every=5",
    "--config.eval.bootstrap=0",
    "--config.eval.figures=False",
]
VIDEOS, FRAMES = 6, 64  # made for extraction


def command_of(name: str) -> Callable[[Sequence[str]], int]:
    """main(argv) of a command, as a user starts it."""
    return importlib.import_module(f"gfvad.{name}").main


class Child:
    """One command in a fork of this process; its standard error goes to a file."""

    def __init__(self, main: Callable[[Sequence[str]], int], argv: Sequence[str], log: Path):
        self.log, self.began = log, time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(out, 1)
                os.dup2(out, 2)
                code = main(list(argv))
            except BaseException:  # a fork never returns into the bench
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)

    def done(self) -> int | None:
        """Its exit code; None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def finish(self) -> float:
        """Waits; returns its seconds. Raises RuntimeError where it ended with another exit code
        than 0."""
        while (code := self.done()) is None:
            time.sleep(0.01)
        if code:
            raise RuntimeError(f"exit code {code}: {self.log.read_text()[-2000:]}")
        return time.monotonic() - self.began

    def kill_after(self, seconds: float, ready: Callable[[], bool] = lambda: True) -> bool:
        """SIGKILL so many seconds after `ready()`; False where it was done before. Raises as
        `finish`."""
        said, since = False, time.monotonic()
        while (code := self.done()) is None:
            if not said and ready():
                said, since = True, time.monotonic()
            if said and time.monotonic() - since >= seconds:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                return True
            time.sleep(0.002)
        if code:
            raise RuntimeError(f"exit code {code}: {self.log.read_text()[-2000:]}")
        return False


def flip_newest(workdir: Path, rng: random.Random) -> str:
    """Turns one bit of a random file of the newest checkpoint over; says where. '' where there
    is none."""
    folders = sorted(
        (p for p in (workdir / "checkpoints").glob("*") if p.name.isdigit()),
        key=lambda p: int(p.name),
    )
    files = (
        sorted(p for p in folders[-1].rglob("*") if p.is_file() and p.stat().st_size)
        if folders
        else []
    )
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


def has_come_to(log: Path, workdir: Path, line: int) -> bool:
    """Whether a training has logged that many rows."""
    return "train: " in log.read_text(errors="replace") and rows(workdir) >= line


def rows(workdir: Path) -> int:
    """Rows of a run's log so far."""
    path = workdir / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def parameters(workdir: Path) -> dict[str, str]:
    """Digests of the arrays of the last checkpoint."""
    last = max(
        (p for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()),
        key=lambda p: int(p.name),
    )
    return json.loads((last / "meta" / "metadata").read_text())["arrays"]


def train(folder: Path, cases: int, rng: random.Random, say: Callable[[str], None]) -> int:
    """Kills training; returns the number of wrong bits found (files that differ)."""
    main = command_of("main")

    whole, log = folder / "whole", folder / "train.log"
    command = [*SMALL, f"--workdir={whole}"]
    # the first one also makes the data and the compiled programs
    Child(main, command, log).finish()
    shutil.rmtree(whole)
    child = Child(main, command, log)
    began = None
    while child.done() is None:
        if began is None and "train:" in log.read_text(errors="replace"):
            began = time.monotonic()
        time.sleep(0.005)
    seconds, total = time.monotonic() - (began or child.began), rows(whole)
    say(f"train: undisturbed {seconds:.1f} s from the first step to the end")
    kills = damaged = differ = rounds = 0
    while kills < cases:
        workdir, rounds = folder / f"killed{rounds}", rounds + 1
        again = True
        while again:
            child = Child(main, [*SMALL, f"--workdir={workdir}"], log)
            # every fourth one anywhere from the first step to the end of the evaluation, the others
            # while steps are taken
            if rng.random() < 0.25:
                moment = (
                    rng.random() * seconds * 0.8,
                    lambda: "train:" in log.read_text(errors="replace"),
                )
            else:
                line = rng.randint(min(rows(workdir), total), total)
                moment = (
                    rng.random() * 0.1,
                    partial(has_come_to, log, workdir, line),
                )
            again = kills < cases and child.kill_after(*moment)
            if again:
                kills += 1
                where = flip_newest(workdir, rng)
                damaged += bool(where)
                say(f"train: kill {kills}" + (f", {where}" if where else ", no checkpoint yet"))
            elif kills >= cases and not child_done(child):
                child.finish()
        wrong = same(workdir, whole, ("metrics.jsonl", "scores.npz"))
        wrong += [] if parameters(workdir) == parameters(whole) else ["checkpoints"]
        differ += len(wrong)
        say(
            f"train: run {rounds} ended"
            f" {'in the same bits' if not wrong else 'DIFFERENT: ' + ', '.join(wrong)}"
        )
    say(
        f"train: {kills} kills, {damaged} with a flipped byte in the newest checkpoint, {rounds}"
        f" runs, {differ} files differ"
    )
    return differ


def child_done(child: Child) -> bool:
    """Whether a child was waited for already."""
    try:
        os.kill(child.pid, 0)
        return False
    except ProcessLookupError:
        return True


def extract(folder: Path, cases: int, rng: random.Random, say: Callable[[str], None]) -> int:
    """Kills extraction; returns the number of files that differ."""
    main = command_of("extract")

    videos, log, whole = folder / "videos", folder / "extract.log", folder / "features"
    for i in range(VIDEOS):
        media.write(videos / f"video{i}.mp4", FRAMES, i, sound=False)
    command = lambda out: [
        str(videos),
        f"--out={out}",
        "--modalities=motion,appearance",
        "--workers=0",
    ]
    seconds = Child(main, command(whole), log).finish()
    names = [
        str(p.relative_to(whole))
        for p in sorted(whole.rglob("*"))
        if p.is_file() and p.suffix in (".npy", ".csv", ".txt")
    ]
    kills = differ = rounds = 0
    while kills < cases:
        out, rounds = folder / f"features{rounds}", rounds + 1
        while kills < cases and Child(main, command(out), log).kill_after(rng.random() * seconds):
            kills += 1
        Child(main, command(out), log).finish()
        differ += len(same(out, whole, names))
    say(f"extract: {kills} kills, {rounds} folders of {len(names)} files, {differ} files differ")
    return differ


def score(folder: Path, cases: int, rng: random.Random, say: Callable[[str], None]) -> int:
    """Kills scoring; returns the number of outputs that differ, or that a kill left in part."""
    main = command_of("main")

    log, run = folder / "score.log", folder / "whole"
    if not run.exists():
        Child(main, [*SMALL, f"--workdir={run}"], log).finish()
    root = next((Path(os.environ["GFVAD_CACHE"]) / "simulated").iterdir())
    command = lambda out: [
        "--mode=score",
        f"--workdir={run}",
        f"--input={root}",
        f"--output={out}",
    ]
    expected, out = folder / "expected.npz", folder / "scores.npz"
    Child(main, command(expected), log).finish()
    seconds = Child(main, command(expected), log).finish()
    kills = differ = 0
    while kills < cases:
        killed = Child(main, command(out), log).kill_after(rng.random() * seconds)
        kills += killed
        if out.exists():
            differ += out.read_bytes() != expected.read_bytes()
            out.unlink()
    Child(main, command(out), log).finish()
    differ += out.read_bytes() != expected.read_bytes()
    say(f"score: {kills} kills, {differ} outputs differ")
    return differ


def run(argv: Sequence[str]) -> None:
    """Kills what was asked for; exits with 1 where a bit differs."""
    parser = Parser("gfvad bench kills", __doc__)
    parser.add_argument("--cases", type=int, default=20, help="kills of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and bytes")
    parser.add_argument(
        "--work", default=",".join(WORK), help=f"some of {','.join(WORK)}, joined by commas"
    )
    arguments = parser.parse_args(argv)
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

        work = {"train": train, "extract": extract, "score": score}
        say = lambda text: print(text, flush=True)
        differ = sum(
            work[one](folder, arguments.cases, random.Random(f"{arguments.seed} {one}"), say)
            for one in chosen
        )
    print("all in the same bits" if not differ else f"{differ} outputs DIFFER")
    if differ:
        sys.exit(1)
