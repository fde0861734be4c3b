"""SIGKILL of one of several processes whose data and run are in a bucket of an emulator, at random
moments from their start to their end; started again until done, each time as on other machines
with probability 1/2 (no local copies)."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from gfvad.base import mirrors, storage

BUCKET = "rehearsal"
FEWER = ("--config.train.steps=40", "--config.train.eval_every=20")
# the server of an emulator, by scheme: arguments are its port and the bucket
SERVERS = {
    "gs": """
import sys
from gcp_storage_emulator.server import create_server
create_server("localhost", int(sys.argv[1]), in_memory=True, default_bucket=sys.argv[2]).run()
""",
    "s3": """
import sys, time
from moto.server import ThreadedMotoServer
ThreadedMotoServer("localhost", int(sys.argv[1]), verbose=False).start()
import boto3
boto3.client("s3").create_bucket(Bucket=sys.argv[2])
while True: time.sleep(60)
""",
}
say = partial(print, flush=True)


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


def environment_of(scheme: str, port: int) -> dict[str, str]:
    """What leads the libraries to an emulator."""
    address = f"http://localhost:{port}"
    if scheme == "gs":
        return {storage.EMULATED: address}
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    return {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1", **keys}


@contextlib.contextmanager
def emulator(scheme: str, patience: float = 30) -> Iterator[dict[str, str]]:
    """An emulator with an empty bucket, while the block runs; yields the environment that leads
    to it. Raises RuntimeError where it does not start."""
    port = free_port()
    environment = environment_of(scheme, port)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVERS[scheme], str(port), BUCKET],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    before = {key: os.environ.get(key) for key in environment}
    try:
        os.environ.update(environment)
        until = time.monotonic() + patience
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(
                    f"the emulator of {scheme}:// does not start: pip install -r"
                    " launch/requirements-emulators.txt"
                )
            time.sleep(0.05)
        if scheme == "s3":  # its bucket is made after it answers
            store = storage.Store(f"s3://{BUCKET}/x")
            while not _has_bucket(store) and time.monotonic() < until:
                time.sleep(0.05)
        yield environment
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1):
        return True
    return False


def _has_bucket(store: storage.Store) -> bool:
    with contextlib.suppress(ValueError):
        store.require_bucket()
        return True
    return False


class Pod:
    """Processes of one training, joined; what they say goes into a file each."""

    def __init__(self, folder: Path, words: Sequence[str], processes: int):
        folder.mkdir(parents=True, exist_ok=True)
        shared = {
            "GFVAD_COORDINATOR": f"localhost:{free_port()}",
            "GFVAD_PROCESSES": str(processes),
            "JAX_PLATFORMS": "cpu",
        }
        self.said = [folder / f"said-{i}" for i in range(processes)]
        self.children = []
        for i, path in enumerate(self.said):
            with open(path, "wb") as out:
                self.children.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "gfvad.main", "train", *words],
                        env={**os.environ, **shared, "GFVAD_PROCESS": str(i)},
                        stdout=subprocess.DEVNULL,
                        stderr=out,
                    )
                )

    def running(self) -> bool:
        """Whether all run still. Raises RuntimeError where one ended badly; all are ended then."""
        codes = [child.poll() for child in self.children]
        if bad := [i for i, code in enumerate(codes) if code]:
            self.end()
            text = self.said[bad[0]].read_text(errors="replace")[-3000:]
            raise RuntimeError(f"process {bad[0]} ended with code {codes[bad[0]]}: {text}")
        return None in codes

    def training(self) -> bool:
        """Whether the first process has begun to train."""
        return b"train:" in self.said[0].read_bytes()

    def kill(self, which: int) -> None:
        """SIGKILL of one, then of the others, as a launcher does."""
        self.children[which].send_signal(signal.SIGKILL)
        time.sleep(0.02)
        self.end()

    def end(self) -> None:
        """Ends all."""
        for child in self.children:
            child.kill()
        for child in self.children:
            child.wait()


def killed_at(pod: Pod, after: float, rng: random.Random) -> int | None:
    """Kills a random process so many seconds after training began; None where all was done
    before."""
    since = None
    while pod.running():
        if since is None and pod.training():
            since = time.monotonic()
        if since is not None and time.monotonic() - since >= after:
            which = rng.randrange(len(pod.children))
            pod.kill(which)
            return which
        time.sleep(0.005)
    return None


def outcome(url: str) -> dict[str, str]:
    """Digests of what a run in a bucket ended with, by its manifest: arrays of the last
    checkpoint, log, scores."""
    shutil.rmtree(storage.cache_root() / "runs", ignore_errors=True)
    mirror = mirrors.Mirror(url)
    mirror.fetch()
    steps = [int(p.name) for p in (mirror.folder / "checkpoints").iterdir() if p.name.isdigit()]
    meta = mirror.folder / "checkpoints" / str(max(steps)) / "meta" / "metadata"
    arrays: Mapping[str, str] = json.loads(meta.read_text())["arrays"]
    files = {n: mirrors.file_hash(mirror.folder / n) for n in ("metrics.jsonl", "scores.npz")}
    return {**arrays, **files}


def run(scheme: str, processes: int, cases: int, seed: int, words: Sequence[str]) -> int:
    """Kills a training so many times; returns how many of its arrays and files differ from those
    of an undisturbed one."""
    rng = random.Random(f"{seed} {scheme}")
    with tempfile.TemporaryDirectory(prefix="gfvad-kills-") as name, emulator(scheme):
        folder = Path(name)
        os.environ |= {
            "GFVAD_CACHE": str(folder / "cache"),
            "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        words = [*words, *FEWER, f"--config.data.records={prepared(scheme, folder, words)}"]
        start = lambda run: Pod(folder, [*words, f"--workdir={scheme}://{BUCKET}/{run}"], processes)
        seconds = 0.0
        for run_name in ("first", "whole"):  # the first one also makes the compiled programs
            pod, began = start(run_name), None
            while pod.running():
                began = began or (time.monotonic() if pod.training() else None)
                time.sleep(0.005)
            seconds = time.monotonic() - (began or time.monotonic())
        expected = outcome(f"{scheme}://{BUCKET}/whole")
        say(
            f"{scheme}: undisturbed, {processes} processes: {seconds:.1f} s of training and results"
        )
        kills = differ = rounds = 0
        while kills < cases:
            rounds += 1
            while kills < cases:
                if rng.random() < 0.5:
                    shutil.rmtree(folder / "cache", ignore_errors=True)
                which = killed_at(start(f"killed{rounds}"), rng.random() * seconds, rng)
                if which is None:
                    break
                kills += 1
                say(f"{scheme}: kill {kills}, of process {which}")
            pod = start(f"killed{rounds}")
            while pod.running():
                time.sleep(0.05)
            found = outcome(f"{scheme}://{BUCKET}/killed{rounds}")
            wrong = sorted(
                key for key in {*found, *expected} if found.get(key) != expected.get(key)
            )
            differ += len(wrong)
            ended = f"DIFFERENT: {', '.join(wrong[:5])}" if wrong else "in the same bits"
            say(f"{scheme}: run {rounds} ended {ended}")
    say(
        f"{scheme}: {kills} kills, {rounds} runs, {len(expected)} arrays and files, {differ} differ"
    )
    return differ


def prepared(scheme: str, folder: Path, words: Sequence[str]) -> str:
    """The simulated set of a command line, prepared into the bucket; its place."""
    from gfvad.data.features import dataset
    from gfvad.tasks import parse

    arguments = parse([*words, f"--workdir={folder / 'none'}"])
    source = dataset.resolve(arguments.config, lambda text: None)
    copy, url = folder / "records", f"{scheme}://{BUCKET}/records"
    shutil.copytree(source.records, copy)
    mirrors.upload(copy, url)
    return url
