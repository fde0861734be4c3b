"""Graph novelty in an ablation: settings and seeds of one structure are fitted side by side, each
with its own bank, to the numbers of its own run."""

import json

import jax
import numpy as np
import pytest
import walkers

from gfvad import main
from gfvad.ablation.groups import plan
from gfvad.ablation.sweep import Source, read_sweep
from gfvad.commands import ablate
from gfvad.settings import config as config_lib
from gfvad.tasks.novelty.opened import restore
from gfvad.tasks.novelty.run import NoveltyRun
from gfvad.train import parallel

SWEEP = """def get_sweep(config):
    return {"settings": {
        "all": {},
        "quick": {"optim.learning_rate": 0.1, "score.reach": 2},
        "one": {"model.terms": ("velocity",)},
    }, "seeds": 2}
"""


@pytest.fixture(scope="module")
def ablated(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("ablation")
    data = walkers.write_set(folder / "tracks")
    (folder / "sweep.py").write_text(SWEEP)
    flags = [f"--config.data.root={data}", *walkers.FLAGS]
    words = [f"--sweep={folder / 'sweep.py'}", f"--workdir={folder / 'out'}", "--resamples=20"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        assert ablate.main(["--config=shanghaitech_tracks", *flags, *words]) == 0
        yield folder / "out", flags


def test_what_differs_in_scores_and_rates_shares_a_program(ablated, tmp_path):
    source = Source("configs/shanghaitech_tracks.py", "", tuple(ablated[1]))
    sweep = read_sweep(ablated[0].parent / "sweep.py", source)
    found = plan(tmp_path, sweep.settings, (0, 1), 32)
    assert sorted(len(group.settings) for group in found) == [1, 2]


@pytest.mark.parametrize("setting, seed", [("all", 0), ("quick", 1), ("one", 1)])
def test_a_setting_gets_its_own_runs_numbers(ablated, tmp_path, setting, seed):
    out, flags = ablated
    folder = out / "settings" / setting / f"seed{seed}"
    differs = {
        "all": [],
        "quick": ["--config.optim.learning_rate=0.1", "--config.score.reach=2"],
        "one": ["--config.model.terms=('velocity',)"],
    }[setting]
    alone = [f"--workdir={tmp_path / 'run'}", f"--config.seed={seed}", *flags, *differs]
    assert main.main(["train", "--config=shanghaitech_tracks", *alone]) == 0
    states = []
    for run in (folder, tmp_path / "run"):
        config = config_lib.load(str(run))
        from gfvad.settings.command_line import Arguments

        opened = NoveltyRun.open(
            Arguments(config, "train", run, "last", None, None, None),
            parallel.make_mapper("pmap", 1),
            lambda text: None,
        )
        training = opened.training()
        states.append(restore(config, run, "last", training.model, training.identity).state)
    for mine, own in zip(*(jax.tree.leaves(s.params) for s in states), strict=True):
        np.testing.assert_allclose(mine, own, rtol=0, atol=1e-5)
    for mine, own in zip(*(jax.tree.leaves(s.constants) for s in states), strict=True):
        assert np.array_equal(mine, own)  # the bank of its seed
    scores = [dict(np.load(run / "scores.npz")) for run in (folder, tmp_path / "run")]
    for name, x in scores[0].items():
        np.testing.assert_allclose(x, scores[1][name], atol=1e-4)


def test_runs_are_ordinary_ones_and_the_table_has_all_settings(ablated, capsys):
    out, _ = ablated
    page = (out / "ablation.md").read_text()
    assert all(f"`{name}`" in page for name in ("all", "quick", "one"))
    run = out / "settings" / "all" / "seed0"
    before = json.loads((run / "results.json").read_text())
    assert before["named"] and main.main(["evaluate", f"--workdir={run}"]) == 0
    after = json.loads((run / "results.json").read_text())
    assert after["records"] == before["records"]
    assert main.main(["report", str(out)]) == 0


def test_without_labels_there_is_nothing_to_compare(ablated, tmp_path, capsys):
    out, flags = ablated
    words = [f"--sweep={out.parent / 'sweep.py'}", f"--workdir={tmp_path / 'x'}"]
    more = ["--config=shanghaitech_tracks", *flags, "--config.data.test=", *words]
    assert main.main(["ablate", *more]) == 2
    assert "no labelled test split" in capsys.readouterr().err
