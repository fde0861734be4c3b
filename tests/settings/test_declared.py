"""Settings are declared once: nothing else in the package lists them, and no name of a run that was
made before moves."""

import ast
import csv
import importlib

import pytest

from gfvad.base.types import ConfigError
from gfvad.settings import kinds, page
from gfvad.settings.config import config_hash, flatten
from gfvad.settings.declared import AMOUNT, WIDTH, Setting, changed, group
from gfvad.train.run_settings import hash_of, training_leaves

MOST_LISTED = 2  # keys of settings in one literal: more is a list of them
# What a setting's default did before it came (as of the version that all had): never to be changed
BEFORE = {
    "parallel.model": 1,
    "model.window": 8,
    "model.stride": 2,
    "model.held_out": 0.1,
    "data.near": 2.0,
    "data.alike": 1.0,
    "model.bank.units": 4096,
    "model.bank.sharpness": 30.0,
    "model.bank.share": 0.5,
    "model.events.sharpness": 10.0,
    "model.events.share": 1.5,
    "model.head.spread_trained": True,
    "data.fold": -1,
    "data.damage.modality": "text",
    "data.damage.late_units": 3,
    "loss.glance": 0.1,
    "loss.glance_width": 2.0,
    "model.filter.epsilon": 1e-6,
    "data.resize": "area",
    "data.clip_text": "mean",
    "score.paper_weights": (0.8, 0.2),
    "score.paper_sigma": 5.0,
    "score.paper_min_max": True,
    "score.alarm_gap": 1.0,
    "data.test": "labelled",
    "score.events": ("pace", "object"),
    "score.weighting": "grid",
    "kind": "weak",
    "model.pace_flow": False,
    "loss.bce": 1.0,
    "loss.branch": 1.0,
    "model.head.relations": True,
    "model.head.mix": 0.5,
    "model.head.prior": 0.5,
    "model.foil.heads": 4,
    "model.foil.hidden": 32,
    "model.foil.kind": "concat",
    "model.foil.rank": 32,
    "data.corruption.at": "none",
    "data.corruption.kind": "missing",
    "data.on_corrupt": "error",
    "model.evidence": "trained",
    "model.few_videos": 400,
    "model.fusion.start": "mean",
    "optim.graph_rate": 1.0,
    "score.floors": True,
    "train.members": 1,
    "data.height": 64,
    "data.width": 128,
    "data.pictures_a_second": 1.0,
    "data.grids": ("2x4", "4x8"),
}


def config_of(text):
    name, _, variant = text.partition(":")
    module = importlib.import_module(f"configs.{name}")
    return module.get_config(variant) if variant else module.get_config()


def test_names_of_runs_and_checkpoints_are_those_of_before(repository):
    """Hashes of every config and variant, as the version before declared settings gave them; of
    the predictive model's runs since the score has a bank and weights by skill; of fusion's
    variant paper since it is the paper's own form."""
    with open(repository / "tests/settings/stored_hashes.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 100
    for row in rows:
        config = config_of(row["config"])
        found = (config_hash(config), hash_of(training_leaves(config)))
        assert found == (row["hash"], row["checkpoint"]), row["config"]


@pytest.mark.parametrize(
    "config, name, checkpoint",
    [("ped2", "9f0e1398", "89546217"), ("xd:filter", "0fc4c40c", "e8e37614")],
)
def test_runs_of_before_keep_their_names(config, name, checkpoint):
    """With the epsilon that they had, which their folders do not say."""
    found = config_of(config)
    found.model.filter.epsilon = 1e-6
    assert (config_hash(found), hash_of(training_leaves(found))) == (name, checkpoint)
    leaves = flatten(found)
    del leaves["model.filter.epsilon"]
    assert kinds.earlier(leaves, ["model.filter.epsilon"])["model.filter.epsilon"] == 1e-6


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_default_is_valid_and_every_setting_has_a_meaning(kind):
    for setting in kinds.KINDS[kind].values():
        setting.check(setting.default)
        setting.check(setting.before)
        assert setting.meaning.endswith("."), setting.key


@pytest.mark.parametrize(
    "name", ["avenue", "own", "ped2", "ped2_weak", "shanghaitech", "ucf", "xd"]
)
def test_configs_of_sets_have_the_declared_keys(name):
    config = config_of(name)
    assert flatten(config).keys() == kinds.settings_of(config).keys()


def test_what_was_done_before_a_setting_came_is_not_forgotten():
    later = {
        key: setting.before
        for table in kinds.KINDS.values()
        for key, setting in table.items()
        if setting.since
    }
    assert later == later | BEFORE
    for key, value in later.items():
        assert key in BEFORE or not value, f"{key}: add it to BEFORE"


def test_no_other_list_of_settings(repository):
    """No literal elsewhere holds keys of settings: they have properties, which are declared."""
    keys = {key for table in kinds.KINDS.values() for key in table if "." in key}
    for path in sorted((repository / "gfvad").rglob("*.py")):
        if path.parent.name == "settings":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Tuple, ast.List, ast.Set, ast.Dict)):
                items = node.keys if isinstance(node, ast.Dict) else node.elts
                listed = [x.value for x in items if isinstance(x, ast.Constant) and x.value in keys]
                assert len(listed) <= MOST_LISTED, f"{path}:{node.lineno}: {listed}"


def test_the_page_of_settings_is_that_of_the_declarations(repository):
    said = "run: python -m gfvad.settings.page > docs/settings.md"
    assert (repository / "docs/settings.md").read_text() == page.as_markdown(), said


def test_the_help_of_a_config_shows_its_values():
    text = page.as_text(config_of("xd"))
    assert "--config.train.steps=300  (1 or more)\n      Optimiser steps." in text
    assert "--config.model.fusion.form=cp  (full, outer or cp)" in text
    assert "--config.score.terms" not in text and "--config.score.terms" in page.as_text(None)


def test_groups_and_changes():
    one, other = group("a.b", Setting("x", 1, WIDTH), Setting("y", 0.5, AMOUNT), free=True)
    assert (one.key, other.key, one.free) == ("a.b.x", "a.b.y", True)
    one, other = changed((one, other), {"a.b.x": {"default": 3}})
    assert (one.default, one.before, one.range, other.default) == (3, 3, WIDTH, 0.5)
    with pytest.raises(AssertionError, match="no such settings: z"):
        changed((one,), {"z": {}})


def test_a_setting_from_outside_changes_no_name(monkeypatch):
    monkeypatch.setitem(kinds.KINDS, "weak", dict(kinds.KINDS["weak"]))
    before = config_hash(config_of("xd"))
    kinds.register("weak", Setting("model.mine.width", 16, WIDTH, since="0.2").means("Channels."))
    config = config_of("xd")
    assert config.model.mine.width == 16 and config_hash(config) == before
    config.model.mine.width = 17
    assert config_hash(config) != before
    with pytest.raises(ConfigError, match="'model.mine.width' is declared already"):
        kinds.register("weak", Setting("model.mine.width", 8, WIDTH))


@pytest.mark.parametrize(
    "setting, value, message",
    [
        (Setting("a", 1, WIDTH), 0, "config.a = 0: expected a whole number from 1 to 65,536"),
        (Setting("a", 1, WIDTH), True, "expected a whole number"),
        (Setting("a", 0.5, AMOUNT), float("nan"), "expected a number from 0 to 1,000,000"),
        (Setting("a", (1.0,), AMOUNT), (-1,), "numbers, each from 0 to 1,000,000"),
        (Setting("a", (1,), WIDTH), 3, "whole numbers, each from 1 to 65,536"),
        (Setting("a", True), 1, "True or False"),
        (Setting("a", "x", choices=("x", "yy")), "y", "did you mean 'yy'. .one of x, yy"),
        (Setting("a", 1, choices=(1, 3)), 2, "config.a = 2; valid|config.a = 2 .one of 1, 3"),
        (Setting("a", ("x",), needed=True), (), "at least one, each once"),
        (Setting("a", ("x",), needed=True), ("x, x",), "at least one, each once"),
        (Setting("a", ("x",)), (1.5,), "names, as"),
    ],
)
def test_what_is_refused(setting, value, message):
    with pytest.raises(ConfigError, match=message):
        setting.check(value)
