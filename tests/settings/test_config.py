"""Configurations of runs: stored, read again by later versions, named by a hash."""

import json

import pytest

from gfvad import tasks
from gfvad.base.types import ConfigError
from gfvad.settings import config as config_lib
from gfvad.settings.kinds import KINDS


@pytest.fixture(autouse=True)
def _in_checkout(repository, monkeypatch):
    monkeypatch.chdir(repository)


def edit(workdir, change):
    tree = json.loads((workdir / "config.json").read_text())
    change(tree)
    (workdir / "config.json").write_text(json.dumps(tree))


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
    of = lambda *a: config_lib.config_hash(tasks.parse(["--config=configs/xd.py", *a]).config)
    assert of() == of("--config.data.cache_dir=/elsewhere") != of("--config.seed=1")


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
