"""The contract of tasks: both fulfil it, and the one of a config or a folder is found."""

import inspect
import subprocess
import sys

import pytest

from configs import ped2, xd
from gfvad.base.types import ConfigError, DataError
from gfvad.settings import config as config_lib
from gfvad.tasks import TASKS, task_of, task_of_folder
from gfvad.tasks.task import Task

ASKED = {
    name: function
    for name, function in vars(Task).items()
    if inspect.isfunction(function) and not name.startswith("_")
}


@pytest.mark.parametrize("kind", TASKS)
def test_a_task_fulfils_the_contract(kind):
    task = task_of({"kind": kind})
    assert task.kind == kind
    for name, function in ASKED.items():
        asked = list(inspect.signature(function).parameters.values())[1:]
        given = list(inspect.signature(getattr(task, name)).parameters.values())
        assert [(p.name, p.default) for p in given] == [(p.name, p.default) for p in asked], name


def test_the_task_of_a_config():
    assert task_of(xd.get_config()).kind == "weak"
    assert task_of(ped2.get_config("small")).kind == "predictive"
    with pytest.raises(ConfigError, match="config.kind = 'week'; nearest: 'weak'|config.kind"):
        task_of({"kind": "week"})


def test_the_task_of_a_folder(tmp_path):
    config_lib.save(ped2.get_config("small"), tmp_path)
    assert task_of_folder(tmp_path).kind == "predictive"
    with pytest.raises(DataError, match="expected the folder of a trained run, or of an export"):
        task_of_folder(tmp_path / "absent")


def test_asking_costs_no_jax():
    """`--help` and the check of a command line stay fast."""
    code = "import sys; from gfvad.tasks import task_of; task_of({}); print('jax' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
