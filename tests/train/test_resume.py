"""Must hold 6: killed with SIGKILL at any moment and started again, a run ends with the same bits
as an uninterrupted one.

Run as a program, this file starts runs: each trains the small problem into a folder and scores some
videos with the last and the best checkpoint, as the main job does; with the project's detector or,
where many starts are needed, with the linear one. They are forks of one process that has imported
everything and started no jax backend, which saves seconds a start.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import numpy as np
import pytest
from compiling import xla_flags

STEPS = 14
# Where a run kills itself, one start after another: before there is a checkpoint, in an evaluation,
# as a write begins, within a row, some time into a write, in the last evaluation.
KILLS = ("draw 2", "evaluate 4", "save 4", "log 6", "late 12", "evaluate 14")


@contextlib.contextmanager
def killed(where):
    """Makes the process kill itself: when batch N is drawn, evaluation N starts, row N is half
    written, or save N is under way.

    term N: instead, process 1 of a pod alone gets SIGTERM when batch N is drawn.
    """
    from gfvad.data import pipeline
    from gfvad.train import checkpoint, logs, loop

    kind, number = where.split()
    number, calls = int(number), [0]
    now = lambda: os.kill(os.getpid(), signal.SIGKILL)

    def draw(self, original=pipeline.TrainIterator.__next__):
        if self.get_state()["next_batch"] + 1 == number:
            if kind == "draw":
                now()
            elif os.environ["GFVAD_PROCESS"] == "1":
                signal.raise_signal(signal.SIGTERM)
        return original(self)

    def evaluate(run, state, step, log, original=loop.evaluate):
        return now() if step == number else original(run, state, step, log)

    def save(self, step, *args, original=checkpoint.Checkpoints.save):
        original(self, step, *args)
        if step == number:  # the write is under way: at once, or some time into it
            calls[0] = threading.Timer(0.03 if kind == "late" else 0.0, now)
            calls[0].start()

    def add(self, name, row, original=logs.RunLog._add):
        if name == "metrics" and row["step"] == number:
            self._files[name].write(json.dumps(row)[:20])
            self._files[name].flush()
            now()
        original(self, name, row)

    if kind in ("draw", "term"):
        pipeline.TrainIterator.__next__ = draw
    elif kind == "evaluate":
        loop.evaluate = evaluate
    elif kind in ("save", "late"):
        checkpoint.Checkpoints.save = save
    elif kind == "log":
        logs.RunLog._add = add
    yield


def job(workdir, where, kind):
    """One start of the run."""
    import jax
    import tiny

    from gfvad.tasks.fusion import evaluate
    from gfvad.tasks.fusion.training import Training
    from gfvad.train import loop, parallel
    from gfvad.train.checkpoint import Checkpoints
    from gfvad.train.loop import SingleRun

    parallel.initialise_distributed()
    config, records = (
        tiny.config(train__steps=STEPS, data__eval_lengths=(tiny.UNITS,)),
        tiny.TinyRecords(),
    )
    model = tiny.detector(config) if kind == "detector" else tiny.TinyDetector()
    mapper = parallel.make_mapper("pmap", 2 // int(os.environ.get("GFVAD_PROCESSES", "1")))
    task = Training(config, records, model, mapper)
    with killed(where) if where else contextlib.nullcontext():
        result = loop.train(SingleRun(task), workdir)
        results = {}
        with Checkpoints(workdir / "checkpoints", config, repr(records)) as checkpoints:
            for which in ("last", "best"):
                state = checkpoints.restore(which, result.state).state
                results |= {
                    f"{which}/{path}": np.asarray(leaf)
                    for path, leaf in enumerate(jax.tree.leaves(state))
                }
                units = task.evaluator.unit_scores(state, records, range(4))
                results |= {
                    f"{which}/scores/{video.name}": video.scores
                    for video in evaluate.scored_videos(units, records, range(4))
                }
    if mapper.process_index == 0:
        np.savez(workdir / "results.npz", **results)


def main():
    """Reads starts [workdir, where or None, model, environments of its processes] line by line;
    prints how each process of a start ended."""
    import tiny  # noqa: F401

    from gfvad.train import loop  # noqa: F401  imported once for all forks

    for line in sys.stdin:
        workdir, where, kind, processes = json.loads(line)
        children = [os.fork() or process(Path(workdir), where, kind, own) for own in processes]
        print(
            json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]),
            flush=True,
        )


def process(workdir, where, kind, own):
    """A child: never returns."""
    os.environ.update(own)
    os.dup2(2, 1)  # what Gloo says is no answer
    try:
        job(workdir, where, kind)
        os._exit(0)
    except SystemExit as left:
        os._exit(left.code)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


@pytest.fixture(scope="module")
def start(tmp_path_factory, repository):
    """start(workdir, where, model, environments) runs the job and gives the exit codes of its
    processes; start.log is what they said."""
    path, log = (
        f"{repository}:{repository / 'tests' / 'support'}",
        tmp_path_factory.mktemp("log") / "stderr",
    )
    environment = {
        **os.environ,
        "XLA_FLAGS": xla_flags(2),
        "PYTHONPATH": path,
        "JAX_PLATFORMS": "cpu",
    }
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        open(log, "w") as errors,
        subprocess.Popen(
            [sys.executable, __file__], env=environment, stderr=errors, **pipe
        ) as parent,
    ):

        def one(workdir, where=None, kind="linear", processes=({},)):
            parent.stdin.write(json.dumps([str(workdir), where, kind, processes]) + "\n")
            parent.stdin.flush()
            said = parent.stdout.readline()
            assert said.startswith("["), log.read_text()[-3000:]
            return json.loads(said)

        one.log = log
        yield one
        parent.stdin.close()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, start):
    workdir = tmp_path_factory.mktemp("whole") / "run"
    assert start(workdir) == [0]
    return workdir


def same_bits(found, expected):
    """Parameters, optimiser, keys, scores and metrics.jsonl."""
    with np.load(found / "results.npz") as mine, np.load(expected / "results.npz") as theirs:
        assert sorted(mine.files) == sorted(theirs.files)
        assert [name for name in mine.files if mine[name].tobytes() != theirs[name].tobytes()] == []
    assert (found / "metrics.jsonl").read_bytes() == (expected / "metrics.jsonl").read_bytes()


def test_killed_and_started_again(tmp_path, start, uninterrupted):
    """Several kills in one run, each followed by a flipped byte in the newest checkpoint and
    another start."""
    from gfvad.bench.kills import flip_newest  # here: this file is the program that is killed, too

    for where in KILLS:
        assert start(tmp_path, where) == [-signal.SIGKILL], where
        print(where, flip_newest(tmp_path, random.Random(where)))
    assert start(tmp_path) == [0]
    same_bits(tmp_path, uninterrupted)


def test_the_detector_killed_at_a_random_step(tmp_path, start):
    """The project's own detector, and a step nobody chose, another one each time; it is printed,
    so that a failure can be repeated."""
    step = random.SystemRandom().randint(1, STEPS)
    print(f"killed when batch {step} is drawn")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert [
        start(whole, None, "detector"),
        start(parts, f"draw {step}", "detector"),
        start(parts, None, "detector"),
    ] == [[0], [-signal.SIGKILL], [0]]
    same_bits(parts, whole)


def test_two_processes_stop_together_then_one_goes_on(tmp_path, start, uninterrupted):
    """One of two processes gets SIGTERM: both save the same step and leave with 143, and a single
    process goes on from there.

    The topology changes on the way, so sums are taken in another order: parameters agree to 1e-5
    (see test_parallel.py), not in bits.
    """
    workdir = tmp_path / "run"
    with socket.create_server(("localhost", 0)) as free:
        address = f"localhost:{free.getsockname()[1]}"
    pod = [
        {"GFVAD_COORDINATOR": address, "GFVAD_PROCESSES": "2", "GFVAD_PROCESS": str(i)}
        for i in range(2)
    ]
    assert start(workdir, "term 5", processes=pod) == [128 + signal.SIGTERM] * 2
    # processes compare notes at log rows, every 3 steps
    assert "train: left at step 6, all saved" in start.log.read_text()
    assert not (workdir / "results.npz").exists()
    assert sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())[-1] == 6
    assert start(workdir) == [0]
    with np.load(workdir / "results.npz") as mine, np.load(uninterrupted / "results.npz") as theirs:
        assert sorted(mine.files) == sorted(theirs.files)
        for name in (n for n in mine.files if n.startswith("last/")):
            np.testing.assert_allclose(mine[name], theirs[name], rtol=0, atol=1e-5, err_msg=name)
    rows, expected = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (workdir, uninterrupted)
    )
    assert [(row["step"], row["kind"]) for row in rows] == [
        (row["step"], row["kind"]) for row in expected
    ]


if __name__ == "__main__":
    main()
