"""A pretended `gcloud`: queued resources and TPU VMs whose hosts are folders and processes here.

GFVAD_FAKE is its folder: `slice` holds the state, `calls.txt` every call, `host0` ... are homes.
GFVAD_FAKE_HOSTS: how many hosts a slice has. GFVAD_FAKE_MOMENT: a glob; when a file matches, the
running slice is preempted: its processes are killed, its connections never answer again. A slice
goes from WAITING_FOR_RESOURCES by PROVISIONING to ACTIVE, a look at a time.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from workers import Moment, Workers

NEXT = {"WAITING_FOR_RESOURCES": "PROVISIONING", "PROVISIONING": "ACTIVE"}
NO_ANSWER = 255  # of ssh


def main(argv: Sequence[str]) -> int:
    """One call of gcloud; returns its exit code."""
    folder = Path(os.environ["GFVAD_FAKE"])
    with open(folder / "calls.txt", "a") as calls:
        print(*(word.splitlines()[0] for word in argv), file=calls)
    words = [word for word in argv if not word.startswith("--")]
    options = dict(word[2:].partition("=")[::2] for word in argv if word.startswith("--"))
    if words[:2] != ["compute", "tpus"] or len(words) != 5 or "zone" not in options:
        return refuse(f"unknown command: {' '.join(argv)[:200]}")
    return {
        ("queued-resources", "create"): create,
        ("queued-resources", "describe"): describe,
        ("queued-resources", "delete"): delete,
        ("tpu-vm", "describe"): describe_machine,
        ("tpu-vm", "ssh"): ssh,
    }[words[2], words[3]](folder / "slice", options)


def refuse(why: str) -> int:
    print(f"ERROR: (gcloud) {why}", file=sys.stderr)
    return 1


def create(state: Path, options: dict[str, str]) -> int:
    """Puts a request into the queue; refuses a name that is taken."""
    missing = {"node-id", "accelerator-type", "runtime-version"} - set(options)
    if missing or state.exists():
        return refuse(f"argument missing: {sorted(missing)}" if missing else "ALREADY_EXISTS")
    state.write_text("WAITING_FOR_RESOURCES")
    return 0


def describe(state: Path, options: dict[str, str]) -> int:
    """Prints the state of the request, which is one further at the next look."""
    if not state.exists():
        return refuse("NOT_FOUND")
    now = state.read_text()
    print(now)
    state.write_text(NEXT.get(now, now))
    return 0


def delete(state: Path, options: dict[str, str]) -> int:
    """Deletes the request; one with machines needs --force."""
    if not state.exists():
        return refuse("NOT_FOUND")
    if "force" not in options and state.read_text() == "ACTIVE":
        return refuse("FAILED_PRECONDITION: in use; give --force")
    state.unlink()
    return 0


def describe_machine(state: Path, options: dict[str, str]) -> int:
    """Prints READY or PREEMPTED."""
    now = state.read_text() if state.exists() else ""
    if now not in ("ACTIVE", "SUSPENDED"):
        return refuse("NOT_FOUND")
    print("READY" if now == "ACTIVE" else "PREEMPTED")
    return 0


def ssh(state: Path, options: dict[str, str]) -> int:
    """Runs a command on every host; where the slice is preempted meanwhile it does not return."""
    if not state.exists() or state.read_text() != "ACTIVE":
        return refuse("no machine to connect to")
    moment = Moment(os.environ.get("GFVAD_FAKE_MOMENT", ""), state.parent / "preempted")
    hosts, workers = int(os.environ.get("GFVAD_FAKE_HOSTS", "2")), Workers()
    with socket.create_server(("localhost", 0)) as free:
        address = f"localhost:{free.getsockname()[1]}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        for i in range(hosts):
            home = state.parent / f"host{i}"
            home.mkdir(exist_ok=True)
            # what a TPU's metadata would say
            peers = {"GFVAD_COORDINATOR": address, "GFVAD_PROCESSES": str(hosts)}
            own = {**os.environ, **peers, "GFVAD_PROCESS": str(i), "HOME": str(home)}
            workers.start(["bash", "-c", options["command"]], own, home)
        preempted = False

        def each() -> bool:
            nonlocal preempted
            preempted = preempted or moment.come()
            return preempted

        codes = workers.watch(each)
        if preempted:
            workers.end()
            state.write_text("SUSPENDED")
            while True:
                time.sleep(60)
        return NO_ANSWER if any(codes) else 0
    finally:
        workers.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
