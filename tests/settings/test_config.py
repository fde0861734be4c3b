"""Everything wrong with a command line is said by name, with the nearest valid key, before any
device work."""

import json
import subprocess
import sys

import pytest

from gfvad import tasks
from gfvad.base.types import ConfigError
from gfvad.settings import config as config_lib
from gfvad.settings.kinds import KINDS


@pytest.fixture(autouse=True)
def _in_checkout(repository, monkeypatch):
    monkeypatch.chdir(repository)


@pytest.mark.parametrize("name", ["xd", "ucf", "shanghaitech"])
def test_configs_are_valid_with_every_variant(name):
    import importlib

    for variant in ["", *importlib.import_module(f"configs.{name}").VARIANTS]:
        arguments = tasks.parse(
            [f"--config=configs/{name}.py" + (f":{variant}" if variant else "")]
        )
        assert arguments.mode == "train" and arguments.workdir.parts[0] == "runs"


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--config.data.rot=/x"], ["config.data.rot", "data.root"]),
        (["--config.model.experts=3"], ["model.experts", "model.filter.experts"]),
        (["--config.data=3"], ["group of keys", "data.root"]),
        (["--config.data.train_units=many"], ["train_units", "many"]),
        (["--config.train.steps=1.5"], ["train.steps", "1.5"]),
        (["--config.train.steps=0"], ["train.steps", "from 1"]),
        (["--config.model.dropout=1.5"], ["model.dropout", "[0, 1)"]),
        (["--config.optim.name=adamv"], ["optim.name", "'adam'"]),
        (["--config.parallel.backend=xmap"], ["parallel.backend", "pmap"]),
        (["--config.data.modalities="], ["data.modalities"]),
        (["--config.data.modalities=rgb,rgb"], ["data.modalities", "once"]),
        (["--config.data.eval_lengths=(400,200)"], ["eval_lengths", "increasing"]),
        (["--config.model.name=graph_fuson"], ["graph_fusion"]),
        (["--config.model.head.kind=row"], ["head"]),
        (["--config.model.relation.sources=residual"], ["filter"]),
        (
            ["--config.model.fusion.form=full", "--config.data.modalities=rgb,flow,audio"],
            ["fusion"],
        ),
        (["--config.model.filter.modalities=rgb", "--config.model.filter.topk=64"], ["topk", "63"]),
        (["--mode=evalute"], ["mode", "evaluate"]),
        (["--mode=score"], ["--input"]),
        (["--mode=score", "--input=x", "--output=x.csv"], [".npz"]),
        (["--confg.x=1"], ["confg"]),
        (["stray"], ["stray", "--name=value"]),
    ],
)
def test_wrong_command_lines(argv, words):
    with pytest.raises(ConfigError) as error:
        tasks.parse(["--config=configs/xd.py", *argv])
    for word in words:
        assert word in str(error.value), str(error.value)


def test_config_file_missing_or_unknown_variant():
    with pytest.raises(ConfigError, match="file not found; expected the path of one, or .*ucf, xd"):
        tasks.parse(["--config=configs/nothing.py"])
    with pytest.raises(ConfigError, match="audio_visual"):
        tasks.parse(["--config=configs/xd.py:audiovisual"])
    with pytest.raises(ConfigError, match="--config"):
        tasks.parse([])
    with pytest.raises(ConfigError, match="config.json"):
        tasks.parse(["--mode=evaluate", "--workdir=/nonexistent-run"])


def test_round_trip_through_a_run_folder(tmp_path):
    config = tasks.parse(["--config=configs/xd.py:rgb+filter", "--config.seed=3"]).config
    config_lib.save(config, tmp_path)
    loaded = config_lib.load(str(tmp_path))
    assert loaded.to_dict() == config.to_dict()
    assert config_lib.config_hash(loaded) == config_lib.config_hash(config)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="not a config"):
        config_lib.load(str(tmp_path))


def test_hash_follows_what_can_change_a_result():
    of = lambda *a: config_lib.config_hash(tasks.parse(["--config=configs/xd.py", *a]).config)  # noqa: E731
    assert of() == of("--config.data.cache_dir=/elsewhere") != of("--config.seed=1")


def test_names_joined_by_commas():
    assert tasks.parse(
        ["--config=configs/xd.py", "--config.data.modalities=rgb, flow"]
    ).config.data.modalities == ("rgb", "flow")


def test_no_backend_is_started_and_the_exit_code_tells(repository):
    code = (
        "import jax, sys\nfrom gfvad import main\nstatus = main.main(['--config=configs/xd.py',"
        " '--config.data.rot=1'])\nfrom jax._src import xla_bridge\nassert not"
        " xla_bridge._backends, 'a backend was started'\nsys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=repository
    )
    assert done.returncode == 2, done.stderr
    assert "data.root" in done.stderr and "Traceback" not in done.stderr


def edit(workdir, change):
    tree = json.loads((workdir / "config.json").read_text())
    change(tree)
    (workdir / "config.json").write_text(json.dumps(tree))


@pytest.mark.parametrize("name, kind", [("xd", "weak"), ("ped2", "predictive")])
def test_a_run_of_an_earlier_version_gets_what_was_done_then(tmp_path, name, kind):
    config = tasks.parse([f"--config=configs/{name}.py"]).config
    config_lib.save(config, tmp_path)
    later = {key: setting.before for key, setting in KINDS[kind].items() if setting.since}

    def strip(tree):
        del tree["gfvad_version"]
        for key in later:
            *groups, leaf = key.split(".")
            node = tree
            for group in groups:
                node = node[group]
            del node[leaf]
        tree.get("model", {}).pop("foil", None)

    edit(tmp_path, strip)
    found, expected = (config_lib.flatten(c) for c in (config_lib.load(str(tmp_path)), config))
    assert set(found) == set(expected)
    assert {k for k, v in found.items() if v != expected[k]} <= set(later)
    assert all(found[k] == v for k, v in later.items())


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda t: t["model"].update(novelty=1),
            r"key 'model.novelty' is unknown here: the run was written by gfvad 9.9, this is gfvad",
        ),
        (lambda t: t.update(kind="dreams"), r"kind = 'dreams', written by gfvad 9.9"),
        (
            lambda t: t["optim"].pop("learning_rate"),
            r"key 'optim.learning_rate' is missing \(the run was written by gfvad 9.9\)",
        ),
        (lambda t: t.update(model=3), "not a config"),
    ],
)
def test_a_run_of_a_later_version_is_refused_by_name(tmp_path, change, words):
    config_lib.save(tasks.parse(["--config=configs/xd.py"]).config, tmp_path)
    edit(tmp_path, lambda tree: (tree.update(gfvad_version="9.9"), change(tree)))
    with pytest.raises(ConfigError, match=words):
        config_lib.load(str(tmp_path))
