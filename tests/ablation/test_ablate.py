"""Settings trained side by side: each gets the numbers of its own run, on any devices, through
interruptions, and leaves an ordinary run folder."""

import functools
import json
import shutil
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from gfvad import main
from gfvad.ablation import groups
from gfvad.ablation.group_run import GroupRun
from gfvad.ablation.groups import Group, with_seed
from gfvad.ablation.program import Program, group_step
from gfvad.ablation.sweep import Setting
from gfvad.ablation.varying import Overlay, bind, structure, varying, varying_keys
from gfvad.base.types import Output
from gfvad.commands import ablate
from gfvad.data import pipeline
from gfvad.fusion.coefficients import Choice, constrained
from gfvad.settings.config import flatten
from gfvad.tasks.fusion import losses, registry, sweep
from gfvad.tasks.fusion.training import Training
from gfvad.train import loop, optim, parallel
from gfvad.train.loop import SingleRun
from gfvad.train.stop import Interrupted

STATS = {m: {"mean": np.full(d, 0.1), "std": np.ones(d)} for m, d in tiny.DIMS.items()}
# As in test_parallel.py: the same formulas in another order of float32 sums. Measured here: 2e-7 on
# parameters of size 1 after all steps; what a wrong mask, seed or weight would make is 1e-3 and
# more.
TOLERANCE = 1e-5
SEEDS = (0, 3)


def make_config(**changes):
    """A small detector with dropout, a random pair's key, all loss terms; changes as
    model__head__alpha=0.3."""
    c = tiny.config(data__eval_lengths=(tiny.UNITS,))
    c.model.update({"embed_dim": 4, "dropout": 0.3, "input_dropout": 0.2})
    c.model.head.update({"hidden": 4, "topk": 3})
    c.model.expansion.order, c.model.fusion.rank = 2, 2
    return changed(c, **changes)


def changed(config, **changes):
    copy = config.copy_and_resolve_references()
    copy.update_from_flattened_dict(
        {key.replace("__", "."): value for key, value in changes.items()}
    )
    return copy


CHANGES = {
    "base": {},
    "other": {
        "optim__learning_rate": 5e-3,
        "loss__variance": 0.0,
        "loss__variance_k": 5,
        "loss__label_smoothing": 0.2,
        "optim__clip_norm": 0.0,
    },
    "nonneg": {
        "model__fusion__parametrisation": "nonneg",
        "optim__weight_decay": 0.0,
        "loss__smoothness": 0.0,
        "loss__variance_alpha": 0.4,
        "model__head__alpha": 0.2,
        "model__relation__threshold": 0.1,
        "optim__graph_rate": 3.0,
    },
}
SETTINGS = tuple(Setting(name, make_config(**changes), {}) for name, changes in CHANGES.items())
GROUP = Group(SETTINGS, SEEDS)


one_device = functools.cache(lambda: parallel.make_mapper("pmap", 1))


class Settings(sweep.Group):
    """The settings on made-up records."""

    def __init__(self, mapper):
        self.tasks = [
            Training(
                setting.config,
                tiny.TinyRecords(),
                registry.build_model(setting.config, tiny.DIMS, STATS),
                mapper,
                say=lambda text: None,
            )
            for setting in SETTINGS
        ]
        self._evaluator = None


class Compiled(Program):
    """Compiles once for each mapper: runs here differ in where they stop, not in their programs."""

    mapped_step = functools.cache(Program.mapped_step)


@functools.cache
def settings(mapper):
    """What is compiled for evaluation is shared too."""
    found = Settings(mapper)
    return found, Compiled(GROUP, found.tasks)


def program():
    return settings(one_device())[1]


def train(folder, mapper, say=lambda text: None):
    """(run, what training left behind)."""
    found, whole = settings(mapper)
    run = GroupRun(whole, found, mapper, say, lambda steps: None)
    return run, loop.train(run, folder)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """{(seed, setting): its own run} by the ordinary loop; both settings that differ from the
    base, both seeds, the others are left out to save time."""
    mapper, found = one_device(), {}
    for place in [(0, 1), (1, 2)]:
        config = with_seed(SETTINGS[place[1]].config, SEEDS[place[0]])
        model = registry.build_model(config, tiny.DIMS, STATS)
        folder = tmp_path_factory.mktemp("alone")
        task = Training(config, tiny.TinyRecords(), model, mapper, say=lambda text: None)
        found[place] = loop.train(SingleRun(task), folder)
    return found


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """(folder, the group trained from start to end on one device)."""
    folder = tmp_path_factory.mktemp("together")
    return folder, train(folder, one_device())


def largest_difference(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(
        float(np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64)).max()) for x, y in pairs
    )


def check_same(trained, alone):
    """Parameters, optimiser, logged metrics and the best step of every run are those of the run
    by itself."""
    run, trained = trained
    for place, own in alone.items():
        mine = run.program.run_state(trained.state, *place)
        assert jax.tree.structure(mine) == jax.tree.structure(own.state)
        assert largest_difference(mine, own.state) < TOLERANCE
        rows = [
            {k: v for k, v in row.items() if k != "run"}
            for row in trained.history
            if tuple(row["run"]) == place
        ]
        assert [(row["step"], row["kind"]) for row in rows] == [
            (row["step"], row["kind"]) for row in own.history
        ]
        for row, expected in zip(rows, own.history):
            assert set(expected) <= set(row)  # a term that another setting has is measured here too
            for key in set(expected) - {"kind"}:
                np.testing.assert_allclose(
                    row[key], expected[key], rtol=2e-4, atol=1e-5, err_msg=f"{place} {key}"
                )
        validation = [
            (row["selection"], row["step"]) for row in own.history if row["kind"] == "validation"
        ]
        assert run.standing.best_step[place] == max(validation)[1]


def test_each_setting_gets_its_own_runs_numbers(together, alone):
    check_same(together[1], alone)
    last = together[1][1].state
    states = [program().run_state(last, u, k).params for u in range(2) for k in range(3)]
    assert (
        min(largest_difference(a, b) for i, a in enumerate(states) for b in states[:i])
        > 100 * TOLERANCE
    )


def test_the_same_on_several_devices(tmp_path, alone):
    """3 devices do not divide the batch of 8, so padding is tried too. One program for training,
    one for each shape of evaluation."""
    mapper = parallel.make_mapper("shard_map", 3)
    check_same(train(tmp_path, mapper), alone)
    assert set(mapper.traces.values()) == {1}


def test_seeds_side_by_side_give_the_same(together):
    """On CPUs seeds go one after the other within the program, elsewhere they are vmapped: same
    numbers."""
    whole, mapper = program(), one_device()
    side_by_side = functools.partial(
        group_step, program=whole, axis_name=mapper.axis_name, one_by_one=False
    )
    results = []
    for step in (whole.mapped_step(mapper), mapper.map_train(side_by_side)):
        after, metrics = step(
            mapper.replicate(whole.initial()),
            mapper.shard((tiny.batch(seed=1), tiny.batch(seed=2))),
        )
        results.append((mapper.unreplicate(after), mapper.unreplicate(metrics)))
    assert largest_difference(*(state for state, _ in results)) < 1e-6
    assert all(x.shape[:2] == (2, 3) for x in results[0][1].values())


@pytest.mark.parametrize("how", ["SIGTERM", "killed"])
def test_an_interrupted_group_goes_on_to_the_bit(tmp_path, together, monkeypatch, how):
    """Signalled (saves and leaves with 143), or cut off between two checkpoints: the end is the
    same, bit by bit, logs too."""
    drawn = []

    def draw(self, original=pipeline.TrainIterator.__next__):
        drawn.append(1)
        if len(drawn) == 2 * 5:  # two seeds a step
            if how == "killed":
                raise KeyboardInterrupt
            signal.raise_signal(signal.SIGTERM)
        return original(self)

    monkeypatch.setattr(pipeline.TrainIterator, "__next__", draw)
    with pytest.raises(Interrupted if how == "SIGTERM" else KeyboardInterrupt) as caught:
        train(tmp_path, one_device())
    if how == "SIGTERM":
        assert caught.value.code == 143 and caught.value.step == 5
    said = []
    run, result = train(tmp_path, one_device(), said.append)
    assert said[0] == f"train: going on from the checkpoint of step {5 if how == 'SIGTERM' else 4}"
    expected_run, expected = together[1]
    assert [x.tobytes() for x in jax.tree.leaves((result.state, run.best))] == [
        x.tobytes() for x in jax.tree.leaves((expected.state, expected_run.best))
    ]
    assert result.history == expected.history
    assert run.batches.get_state() == expected_run.batches.get_state()
    for one, other in zip(run.standing, expected_run.standing):
        np.testing.assert_array_equal(one, other)
    log = "metrics.jsonl"
    assert (tmp_path / log).read_bytes() == (together[0] / log).read_bytes()


def test_terms_of_the_loss_with_traced_numbers():
    """Every traced number of the loss gives what the plain one gives, also where it is 0; k by a
    mask of ranks."""
    batch, rng = tiny.batch(), np.random.default_rng(0)
    aux = {
        "balance": rng.random(8),
        "reconstruction": rng.random((8, 16)),
        "branch/rgb": rng.normal(size=(8, 16)),
    }
    output = Output(
        rng.normal(size=(8, 16)).astype(np.float32),
        rng.random((8, 2, 16, 16)).astype(np.float32),
        aux,
    )
    base = make_config(
        loss__unit_normal=0.5,
        loss__unit_abnormal=0.3,
        loss__unit_abnormal_steps=7,
        loss__reconstruction=0.2,
    )
    names = [key for key in varying_keys(base) if key.startswith("loss.")]
    cases = [
        (key, value)
        for key in names
        for value in ((1, 2, 9) if key.endswith(("_k", "_steps")) else (0.0, 0.15))
    ]
    configs = [changed(base, **{key.replace(".", "__"): value}) for key, value in cases]
    found = varying([*configs, changed(base, loss__variance_k=12)])
    overlay = lambda values: bind(None, base, values, found)[1].loss
    got, _ = jax.jit(
        jax.vmap(lambda values: losses.total_loss(output, batch, overlay(values), step=3))
    )(found.values)
    assert overlay(found.values).topk_divisor == base.loss.topk_divisor and set(
        found.values
    ) == set(names)
    for case, config, one in zip(cases, configs, got):
        want, _ = losses.total_loss(output, batch, config.loss, step=3)
        np.testing.assert_allclose(one, want, rtol=1e-6, err_msg=str(case))


@pytest.mark.parametrize("form, cross_terms", [("cp", True), ("full", True), ("cp", False)])
def test_a_parametrisation_chosen_while_running(form, cross_terms):
    config = make_config(
        model__fusion__form=form, model__fusion__cross_terms=cross_terms, model__fusion__channels=1
    )
    raw = (
        np.random.default_rng(0)
        .normal(size={"cp": (1, 2, 2, 3), "full": (1, 3, 3)}[form] if cross_terms else (1, 2, 3))
        .astype(np.float32)
    )
    names = ("free", "nonneg", "simplex")
    chosen = jax.jit(
        lambda i: constrained(
            raw, Overlay(config.model.fusion, {"parametrisation": Choice("free", names, i)})
        )
    )
    for i, name in enumerate(names):
        config.model.fusion.parametrisation = name
        np.testing.assert_allclose(chosen(i), constrained(raw, config.model.fusion), rtol=1e-6)


def test_optimisers_with_traced_numbers_have_the_same_arrays():
    """The chain may hold more parts, which hold no arrays; updates are those of the plain
    numbers, also where they are 0."""
    params = {
        "fusion": {"a": np.ones((2, 2), np.float32)},
        "head": {"kernel": np.full((2, 3), 2.0, np.float32)},
    }
    gradients = jax.tree.map(lambda x: 3 * np.ones_like(x), params)
    for changes in (
        {},
        {"weight_decay": 0.0, "clip_norm": 0.0, "graph_rate": 1.0},
        {"graph_rate": 7.0, "clip_norm": 1e3},
    ):
        cfg = make_config().optim
        cfg.update(changes)
        keys = ("weight_decay", "clip_norm", "graph_rate", "learning_rate")
        plain = optim.make_optimiser(cfg, 10).transform
        traced = lambda v, cfg=cfg: optim.make_optimiser(Overlay(cfg, v), 10).transform
        values = {key: jnp.float32(cfg[key]) for key in keys}
        want = jax.jit(plain.update)(gradients, plain.init(params), params)
        got = jax.jit(lambda v: traced(v).update(gradients, traced(v).init(params), params))(values)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_what_shares_a_program():
    """Traced and starting keys do not part settings; others do, and so does the length of gates;
    corruption of the test videos does not."""
    base = make_config()
    alike = lambda **changes: structure(changed(base, **changes)) == structure(base)
    assert alike(
        seed=5,
        loss__variance=1.0,
        optim__learning_rate=1.0,
        model__fusion__parametrisation="simplex",
        model__head__prior=0.1,
        variant="x",
    )
    assert (
        not alike(model__head__hidden=5)
        and not alike(train__steps=5)
        and not alike(model__head__gates=(1.0, 2.0))
    )
    assert alike(
        data__corruption__at="test", data__corruption__modality="rgb", data__corruption__amount=1.0
    )
    assert not alike(
        data__corruption__at="train", data__corruption__modality="rgb", data__corruption__amount=1.0
    )
    assert set(varying_keys(base)) <= set(flatten(base))


def test_groups_are_as_few_as_they_can_be(tmp_path):
    settings = [Setting(f"s{i}", make_config(loss__variance=float(i)), {}) for i in range(5)] + [
        Setting("wide", make_config(model__embed_dim=5), {})
    ]
    found = groups.plan(tmp_path, settings, (0, 1), 8)
    assert [(len(group.settings), group.seeds) for group in found] == [
        (2, (0, 1)),
        (3, (0, 1)),
        (1, (0, 1)),
    ]
    begun = found[1]
    groups.begin(tmp_path, begun)
    again = groups.plan(tmp_path, settings, (0, 1, 2), 8)
    assert again[0] == begun and all(
        seed == 2 for s in begun.settings for g in again[1:] if s in g.settings for seed in g.seeds
    )
    assert sum(group.size for group in again) == 6 * 3


SWEEP = (
    "def get_sweep(config):\n    return {{'axes': {{'optim.learning_rate': {rates}}}, 'base':"
    " 'plain', 'seeds': 2}}\n"
)
SIMULATED = [
    "--config=configs/xd.py",
    "--config.train.steps=4",
    "--config.train.batch_size=8",
    "--config.train.eval_every=2",
    "--config.train.checkpoint_every=2",
    "--config.data.eval_batch_size=8",
    "--config.parallel.devices=1",
    "--config.data.simulated.train_videos=24",
    "--config.data.simulated.test_videos=8",
    "--config.data.simulated.crops=2",
    "--config.data.simulated.units=24",
    "--resamples=50",
    "--config.model.fusion.channels=1",
    "--config.model.fusion.start=mean",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, repository):
    """(folder, words) of a small sweep that was run: the plain setting, another rate, and one
    that cannot stay finite."""
    folder = tmp_path_factory.mktemp("ablation")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        patch.setenv("GFVAD_CACHE", str(tmp_path_factory.mktemp("cache")))
        (folder / "sweep.py").write_text(SWEEP.format(rates=(1e-3, 1e30)))
        words = [*SIMULATED, f"--sweep={folder / 'sweep.py'}", f"--workdir={folder / 'out'}"]
        assert ablate.main(words) == 0
        yield folder, words


def test_what_an_ablation_leaves_behind(finished, capsys):
    """Ordinary run folders, a tidy table, a page with tests, figures; a run that blew up is
    named and spoils nothing."""
    out = finished[0] / "out"
    runs = {
        str(path.relative_to(out / "settings").parent)
        for path in out.glob("settings/*/*/results.json")
    }
    assert runs == {
        f"{name}/seed{seed}" for name in ("plain", "learning_rate=0.001") for seed in (0, 1)
    }
    failed = json.loads(
        (out / "settings" / "learning_rate=1e+30" / "seed0" / "failed.json").read_text()
    )
    assert failed["step"] in (1, 2)
    lines = (out / "ablation.csv").read_text().splitlines()
    assert lines[0] == "setting,seed,metric,aggregation,normalisation,smoothing,checkpoint,value"
    assert any(line.startswith("plain,1,auc,micro,none,none,last,0.") for line in lines)
    assert any(line.startswith("plain,1,validation_auc,video,") for line in lines)
    page = (out / "ablation.md").read_text()
    assert (
        "| **`plain`** (base) | 2 |" in page
        and "`learning_rate=1e+30`: a loss or gradient was not a finite number in seeds 0, 1"
        in page
    )
    assert {path.name for path in (out / "figures").iterdir()} == {"forest.png"} and not list(
        (out / "groups").iterdir()
    )
    run = out / "settings" / "plain" / "seed1"
    before = json.loads((run / "results.json").read_text())["records"]
    assert main.main(["--mode=evaluate", f"--workdir={run}"]) == 0
    after = json.loads((run / "results.json").read_text())["records"]
    assert len(before) == len(after)
    for a, b in zip(before, after):
        assert {k: v for k, v in a.items() if k != "value"} == {
            k: v for k, v in b.items() if k != "value"
        }
        assert a["value"] is None or abs(a["value"] - b["value"]) < 1e-4
    said = capsys.readouterr()
    assert "SIMULATED DATA" in said.err and "SIMULATED data" in said.out


def test_only_what_is_new_is_trained(finished, capsys, monkeypatch):
    """The same command trains nothing; a further seed, or setting, trains that alone; a setting
    that has changed is refused."""
    folder, words = finished
    assert ablate.main(words) == 0
    said = capsys.readouterr()
    assert "6 runs are there, 0 to train" in said.err and "| **`plain`** (base) | 2 |" in said.out
    (folder / "more.py").write_text(SWEEP.format(rates=(1e-3, 2e-3)))
    more = [w.replace("sweep.py", "more.py") for w in words]
    asked = []
    monkeypatch.setattr(
        "gfvad.ablation.run.train_group", lambda plan, group, progress, say: asked.append(group)
    )
    assert ablate.main([*more, "--seeds=3"]) == 0
    assert sorted((sorted(s.name for s in g.settings), g.seeds) for g in asked) == [
        (["learning_rate=0.001", "plain"], (2,)),
        (["learning_rate=0.002"], (0, 1, 2)),
    ]
    assert ablate.main([w for w in words if "steps" not in w] + ["--config.train.steps=5"]) == 2
    assert (
        "'plain' was trained with another configuration: train.steps found 4, expected 5"
        in capsys.readouterr().err
    )


def test_groups_in_processes(finished, capsys, monkeypatch):
    """Each group goes to a process that is told its id; a group that fails gives its exit code."""
    folder, words = finished
    (folder / "two.py").write_text(
        "def get_sweep(config):\n    return {'settings': {'a': {}, 'b': {'model.embed_dim': 4}},"
        " 'seeds': 1}\n"
    )
    words = [w.replace("sweep.py", "two.py").replace("/out", "/two") for w in words]
    started = []

    class Process:
        def __init__(self, command):
            started.append(command)
            self.returncode = len(started)

        def poll(self):
            return self.returncode

    monkeypatch.setattr("gfvad.ablation.run.subprocess.Popen", Process)
    assert ablate.main([*words, "--processes=2"]) == 1
    assert len({next(w for w in command if w.startswith("--group=")) for command in started}) == 2
    assert all(command[1:4] == ["-m", "gfvad.main", "ablate"] for command in started)
    shutil.rmtree(folder / "two")
    capsys.readouterr()


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ["--config=configs/xd.py", "--sweep=configs/sweeps/losses.py"],
            "--workdir=... is missing",
        ),
        (
            ["--config=configs/xd.py", "--sweep=configs/sweeps/loses.py", "--workdir=x"],
            "file not found; expected the path of one, or one of alone, ",
        ),
        (
            [
                "--config=configs/xd.py",
                "--sweep=configs/sweeps/losses.py",
                "--workdir=x",
                "--seeds=0",
            ],
            "--seeds=0: expected a whole number",
        ),
        (
            [
                "--config=configs/xd.py",
                "--sweep=configs/sweeps/losses.py",
                "--workdir=x",
                "--seed=3",
            ],
            "did you mean '--seeds'",
        ),
        (
            ["--config=configs/ped2.py", "--sweep=configs/sweeps/losses.py", "--workdir=x"],
            "losses.py: get_sweep() asks for a key that a configuration of kind 'predictive'",
        ),
    ],
)
def test_wrong_command_lines_are_refused(words, message, capsys, repository, monkeypatch):
    monkeypatch.chdir(repository)
    assert ablate.main(words) == 2
    assert message in capsys.readouterr().err and not Path("x").exists()


def test_an_overlay_reads_like_a_config():
    """An overlay reads like a config, and only what differs in a group is traced."""
    found = program().varying
    assert set(found.values) == {
        "loss.label_smoothing",
        "loss.variance",
        "loss.variance_alpha",
        "loss.variance_k",
        "loss.smoothness",
        "optim.learning_rate",
        "optim.graph_rate",
        "optim.weight_decay",
        "optim.clip_norm",
        "model.relation.threshold",
        "model.fusion.parametrisation",
        "model.head.alpha",
    }
    overlay = Overlay(make_config(), {"loss.variance": 7})
    assert (
        overlay.loss.variance == 7
        and overlay["loss"].get("sparsity") == 0.1
        and overlay.get("nothing", 3) == 3
        and "loss" in overlay
    )
    with pytest.raises(AttributeError):
        overlay.loss.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["sweep.json", "ablation.csv", "ablation.md"])
def test_an_ablation_leaves_what_is_not_its_own(tmp_path, repository, monkeypatch, capsys, name):
    monkeypatch.chdir(repository)
    (tmp_path / name).write_text("mine")
    assert (
        ablate.main(
            [
                "--config=configs/xd.py:rgb",
                "--sweep=configs/sweeps/losses.py",
                f"--workdir={tmp_path}",
            ]
        )
        == 2
    )
    assert (
        f"{tmp_path / name}: a file of 4 bytes, not written by gfvad ablate"
        in capsys.readouterr().err
    )
    assert (tmp_path / name).read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
