"""The predictive model in an ablation: each setting and seed gets the numbers of its own run, also
of a filter whose memory is written while training, and leaves an ordinary run folder."""

import json

import jax
import numpy as np
import pytest
import tiny_clips

from gfvad import main
from gfvad.ablation.groups import plan
from gfvad.ablation.sweep import Source, read_sweep
from gfvad.commands import ablate
from gfvad.settings import config as config_lib
from gfvad.settings.command_line import Arguments
from gfvad.tasks.prediction import trained
from gfvad.tasks.prediction.run import open_run
from gfvad.train import loop, parallel
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.loop import SingleRun

# the same formulas in another order of float32 sums, as in test_ablate.py
TOLERANCE = 1e-5
SWEEP = """def get_sweep(config):
    return {"settings": {
        "base": {},
        "other": {"loss.contrast": 0.3, "optim.learning_rate": 1e-2, "score.temporal": 5},
    }, "seeds": 2}
"""
CONFIG = "configs/ped2.py:small+mnad+no_text+no_motion"
QUICK = {
    "optim__name": "sgd",  # adam would make noise of gradients near 0 as large as the others
    "model__filter__memory_items": 3,
    "score__perturbations": 1,
    "eval__figures": False,
}


@pytest.fixture(scope="module")
def ablated(tmp_path_factory, repository):
    """(folder of a finished ablation, flags of its config)."""
    folder = tmp_path_factory.mktemp("ablation")
    root = tiny_clips.write_set(folder / "set", captions=False)
    (folder / "sweep.py").write_text(SWEEP)
    flags = [f"--config.data.root={root}", *tiny_clips.flags(**QUICK)]
    words = [f"--sweep={folder / 'sweep.py'}", f"--workdir={folder / 'out'}", "--resamples=20"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        patch.setenv("GFVAD_CACHE", str(folder / "cache"))
        assert ablate.main([f"--config={CONFIG}", *flags, *words]) == 0
        yield folder / "out", flags


def test_settings_that_differ_in_weights_and_in_the_score_share_a_program(ablated, tmp_path):
    sweep = read_sweep(
        ablated[0].parent / "sweep.py", Source("configs/ped2.py", "small+mnad", tuple(ablated[1]))
    )
    assert [(len(g.settings), g.seeds) for g in plan(tmp_path, sweep.settings, (0, 1), 32)] == [
        (2, (0, 1))
    ]


def test_a_setting_gets_its_own_runs_numbers(ablated, tmp_path):
    """Parameters, the written memory and the log of one setting and seed."""
    folder = ablated[0] / "settings" / "other" / "seed1"
    config = config_lib.load(str(folder))
    arguments = Arguments(config, "train", tmp_path, "last", None, None, None)
    mapper = parallel.make_mapper("pmap", 1)
    opened = open_run(arguments, mapper, lambda text: None)
    alone = loop.train(SingleRun(opened.training()), tmp_path)
    with Checkpoints(folder / loop.CHECKPOINTS, config, trained.identity(opened.train)) as kept:
        found = kept.restore("last", alone.state)
    assert found.step == config.train.steps and "memory" in found.state.constants
    for mine, own in zip(jax.tree.leaves(found.state), jax.tree.leaves(alone.state), strict=True):
        np.testing.assert_allclose(mine, own, rtol=0, atol=TOLERANCE)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(r["step"], r["kind"]) for r in rows] == [(r["step"], r["kind"]) for r in alone.history]
    for row, own in zip(rows, alone.history):
        for name in own.keys() - {"kind"}:
            np.testing.assert_allclose(row[name], own[name], rtol=2e-4, atol=1e-5, err_msg=name)


def test_what_is_left_behind(ablated, capsys):
    """A table of all runs; run folders that are evaluated again to the same results."""
    out = ablated[0]
    page = (out / "ablation.md").read_text()
    assert "Base: `base`, frames; 4 steps; 2 seeds" in page and "| `other` | 2 |" in page
    assert not list((out / "groups").iterdir())
    run = out / "settings" / "base" / "seed0"
    before = json.loads((run / "results.json").read_text())
    assert main.main(["--mode=evaluate", f"--workdir={run}"]) == 0
    after = json.loads((run / "results.json").read_text())
    assert after["records"] == before["records"] and after["weights"] == before["weights"]
    capsys.readouterr()
