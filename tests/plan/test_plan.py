"""Steps compiled for TPUs by their own compiler, on the processor of the tests; the command."""

import json
import shlex

import documented
import jax
import pytest

from gfvad.commands import plan as command
from gfvad.plan import compiling
from gfvad.plan.chips import topology
from gfvad.plan.roofline import Counted
from gfvad.tasks import parse, task_of
from gfvad.train.optim import make_optimiser
from gfvad.train.state import shapes_from

needs_compiler = pytest.mark.skipif(
    not compiling.has_compiler(), reason="needs the TPU's compiler (pip install 'jax[tpu]')"
)
XD = ("--config=xd", "--config.train.batch_size=64")


def outlined(*words):
    config = parse(words).config
    return config, task_of(config).outline(config, {})


def of_training(name, *words):
    config, outline = outlined(*words)
    place = topology(name)
    batch = compiling.global_batch(config, place.chips)
    return compiling.training_step(config, outline, place, batch)


@needs_compiler
@pytest.mark.parametrize("name", ["v5e:2x2", "v5e:16x16", "v5p:2x2x2"])
@pytest.mark.parametrize("words", [XD, ("--config=ucf",), ("--config=avenue_tracks",)])
def test_training_steps_compile_fit_and_say_little(name, words):
    """Counts of what is there, sums of the loss, gradients with metrics: three exchanges, and no
    more bytes than parameters and a few numbers have."""
    counted = of_training(name, *words)
    assert counted.held < topology(name).chip.memory
    assert set(counted.collectives) == {"all-reduce"}
    found = counted.collectives["all-reduce"]
    assert found.count <= 3
    config, outline = outlined(*words)
    assert found.bytes < 1.2 * parameter_bytes(config, outline) + 1000


def parameter_bytes(config, outline):
    transform = make_optimiser(config.optim, config.train.steps).transform
    members = compiling.members_of(config)
    params = shapes_from(outline.model, transform, outline.inputs, members).params
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(params))


@needs_compiler
def test_the_filter_is_lowered_as_a_tpu_would_choose_it():
    """By the platform compiled for: on this host `blocks` would be taken of so many units, which
    loops; `grouped` needs what no TPU has under vmap."""
    words = ("--config=xd", "--config.model.filter.bottleneck=192")
    config, outline = outlined(*words, "--config.model.filter.modalities=('audio',)")
    mapper = compiling._mapper(topology("v5e:2x2"))
    transform = make_optimiser(config.optim, config.train.steps).transform
    state = shapes_from(outline.model, transform, outline.inputs)
    mapped = mapper.map_eval(outline.eval_step)
    text = mapped.lower(*mapper.described(state, outline.eval_batch(8))).as_text()
    assert "ragged" not in text and f"x{64 * 192}xf32" in text


@needs_compiler
def test_the_command_writes_what_it_prints(tmp_path, capsys):
    words = ["--config=avenue_tracks", "--topology=v5e:2x2", "--topology=h100:1"]
    assert command.main([*words, f"--out={tmp_path}"]) == 0
    known = json.loads((tmp_path / "plan.json").read_text())
    assert [each["compiles"] for each in known] == [True, True]
    assert known[0]["training"]["fits"] and known[0]["training_hours"] > 0
    assert (tmp_path / "plan.md").read_text() in capsys.readouterr().out
    assert (tmp_path / "plan.csv").read_text().startswith("topology,metric,value\n")


@pytest.mark.parametrize("line", documented.of("plan"))
def test_documented_commands(line, tmp_path, monkeypatch, capsys):
    """Everything but the compiler, which the tests above run: minutes for the largest."""
    counted = Counted(1e9, 1e9, 1e8, 1e8, 1e9, 1e7, {}, 1.0)
    monkeypatch.setattr(compiling, "devices", lambda place: [])
    for step in ("training_step", "evaluation_step"):
        monkeypatch.setattr(compiling, step, lambda *given: counted)
    monkeypatch.setattr(compiling, "lowers_for_cuda", lambda *given: ("", {"flops": 1e9}))
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)
    assert command.main(words[words.index("plan") + 1 :]) == 0
    assert "# Plan " in capsys.readouterr().out
    assert (tmp_path / "plans").exists() == ("--out=" in line)


def test_a_step_lowers_for_cuda():
    config, outline = outlined("--config=avenue_tracks")
    reason, written = compiling.lowers_for_cuda(config, outline, 8)
    assert not reason and written["flops"] > 0


@pytest.mark.parametrize("task", ["xd", "ucf", "avenue_tracks", "ped2:small", "ped2:paper"])
def test_steps_are_outlined_without_data(task):
    """Of every kind of task: shapes of a batch, as the task's own streams give them."""
    _, outline = outlined(f"--config={task}")
    leaves = jax.tree.leaves(outline.batch(8))
    assert leaves and all(x.shape[0] == 8 for x in leaves)
    assert jax.tree.leaves(outline.eval_batch(2))


@pytest.mark.parametrize(
    "words, message",
    [
        (["--config=xd"], "--topology=... is missing"),
        (["--topology=v5e:2x2"], "--config=... is missing"),
        (["--config=xd", "--topology=v7:2x2"], "'v7' is not known"),
        (["--config=xd", "--topology=h100:1", "--widths=rgb"], "expected NAME:D"),
        (
            ["--config=xd", "--topology=h100:1", "--config.data.modalities=('smell',)"],
            "--widths: nothing of 'smell'",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words, message, capsys):
    assert command.main(words) == 2
    assert message in capsys.readouterr().err


def test_without_the_compiler(monkeypatch, capsys):
    monkeypatch.setattr(compiling, "has_compiler", lambda: False)
    assert command.main(["--config=xd", "--topology=v5e:2x2"]) == 2
    assert "the extra 'tpu' of gfvad: pip install 'jax[tpu]" in capsys.readouterr().err
