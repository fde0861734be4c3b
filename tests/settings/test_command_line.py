"""Everything wrong with a command line is said by name, with the nearest valid key, before any
device work."""

import subprocess
import sys

import pytest

from gfvad import tasks
from gfvad.base.types import ConfigError
from gfvad.settings import command_line
from gfvad.settings import config as config_lib
from gfvad.settings.kinds import KINDS


@pytest.fixture(autouse=True)
def _in_checkout(repository, monkeypatch):
    monkeypatch.chdir(repository)


@pytest.mark.parametrize("name", ["xd", "ucf", "shanghaitech"])
def test_configs_are_valid_with_every_variant(name):
    import importlib

    parsed = lambda variant: tasks.parse(
        [f"--config=configs/{name}.py" + (f":{variant}" if variant else "")]
    )
    for variant in ["", *importlib.import_module(f"configs.{name}").VARIANTS]:
        if (name, variant) == ("shanghaitech", "macil_sd"):
            with pytest.raises(ConfigError, match="needs two feature sets"):
                parsed(variant)
            variant = "i3d_text+macil_sd"
        arguments = parsed(variant)
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
        (["--workdir="], ["--workdir", "no folder"]),
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
    with pytest.raises(ConfigError, match="file not found; expected the path of one, or .*ucf.*xd"):
        tasks.parse(["--config=configs/nothing.py"])
    with pytest.raises(ConfigError, match="audio_visual"):
        tasks.parse(["--config=configs/xd.py:audiovisual"])
    with pytest.raises(ConfigError, match="--config"):
        tasks.parse([])
    with pytest.raises(ConfigError, match="config.json"):
        tasks.parse(["--mode=evaluate", "--workdir=/nonexistent-run"])


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


MINE = """
from configs.common import get_config as defaults
from gfvad.settings import AMOUNT, Setting, register

register("weak", Setting("loss.mine", 0.1, AMOUNT, since="0.2").means("Weight of my loss."))


def get_config():
    c = defaults()
    c.data.dataset = "mine"
    return c
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Another folder, with a config of its own that declares a setting of its own."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(KINDS, "weak", dict(KINDS["weak"]))
    return tmp_path


def test_configs_are_found_by_name_outside_the_checkout(elsewhere):
    config = tasks.parse(["--config=mine", "--config.loss.mine=0.5"]).config
    assert (config.data.dataset, config.loss.mine) == ("mine", 0.5)
    assert tasks.parse(["--config=xd:rgb"]).config.variant == "rgb"
    assert tasks.parse(["--config=configs/ucf.py"]).config.data.dataset == "ucf_crime"
    assert {"mine", "xd", "ped2"} <= set(command_line.config_names())
    with pytest.raises(
        ConfigError,
        match="expected the path of one, or one of avenue, avenue_tracks, clips, mine, msad,"
        " normal, normal_predictive, own",
    ):
        tasks.parse(["--config=min"])
    with pytest.raises(ConfigError, match="loss.mine = -1.0: expected a number from 0"):
        tasks.parse(["--config=mine", "--config.loss.mine=-1"])


def test_a_run_with_a_setting_from_outside_is_read_with_its_plugin(elsewhere, monkeypatch):
    table = dict(KINDS["weak"])
    config_lib.save(tasks.parse(["--config=mine"]).config, elsewhere)
    monkeypatch.setitem(KINDS, "weak", table)
    with pytest.raises(ConfigError, match="key 'loss.mine' is unknown here"):
        config_lib.load(elsewhere)
    monkeypatch.setenv("GFVAD_PLUGINS", str(elsewhere / "configs" / "mine.py"))
    assert config_lib.load(elsewhere).loss.mine == 0.1


def test_configs_of_an_installed_package_lie_inside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(command_line.gfvad, "__file__", str(tmp_path / "gfvad" / "__init__.py"))
    assert command_line.shipped_configs() == tmp_path / "gfvad" / "bundled" / "configs"
