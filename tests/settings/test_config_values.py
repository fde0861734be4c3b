"""Every key of a configuration refuses, by its name, a value that cannot be; no value leads to
anything else."""

import importlib
import json

import pytest

from gfvad import tasks
from gfvad.base.types import ConfigError
from gfvad.settings import config as config_lib

ODD = (
    "",
    "x",
    -1,
    0,
    3.5,
    1e30,
    10**30,
    None,
    True,
    (),
    {},
    (1, "a"),
    {"a": 1},
    float("nan"),
    float("inf"),
    (None,),
    ((1,),),
    "a\0b",
)


@pytest.fixture(autouse=True)
def _in_checkout(repository, monkeypatch):
    monkeypatch.chdir(repository)


def put(config, key, value):
    *groups, leaf = key.split(".")
    for group in groups:
        config = config[group]
    with config.ignore_type():
        config[leaf] = value


@pytest.mark.parametrize("name", ["own", "predictive"])
def test_odd_values_are_refused_by_key_or_work(name):
    module = importlib.import_module(f"configs.{name}")
    config = module.get_config()
    before = config_lib.flatten(config)
    refused = 0
    for key, value in before.items():
        for odd in ODD:
            put(config, key, odd)
            try:
                tasks.check(config)
            except ConfigError as error:
                assert key.rsplit(".", 1)[-1] in str(error), (key, odd, str(error))
                refused += 1
            else:
                stored = type(config_lib.flatten(config)[key])  # a flag at a float became one
                assert stored is type(value) or (stored, type(value)) == (int, float), (key, odd)
            if isinstance(odd, dict):
                config = module.get_config()
            put(config, key, value)
    assert refused > 10 * len(before)
    tasks.check(config)


@pytest.mark.parametrize(
    "word, key",
    [
        ("data.eval_lengths=None", "eval_lengths"),
        ("loss.unit_abnormal=1e30", "loss.unit_abnormal"),
        ("eval.ema=(nan,)", "eval.ema"),
        ("model.embed_dim=99999999999999999999", "model.embed_dim"),
        ("optim.learning_rate=nan", "learning_rate"),
        ("data.clock=7", "data.clock"),
    ],
)
def test_overrides(word, key, capsys):
    from gfvad import main

    assert main.main(["--config=configs/own.py", f"--config.{word}"]) == 2
    assert key in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t["eval"].update(ema=[float("nan")]), "config.eval.ema"),
        (lambda t: t["data"].update(modalities="rgb"), "config.data.modalities"),
        (lambda t: t["data"].update(eval_lengths=[]), "config.data.eval_lengths"),
        (lambda t: t["model"]["relation"].update(knn={"a": 1}), "model.relation.knn"),
        (lambda t: t.update(seed=None), "config.seed"),
        (lambda t: t.update(kind={}), "kind"),
        (lambda t: t.update(kind=[1]), "kind"),
    ],
)
def test_a_stored_config_with_other_values_is_refused_by_file_and_key(
    tmp_path, change, words, capsys
):
    from gfvad import main

    config_lib.save(importlib.import_module("configs.xd").get_config(), tmp_path)
    tree = json.loads((tmp_path / "config.json").read_text())
    change(tree)
    (tmp_path / "config.json").write_text(json.dumps(tree))
    assert main.main(["--mode=evaluate", f"--workdir={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert words in said and "config.json" in said
