"""A comparator in the place of graph novelty, from tracks to results, on walkers made here."""

import json
import shutil
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
import walkers

from gfvad import main, tasks
from gfvad.ablation import costs
from gfvad.base.types import ConfigError
from gfvad.data.objects.tracks import checked
from gfvad.data.objects.videos import open_videos
from gfvad.tasks.novelty import compared_step, registry, task
from gfvad.tasks.novelty.compared_training import ComparedTraining
from gfvad.tasks.novelty.score import calibrate
from gfvad.tasks.novelty.windows import series_of, window_rows
from gfvad.train import loop, parallel
from gfvad.train.optim import make_optimiser

FLAGS = [*walkers.FLAGS, "--config.model.window=4", "--config.optim.learning_rate=0.001"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return walkers.write_set(tmp_path_factory.mktemp("tracks"))


@pytest.fixture(autouse=True, scope="module")
def _in_checkout(repository):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        yield


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "run"
    flags = [f"--config.data.root={data}", f"--workdir={workdir}", *FLAGS]
    more = ["--config.train.steps=30", "--config.eval.figures=True"]
    assert main.main(["train", "--config=shanghaitech_tracks:mnad", *flags, *more]) == 0
    return workdir


def config_of(data, name, *more):
    words = [f"--config=configs/shanghaitech_tracks.py:{name}", f"--config.data.root={data}"]
    return tasks.parse([*words, *FLAGS, *more]).config


def training_of(data, name, devices=1, *more):
    config = config_of(data, name, *more)
    videos = open_videos("here", "train", data / "tracks_train.npz", config.data)
    mapper = parallel.make_mapper("pmap", devices)
    return ComparedTraining(config, videos, mapper, lambda text: None)


def test_runners_are_found_and_floors_stand_beside(run):
    results = json.loads((run / "results.json").read_text())
    assert results["headline"]["value"] > 0.9
    assert set(results["named"]) == {
        "floor/nearest velocity",
        "floor/nearest aspect",
        "floor/nearest size",
        "floor/sum of the sets",
        "floor/all sets in one space",
    }
    weights = results["fit"]["weights"]
    assert weights == pytest.approx({"distance": 0.3, "error": 0.7})
    assert "explained" not in results and np.isfinite(results["alarms"]["threshold"])


def test_what_it_costs_is_measured(run):
    cost = costs.measure(run)
    assert cost.parameters > 1000 and cost.frames_a_second > 0
    assert cost.training_seconds >= cost.compile_seconds >= 0


def test_a_run_goes_on_to_the_bit(data, tmp_path):
    """Parameters and MNAD's prototypes after step 4, through a restart at step 2."""
    more = [f"--config.train.{name}" for name in ("steps=4", "eval_every=2", "checkpoint_every=2")]
    train = lambda folder: loop.train(loop.SingleRun(training_of(data, "mnad", 1, *more)), folder)
    whole = train(tmp_path / "whole").state
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "4")
    resumed = train(tmp_path / "cut").state
    assert resumed.step == 4 and resumed.constants["memory"]
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)


def test_floors_are_those_that_graph_novelty_has(run, data, tmp_path):
    """By the same bank, of the same seed: distances of one set do not depend on what is fitted."""
    words = [f"--config.data.root={data}", f"--workdir={tmp_path / 'g'}", *FLAGS]
    assert main.main(["train", "--config=shanghaitech_tracks", *words]) == 0
    mine, other = (
        json.loads((folder / "results.json").read_text())["named"]
        for folder in (run, tmp_path / "g")
    )
    for name in ("floor/nearest velocity", "floor/nearest aspect", "floor/nearest size"):
        assert mine[name] == pytest.approx(other[name], abs=0.02)


def test_evaluating_again_and_elsewhere_and_scoring_files_give_the_same(run, data, tmp_path):
    before = dict(np.load(run / "scores.npz"))
    assert main.main(["evaluate", f"--workdir={run}"]) == 0
    after = dict(np.load(run / "scores.npz"))
    assert all(np.array_equal(before[n], after[n]) for n in before)
    flags = [f"--workdir={run}", f"--data={data}", f"--output={tmp_path / 'elsewhere'}"]
    assert main.main(["evaluate", *flags]) == 0
    command = ["score", f"--model={run}", str(data / "tracks_test.npz"), f"--out={tmp_path / 's'}"]
    assert main.main(command) == 0
    for folder in ("elsewhere", "s"):
        found = dict(np.load(tmp_path / folder / "scores.npz"))
        for name, scores in before.items():
            np.testing.assert_allclose(found[name][: len(scores)], scores, atol=1e-5)


def test_what_graph_novelty_alone_can_do_is_refused_by_name(run, tmp_path, capsys):
    said = "config.model.name = 'mnad': {} is for graph novelty alone"
    assert main.main(["explain", str(run)]) == 2
    assert said.format("gfvad explain") in capsys.readouterr().err
    with pytest.raises(ConfigError, match="gfvad export is for graph novelty alone"):
        task.export(run, tmp_path / "out", "last", ("cpu",))
    with pytest.raises(ConfigError, match="a stream is for graph novelty alone"):
        task.open_scorer(run).stream(None)


def test_a_model_from_outside_is_named_by_where_it_is_and_an_unknown_one_is_refused(data):
    with pytest.raises(ConfigError, match="did you mean 'memae'"):
        config_of(data, "memae", "--config.model.name=memea")
    name = "gfvad.tasks.novelty.comparators.memae:MemAE"
    assert registry.is_comparator(config_of(data, "memae", f"--config.model.name={name}"))


@pytest.fixture(scope="module")
def two_steps(data):
    """Devices -> (state after two steps of MNAD, metrics of both)."""

    def made(devices):
        training = training_of(data, "mnad", devices, "--config.parallel.devices=0")
        config, mapper = training.config, training.mapper
        optimiser = make_optimiser(config.optim, 4)
        state = training.initial(optimiser.transform, 3)
        given = {"optimiser": optimiser, "loss_cfg": config.loss, "axis_name": mapper.axis_name}
        step = mapper.map_train(partial(training.train_step, model=training.model, **given))
        replicas, rows, batches = mapper.replicate(state), [], training.batches(3)
        for _ in range(2):
            replicas, metrics = step(replicas, mapper.shard(next(batches)))
            rows.append(mapper.unreplicate(metrics))
        return mapper.unreplicate(replicas), rows, state

    return made


def test_several_devices_learn_what_one_does(two_steps):
    one, rows, start = two_steps(1)
    two, others, _ = two_steps(2)
    for a, b in zip(*(jax.tree.leaves(s.params) for s in (one, two)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    items = [s.constants["memory"]["inner"]["items"] for s in (one, two, start)]
    np.testing.assert_allclose(items[0], items[1], atol=1e-5)
    assert np.abs(items[0] - items[2]).max() > 1e-3
    for mine, theirs in zip(rows, others, strict=True):
        for name in ("loss", "loss/mnad_error", "loss/mnad_compact", "loss/mnad_separate"):
            np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-4)
    weighed = rows[0]["loss/mnad_compact"] + rows[0]["loss/mnad_separate"]
    np.testing.assert_allclose(
        rows[0]["loss"], rows[0]["loss/mnad_error"] + 0.1 * weighed, rtol=1e-5
    )


def test_what_is_held_out_is_never_learnt_from_and_alone_calibrates(data):
    training = training_of(data, "memae", 1, "--config.model.held_out=0.3")
    held, units = set(training.held.tolist()), training.units
    assert len(held) == 4  # of 12: each of the six videos has two parts, three a camera
    assert not set(units.part[training.batches(0).rows].tolist()) & held
    assert not len(training.validation)  # no whole video is held out
    for each in training.calibration():
        parts = training.videos.parts[each.index]
        assert set(parts[each.units].tolist()) <= held and not set(parts[~each.units]) & held
        frames = training.videos.tracks[each.index].frame[each.units]
        assert (each.frames.start, each.frames.stop) == (frames.min(), frames.max() + 1)
    kept = ~np.isin(units.part, training.held)
    mean = training.statistics["mean_velocity"]
    np.testing.assert_allclose(mean[0], units.features["velocity"][kept].mean(0), rtol=1e-4)
    own = units.features["size"][kept & (units.camera == 1)]  # within its camera
    np.testing.assert_allclose(training.statistics["mean_size"][1], own.mean(0), rtol=1e-4)


def test_batches_go_on_where_they_were_and_divide_over_processes(data):
    training = training_of(data, "memae")
    whole = training.batches(0)
    next(whole)
    position, second = whole.get_state(), next(whole)
    halves = [training.batches(0) for _ in range(2)]
    for i, half in enumerate(halves):
        half.set_state(position)
        half.index, half.count = i, 2
    parts = [next(half) for half in halves]
    joined = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    assert all(map(np.array_equal, *(jax.tree.leaves(x) for x in (joined, second))))
    assert len(set(second.position.tolist())) == 32


def test_windows_stay_in_their_track():
    rows = walkers.walk(np.random.default_rng(0), frames=6, people=2)
    tracks = checked("here", rows)
    found, mask = window_rows(np.arange(12), series_of(tracks), 4, 2)
    for i in range(12):
        for k in range(4):
            wanted = i % 6 + (k - 2) * 2
            assert mask[i, k] == (0 <= wanted < 6)
            assert found[i, k] == i // 6 * 6 + min(max(wanted, 0), 5)
    moved = window_rows(np.arange(12) + 7, series_of(tracks, 7), 4, 2)
    assert np.array_equal(moved[0], found + 7) and np.array_equal(moved[1], mask)


def test_terms_that_add_have_the_spread_of_their_sum():
    rng = np.random.default_rng(0)
    novelty, group = rng.normal(size=(200, 2)) * (1, 3), np.arange(200) % 2
    found = calibrate(novelty, group, np.ones(2), adds=True)
    for g in range(2):
        expected = novelty[group == g].mean(1).std()
        np.testing.assert_allclose(found.spread[g], [expected, expected])
    assert found.scale == pytest.approx(1, abs=0.05)


def test_a_loss_of_weight_zero_is_left_out(data):
    training = training_of(data, "memae")
    model = replace(training.model, losses=(("memae_entropy", 0.0),))
    state = training.initial(make_optimiser(training.config.optim, 4).transform, 0)
    objective = compared_step.ComparedObjective(model, training.config.loss)
    batch = next(training.batches(0))
    total, learnt = jax.jit(lambda s, b: objective.loss(s, b, None)[:2])(state, batch)
    assert list(learnt.terms) == ["memae_error"]
    np.testing.assert_allclose(total, learnt.terms["memae_error"], rtol=1e-6)
