"""The training loop: what it leaves behind, what stops it, and that a stopped run goes on as if
it had not been."""

import functools
import json
import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from gfvad.base.types import ConfigError, DataError
from gfvad.data import pipeline
from gfvad.tasks.fusion.training import Training, judge
from gfvad.train import loop, optim, parallel
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.logs import RunLog, truncate
from gfvad.train.loop import SingleRun
from gfvad.train.meter import NonFiniteError
from gfvad.train.state import init_state
from gfvad.train.stop import Interrupted, StopRequest


@pytest.fixture(scope="module")
def mapper():
    return parallel.make_mapper("pmap", 1)


@functools.cache
def once(make):
    """Runs of one configuration share what they compile; in test_resume.py each start is a
    process of its own."""
    made = {}
    return lambda owner: made.setdefault(str(owner.config), make(owner))


def train(workdir, mapper, config=None, records=None, **options):
    said = []
    options = {"say": said.append, **options}
    config, records = config or tiny.config(), records or tiny.TinyRecords()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SingleRun, "mapped_step", once(SingleRun.mapped_step))
        patch.setattr(Training, "evaluator", property(once(Training.evaluator.func)))
        task = Training(config, records, tiny.TinyDetector(), mapper, **options)
        return loop.train(SingleRun(task), workdir), said


def bits(tree):
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, mapper):
    """(workdir, result, said) of a run from start to end."""
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, *train(workdir, mapper)


def test_what_a_run_leaves_behind(uninterrupted):
    """Rows in order, each step's once, window means of every metric; last two and best
    checkpoints; TensorBoard; progress."""
    workdir, result, said = uninterrupted
    rows = result.history
    assert [(row["step"], row["kind"]) for row in rows] == [
        (3, "train"),
        (4, "validation"),
        (6, "train"),
        (8, "validation"),
        (9, "train"),
        (12, "train"),
        (12, "validation"),
    ]
    assert rows == [
        json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()
    ]
    names = {
        "loss",
        "gradient_norm",
        "update_norm",
        "learning_rate",
        "score/normal",
        "score/abnormal",
        "usage/rgb",
    }
    assert (
        names
        | {f"loss/{term}" for term in ("bce", "variance", "smoothness", "sparsity", "balance")}
        < rows[0].keys()
    )
    assert len(rows[0]["usage/rgb"]) == tiny.EXPERTS and abs(sum(rows[0]["usage/rgb"]) - 1) < 1e-6
    assert {"loss", "auc", "ap", "selection"} < rows[1].keys()
    schedule = optim.make_schedule(tiny.config().optim, 12)
    assert abs(rows[0]["learning_rate"] - np.mean([schedule(i) for i in range(3)])) < 1e-9
    with Checkpoints(workdir / "checkpoints", tiny.config()) as checkpoints:
        best = max((row["selection"], row["step"]) for row in rows if row["kind"] == "validation")[
            1
        ]
        assert checkpoints.steps() == sorted({9, 12, best}) and checkpoints.step_of("best") == best
        assert bits(checkpoints.restore("last", result.state).state) == bits(result.state)
    assert result.step == int(result.state.step) == 12
    timing = [json.loads(line) for line in (workdir / "timing.jsonl").read_text().splitlines()]
    assert [row["step"] for row in timing] == [3, 6, 9, 12] and all(
        row["examples_per_second"] > 0 for row in timing
    )
    assert list((workdir / "tensorboard").iterdir())
    assert any("12/12 steps" in line and "0:00 left" in line for line in said)
    assert any(line.startswith("validation: step 4, loss ") for line in said)


def test_a_finished_run_is_left_alone(uninterrupted, mapper):
    workdir, result, _ = uninterrupted
    before = (workdir / "metrics.jsonl").read_bytes()
    again, said = train(workdir, mapper)
    assert bits(again.state) == bits(result.state) and again.history == result.history
    assert (workdir / "metrics.jsonl").read_bytes() == before
    assert "train: going on from the checkpoint of step 12" in said


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves(tmp_path, mapper, uninterrupted, monkeypatch, signum):
    """Exit code 128 + signal, a message, a checkpoint between two log rows; going on gives the
    uninterrupted run's bits."""
    drawn = []

    def draw(self, original=pipeline.TrainIterator.__next__):
        drawn.append(1)
        if len(drawn) == 5:
            signal.raise_signal(signum)
        return original(self)

    monkeypatch.setattr(pipeline.TrainIterator, "__next__", draw)
    handlers = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    said = []
    with pytest.raises(Interrupted) as caught:
        train(tmp_path, mapper, say=said.append)
    assert caught.value.code == 128 + signum and caught.value.step == 5
    assert said[-1] == "train: left at step 5, all saved; the same command goes on from there"
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == handlers
    with Checkpoints(tmp_path / "checkpoints", tiny.config()) as checkpoints:
        assert checkpoints.steps()[-1] == 5
    result, said = train(tmp_path, mapper)
    whole, expected, _ = uninterrupted
    assert "train: going on from the checkpoint of step 5" in said
    assert bits(result.state) == bits(expected.state)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_a_second_ctrl_c_leaves_at_once():
    """Run on its own: the first is noted, the second ends the process as an unhandled Ctrl-C
    would."""
    program = (
        "import os, signal\nfrom gfvad.train.stop import StopRequest\nwith StopRequest() as stop:\n"
        " os.kill(os.getpid(), signal.SIGINT)\n print('noted', stop.signum, flush=True)\n"
        " os.kill(os.getpid(), signal.SIGINT)\n print('never')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=loop.__file__.split("gfvad/train")[0],
    )
    assert done.stdout == "noted 2\n" and done.returncode == -signal.SIGINT
    assert (
        "will save after this step" in done.stderr
        and "second Ctrl-C: leaving without saving" in done.stderr
    )


def test_a_signal_before_the_first_step(tmp_path, mapper):
    class Asked(StopRequest):
        signum = signal.SIGTERM

        def __init__(self):
            self._before = {}

    original, loop.StopRequest = loop.StopRequest, Asked
    try:
        with pytest.raises(Interrupted):
            train(tmp_path, mapper)
    finally:
        loop.StopRequest = original
    assert not list((tmp_path / "checkpoints").iterdir())


def break_batch(monkeypatch, number, damage):
    """Passes the batch of a step (1, 2, ...) through `damage`."""
    drawn = []

    def draw(self, original=pipeline.TrainIterator.__next__):
        batch = original(self)
        drawn.append(batch)
        return damage(batch) if len(drawn) == number else batch

    monkeypatch.setattr(pipeline.TrainIterator, "__next__", draw)
    return drawn


def test_a_loss_that_is_not_finite_stops(tmp_path, mapper, monkeypatch):
    """The message names the step, the term and the batch's videos, and whose features are to
    blame; what was saved before stays."""

    def damage(batch):
        x = np.array(batch.features["rgb"])
        x[2, 0, 0] = np.nan
        return batch._replace(features={**batch.features, "rgb": x})

    drawn = break_batch(monkeypatch, 5, damage)
    records = tiny.TinyRecords()
    with pytest.raises(NonFiniteError) as caught:
        train(tmp_path, mapper, records=records)
    message = str(caught.value)
    assert message.startswith("step 5: ") and "bce = nan" in message and caught.value.exit_code == 3
    names = [records.names[i] for i in drawn[4].video]
    assert all(name in message for name in names)
    assert f"not finite are the features of: {names[2]}." in message
    with Checkpoints(tmp_path / "checkpoints", tiny.config()) as checkpoints:
        assert checkpoints.steps() == [3, 4]
        restored = checkpoints.restore("last", init_state(*init_arguments(), 0))
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(restored.state.params))
    # every step is checked under its own name, also one whose numbers are read only because
    # something is about to be saved
    break_batch(monkeypatch, 3, damage)
    with pytest.raises(NonFiniteError, match=r"^step 3: "):
        train(tmp_path / "b", mapper, records=records)
    assert not list((tmp_path / "b" / "checkpoints").iterdir())


def init_arguments():
    return (
        tiny.TinyDetector(),
        optim.make_optimiser(tiny.config().optim, 12).transform,
        {m: x[0] for m, x in tiny.batch().features.items()},
    )


def test_finite_features_are_said_to_be_finite(tmp_path, mapper, monkeypatch):
    """Where the numbers blow up by themselves no video is blamed."""
    config = tiny.config(optim__learning_rate=1e30, optim__warmup_steps=0, optim__clip_norm=0.0)
    with pytest.raises(
        NonFiniteError, match=r"^step 1: update_norm = inf, .*; all its features are finite\."
    ):
        train(tmp_path, mapper, config)


def test_wrong_input_is_refused_before_any_step(tmp_path, mapper, uninterrupted):
    one_kind = tiny.TinyRecords()
    one_kind.labels = np.zeros_like(one_kind.labels)
    with pytest.raises(
        DataError, match="found 16 normal and 0 abnormal training videos, expected some of each"
    ):
        train(tmp_path, mapper, records=one_kind)
    log = (uninterrupted[0] / "metrics.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="seed found 0, expected 1"):
        config = tiny.config()
        config.seed = 1
        train(uninterrupted[0], mapper, config)
    assert (uninterrupted[0] / "metrics.jsonl").read_bytes() == log
    nan = tiny.TinyRecords(nan_in="video03")
    with pytest.raises(DataError, match="video03.*NaN"):
        train(tmp_path / "nan", mapper, records=nan)


def test_validation_of_one_kind_only_is_ranked_by_its_loss():
    """AUC is undefined there; minus the loss takes its place."""

    scores = {i: np.full(4, 0.25, np.float32) for i in (0, 2)}
    values = judge(scores, tiny.TinyRecords().labels, tiny.config())
    assert values["selection"] == -values["loss"] and "auc" not in values


def test_logs_are_cut_to_the_restored_step(tmp_path):
    """Later rows and a last line cut short are dropped; a broken line elsewhere is an error with
    file and line; NaN is left out."""
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.write(
                step, "train", {"loss": np.float32(0.1), "bad": np.nan, "usage": np.arange(2.0)}
            )
    path = tmp_path / "metrics.jsonl"
    assert json.loads(path.read_text().splitlines()[0]) == {
        "step": 1,
        "kind": "train",
        "loss": float(np.float32(0.1)),
        "usage": [0.0, 1.0],
    }
    path.write_text(path.read_text() + '{"step": 2, "ki')
    with RunLog(tmp_path, step=2) as log:
        assert [row["step"] for row in log.rows] == [1, 2]
    assert len(path.read_text().splitlines()) == 2
    for broken in (
        b'{"st',
        b'{"step": 1}',
        b'{"step": "1", "kind": "train"}',
        b"\xff",
        b"[]",
        b'{"step": 1, "kind": "train", "step": 2}',
    ):
        path.write_bytes(
            b'{"step": 1, "kind": "train"}\n' + broken + b'\n{"step": 2, "kind": "train"}\n'
        )
        with pytest.raises(DataError, match="metrics.jsonl, line 2.*mend or remove the line"):
            truncate(path, 5)
    with RunLog(tmp_path / "silent", active=False) as log:
        log.write(1, "train", {"loss": 1.0})
        log.flush()
    assert not (tmp_path / "silent").exists()


def test_schedules():
    """Warm-up from 1/warmup to the full rate, then the cosine to 0 or the constant; a short run
    shortens the warm-up."""
    cfg = tiny.config().optim
    cfg.update({"learning_rate": 2.0, "warmup_steps": 4})
    rates = np.array([float(optim.make_schedule(cfg, 24)(i)) for i in range(25)])
    np.testing.assert_allclose(rates[:4], [0.5, 1.0, 1.5, 2.0], rtol=1e-6)
    np.testing.assert_allclose(
        rates[4:], [1 + np.cos(np.pi * i / 20) for i in range(21)], atol=1e-6
    )
    cfg.schedule = "constant"
    np.testing.assert_allclose([float(optim.make_schedule(cfg, 24)(i)) for i in (4, 23)], 2.0)
    cfg.warmup_steps = 1000
    assert float(optim.make_schedule(cfg, 10)(5)) == 2.0
    cfg.schedule, cfg.name = "linear", "adagrad"
    with pytest.raises(ConfigError, match="config.optim.schedule = 'linear'"):
        optim.make_schedule(cfg, 10)
    cfg.schedule = "constant"
    with pytest.raises(ConfigError, match="config.optim.name = 'adagrad'"):
        optim.make_optimiser(cfg, 10)


def test_weight_decay_concerns_dense_matrices_only():
    """With zero gradients AdamW moves exactly what decays; Adam and SGD move nothing."""
    config = tiny.config(
        optim__schedule="constant",
        optim__warmup_steps=0,
        optim__weight_decay=0.5,
        optim__learning_rate=0.1,
    )
    model = tiny.detector(config)
    example = {m: x[0] for m, x in tiny.batch().features.items()}
    params = init_state(model, optax.identity(), example, 0).params
    params = jax.tree.map(np.ones_like, params)
    for name in ("adamw", "adam", "sgd"):
        config.optim.name = name
        transform = optim.make_optimiser(config.optim, 10).transform
        updates = jax.jit(
            lambda p, t=transform: t.update(jax.tree.map(jnp.zeros_like, p), t.init(p), p)[0]
        )(params)
        moved = {
            jax.tree_util.keystr(path, simple=True, separator="/"): np.unique(x)
            for path, x in jax.tree_util.tree_flatten_with_path(updates)[0]
        }
        decays = {
            "embed_rgb/kernel",
            "embed_audio/kernel",
            "filter_rgb/router",
            "filter_rgb/w_in",
            "filter_rgb/w_out",
            "head/embed/kernel",
            "head/logit/kernel",
            "head/update_0/kernel",
        }
        assert {path for path, value in moved.items() if value.any()} == (
            decays if name == "adamw" else set()
        )
        assert all(np.allclose(moved[path], -0.05) for path in decays) or name != "adamw"


def test_the_detector_trains_through_the_loop_and_the_test_split_is_followed(tmp_path, mapper):
    """The project's own detector: fusion coefficients are logged as they act, expert usage and
    entropy beside the losses.

    Rows of the test split, which is followed only where asked for, are kept apart, and its best
    checkpoint beside the best on validation.
    """
    config = tiny.config(
        eval__every_on_test=True,
        train__steps=4,
        train__log_every=2,
        train__eval_every=2,
        data__eval_lengths=(tiny.UNITS,),
    )
    model = tiny.detector(config)
    followed = tiny.TinyRecords(6, seed=3)
    task = Training(config, tiny.TinyRecords(), model, mapper, followed, lambda text: None)
    result = loop.train(SingleRun(task), tmp_path)
    assert [row["kind"] for row in result.history] == 2 * ["train", "fusion", "validation", "test"]
    assert np.shape(result.history[1]["a"]) == (1, 2, 3, 3)
    assert {
        "loss/reconstruction",
        "loss/balance",
        "usage/rgb",
        "router_entropy/rgb",
    } < result.history[0].keys()
    assert os.path.isdir(tmp_path / "tensorboard")
    rows = [row for row in result.history if row["kind"] == "test"]
    assert [row["step"] for row in rows] == [2, 4] and all(
        {"auc", "ap"} < row.keys() for row in rows
    )
    with Checkpoints(tmp_path / "checkpoints", config) as checkpoints:
        assert (
            checkpoints.step_of("best_on_test") == max((row["auc"], row["step"]) for row in rows)[1]
        )
