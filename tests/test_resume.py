"""Must hold 6: killed with SIGKILL at any moment and started again, a run ends with the same bits as an uninterrupted one.

Run as a program, this file is the run: it trains the small problem into a folder and scores some videos with the last and the
best checkpoint, as the main job does; with the project's detector or, where many starts are needed, with the linear one. Its
children start as forks of one process that has imported everything (and started no jax backend) and share jax's cache of compiled
programs, which saves seconds a start.
"""
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

STEPS = 14
# Where a run kills itself; the last of each list runs to its end.
SCENARIOS = {
    "drawing a batch": ["draw 2", "draw 14"],
    "saving": ["save 4", "save 8", "late 12"],
    "evaluating and logging": ["evaluate 4", "log 6", "evaluate 14"],
}


@contextlib.contextmanager
def killed(where):
    """Makes the process kill itself: when batch N is drawn, evaluation N starts, row N is half written, or save N is under way.

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

    def evaluate(run, state, step, log, original=loop.evaluate_all):
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
        loop.evaluate_all = evaluate
    elif kind in ("save", "late"):
        checkpoint.Checkpoints.save = save
    elif kind == "log":
        logs.RunLog._add = add
    yield


def job(workdir, where):
    """One start of the run."""
    import jax
    import tiny

    from gfvad import parallel
    from gfvad.eval import evaluate
    from gfvad.train import loop
    from gfvad.train.checkpoint import Checkpoints

    parallel.initialise_distributed()
    config, records = tiny.config(train__steps=STEPS, data__eval_lengths=(tiny.UNITS,)), tiny.TinyRecords()
    model = tiny.detector(config) if os.environ["MODEL"] == "detector" else tiny.TinyDetector()
    mapper = parallel.make_mapper("pmap", 2 // int(os.environ.get("GFVAD_PROCESSES", "1")))
    with killed(where) if where else contextlib.nullcontext():
        result = loop.train(config, workdir, records, model, mapper)
        results, evaluator = {}, evaluate.Evaluator(mapper, model, config)
        with Checkpoints(workdir / "checkpoints", config, repr(records)) as checkpoints:
            for which in ("last", "best"):
                state = checkpoints.restore(which, result.state).state
                results |= {f"{which}/{path}": np.asarray(leaf) for path, leaf in enumerate(jax.tree.leaves(state))}
                units = evaluator.unit_scores(state, records, range(4))
                results |= {f"{which}/scores/{video.name}": video.scores for video in evaluate.scored_videos(units, records, range(4))}
    if mapper.process_index == 0:
        np.savez(workdir / "results.npz", **results)


def main(plan):
    """plan: [[workdir, where or None], ...], one fork after another; prints how each ended."""
    if "GFVAD_PROCESS" in os.environ:
        return job(Path(plan[0][0]), plan[0][1])
    import tiny  # noqa: F401

    from gfvad.train import loop  # noqa: F401  imported once for all forks

    for workdir, where in plan:
        child = os.fork()
        if not child:
            code = 1
            try:
                job(Path(workdir), where)
                code = 0
            finally:
                sys.stdout.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(f"ENDED {where} {os.waitstatus_to_exitcode(status)}", flush=True)


def environment(repository, devices, model="linear", **more):
    flags, path = f"--xla_force_host_platform_device_count={devices}", f"{repository}:{repository / 'tests'}"
    return {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu", "MODEL": model, **more}


def run(repository, plan, model="linear"):
    """How each start of a plan ended."""
    command = [sys.executable, __file__, json.dumps(plan)]
    done = subprocess.run(command, env=environment(repository, 2, model), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return [int(line.split()[-1]) for line in done.stdout.splitlines() if line.startswith("ENDED")]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, repository):
    workdir = tmp_path_factory.mktemp("whole") / "run"
    assert run(repository, [[str(workdir), None]]) == [0]
    return workdir


def same_bits(found, expected):
    """Parameters, optimiser, keys, scores and metrics.jsonl."""
    with np.load(found / "results.npz") as mine, np.load(expected / "results.npz") as theirs:
        assert sorted(mine.files) == sorted(theirs.files)
        assert [name for name in mine.files if mine[name].tobytes() != theirs[name].tobytes()] == []
    assert (found / "metrics.jsonl").read_bytes() == (expected / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_and_started_again(tmp_path, repository, uninterrupted, name):
    """Several kills in one run, each followed by another start."""
    workdir = tmp_path / "run"
    wheres = [*SCENARIOS[name], None]
    assert run(repository, [[str(workdir), where] for where in wheres]) == [-signal.SIGKILL] * (len(wheres) - 1) + [0]
    same_bits(workdir, uninterrupted)


def test_the_detector_killed_at_a_random_step(tmp_path, repository):
    """The project's own detector, and a step nobody chose, another one each time; it is printed, so that a failure can be repeated."""
    step = random.SystemRandom().randint(1, STEPS)
    print(f"killed when batch {step} is drawn")
    whole, parts = str(tmp_path / "whole"), str(tmp_path / "parts")
    assert run(repository, [[whole, None], [parts, f"draw {step}"], [parts, None]], "detector") == [0, -signal.SIGKILL, 0]
    same_bits(tmp_path / "parts", tmp_path / "whole")


def test_two_processes_stop_together_then_one_goes_on(tmp_path, repository, uninterrupted):
    """One of two processes gets SIGTERM: both save the same step and leave with 143, and a single process goes on from there.

    The topology changes on the way, so sums are taken in another order: parameters agree to 1e-5 (see test_parallel.py), not in bits.
    """
    workdir = tmp_path / "run"
    command = ["bash", str(repository / "launch" / "cpu_pod.sh"), "2", json.dumps([[str(workdir), "term 5"]])]
    pod = environment(repository, 1, GFVAD_COMMAND=f"{sys.executable} {__file__}")
    done = subprocess.run(command, env=pod, capture_output=True, text=True, timeout=300)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr[-3000:]
    assert "train: left at step 6, all saved" in done.stderr  # processes compare notes at log rows, every 3 steps
    assert not (workdir / "results.npz").exists()
    assert sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())[-1] == 6
    assert run(repository, [[str(workdir), None]]) == [0]
    with np.load(workdir / "results.npz") as mine, np.load(uninterrupted / "results.npz") as theirs:
        assert sorted(mine.files) == sorted(theirs.files)
        for name in (n for n in mine.files if n.startswith("last/")):
            np.testing.assert_allclose(mine[name], theirs[name], rtol=0, atol=1e-5, err_msg=name)
    rows, expected = ([json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] for folder in (workdir, uninterrupted))
    assert [(row["step"], row["kind"]) for row in rows] == [(row["step"], row["kind"]) for row in expected]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
