"""Runs `python -m gfvad...` in forks of one process that has imported the libraries: seven seconds
less for each command.

The commands that tests start are theirs alone to the last argument; what a fork shares with the
others is modules that were read.
"""

import functools
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback

SECONDS = 600
READ_BEFORE = (
    "gfvad.tasks.fusion.run",
    "gfvad.tasks.prediction.run",
    "gfvad.ablation.run",
    "gfvad.scoring.job",
    "gfvad.extraction.job",
    "gfvad.reporting.page",
)


def serve() -> None:
    """One command a line, as JSON; each is answered by its exit code. Nothing here may start
    jax's backends: they do not survive a fork."""
    for name in READ_BEFORE:
        try:
            importlib.import_module(name)
        except ImportError:  # an optional library: the command that needs it says so itself
            pass
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(words: list[str], environment: dict[str, str], out: str) -> None:
    """In the fork: the module as its own interpreter would run it."""
    signal.alarm(SECONDS)
    for descriptor, name in ((0, os.devnull), (1, f"{out}/stdout"), (2, f"{out}/stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words
    code = 1
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as e:
        code = (
            e.code
            if isinstance(e.code, int)
            else 0
            if e.code is None
            else (print(e.code, file=sys.stderr), 1)[1]
        )
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@functools.cache
def _server(cwd: str, fixed: tuple[tuple[str, str], ...]) -> subprocess.Popen:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, __file__], cwd=cwd, env=dict(fixed) | {"PYTHONPATH": cwd}, **pipes
    )


def run(words: list[str], environment: dict[str, str], cwd: str) -> subprocess.CompletedProcess:
    """words: the module, then its arguments."""
    changing = ("GFVAD_CACHE", "PYTEST_CURRENT_TEST")
    server = _server(
        cwd, tuple(sorted((k, v) for k, v in environment.items() if k not in changing))
    )
    with tempfile.TemporaryDirectory() as out:
        server.stdin.write(
            json.dumps({"words": words, "environment": environment, "out": out}) + "\n"
        )
        server.stdin.flush()
        code = int(server.stdout.readline())
        said = [open(f"{out}/{name}", errors="replace").read() for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(words, code, *said)


if __name__ == "__main__":
    serve()
