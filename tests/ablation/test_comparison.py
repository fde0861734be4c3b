"""`gfvad compare --config`: which models a command line takes, and the table of a comparison."""

import csv
import json

import numpy as np
import pytest
import walkers
from registered import leave_no_trace
from test_ablate_folds import asked as asked_folds  # noqa: F401
from test_ablate_folds import scored

from gfvad.ablation import comparison, costs, folds, groups, run
from gfvad.ablation.groups import run_folder
from gfvad.ablation.sweep import Source, Wanted, read_sweep
from gfvad.base.types import ConfigError
from gfvad.commands import compare as command
from gfvad.measure import compare
from gfvad.settings import config as config_lib
from gfvad.tasks import task_of

UCF = Source("configs/ucf.py", "", ())
SWEEP = "configs/sweeps/comparison.py"
COST = costs.Cost(1234, 0.5, 2.0, 12.0, 1e6)


@pytest.fixture(autouse=True)
def checkout(repository, monkeypatch):
    monkeypatch.chdir(repository)


def names(*models, against="", source=UCF):
    sweep = read_sweep(SWEEP, source, Wanted(1, models, against))
    return sweep.base, [setting.name for setting in sweep.settings]


def test_all_models_learn_as_long_as_ours():
    sweep = read_sweep(SWEEP, UCF)
    found = {s.name: s.config for s in sweep.settings}
    assert {"graph", "ur-dmu", "rtfm", "hl-net", "foil-late", "foil-mtn_concat"} <= set(found)
    ours = found["graph"].train
    for config in found.values():
        assert (config.train.steps, config.train.batch_size) == (ours.steps, ours.batch_size)
    assert found["ur-dmu"].optim.learning_rate == 1e-4  # what it published


def test_models_by_name_variant_and_file(tmp_path):
    assert names("ur_dmu") == ("graph", ["graph", "ur-dmu"])
    assert names("near", "foil-late", against="near") == ("near", ["near", "foil-late"])
    assert names("near", against="near+events") == ("near+events", ["near+events", "near"])
    assert len(names("all", "near")[1]) == len(names("all")[1]) + 1 == len(names()[1]) + 1
    own = tmp_path / "own.py"
    own.write_text("def get_sweep(config):\n    return {'settings': {'mine': {'seed_': 1}}}\n")
    with pytest.raises(ConfigError, match="setting 'mine': no such key 'seed_'"):
        names(str(own))
    own.write_text(
        "def get_sweep(config):\n    return {'settings': {'mine': {}}, 'overrides': {'seed': 1}}\n"
    )
    with pytest.raises(ConfigError, match="returns 'overrides', which would hold"):
        names(str(own))
    own.write_text(
        "def get_sweep(config):\n    return {'settings': {'mine': {'model.embed_dim': 4}}}\n"
    )
    assert names("rtfm", str(own)) == ("graph", ["graph", "rtfm", "mine"])
    with pytest.raises(ConfigError, match="--models: 'ur_dmuu'; did you mean 'ur-dmu'.*no variant"):
        names("ur_dmuu")


def test_the_example_joins_a_comparison():
    with leave_no_trace():
        found = names("rtfm", "docs/examples/own_comparator.py")
    assert found == ("graph", ["graph", "rtfm", "product"])


def test_one_feature_set_leaves_out_what_needs_two():
    sweep = read_sweep(SWEEP, Source("configs/xd.py", "rgb", ()))
    assert all(why.startswith("impossible here") for why in sweep.left_out.values())
    assert "graph" in [s.name for s in sweep.settings]


def test_one_split(tmp_path, monkeypatch, capsys):
    """Values, intervals and tests against those of measure/compare.py; costs, floors and what
    papers report beside; costs are measured once."""
    root, measured = walkers.write_set(tmp_path / "set"), []
    words = [
        "--config=avenue_tracks",
        f"--config.data.root={root}",
        f"--workdir={tmp_path / 'out'}",
    ]
    (tmp_path / "own.py").write_text(
        "def get_sweep(config):\n    return {'seeds': 2, 'settings': {'plain': {}, 'wide':"
        " {'model.nearest': 2}}}\n"
    )
    words += [f"--sweep={tmp_path / 'own.py'}", "--resamples=50"]
    arguments = comparison.asked(words)
    monkeypatch.setattr(run, "train_missing", lambda plan, only, say: scored_split(arguments))
    monkeypatch.setattr(costs, "measure", lambda folder: measured.append(folder) or COST)
    assert command.main([*words[:2], "--resamples", "50", *words[2:4]]) == 0
    with open(tmp_path / "out" / "comparison.csv") as file:
        rows = {(r["setting"], r["seed"], r["metric"]): r["value"] for r in csv.DictReader(file)}
    labels = json.loads((tmp_path / "labels.json").read_text())
    videos = compare.Videos({n: np.array(y, np.uint8) for n, y in labels.items()}, 50)
    runs = {}
    for name in ("plain", "wide"):
        folders = [run_folder(arguments.workdir, name, seed) for seed in range(2)]
        scores = [dict(np.load(folder / "scores.npz")) for folder in folders]
        runs[name] = {seed: videos.resample(s) for seed, s in enumerate(scores)}
    expected = compare.compare(runs["wide"], runs["plain"], "auc")
    value = lambda *key: float(rows[key])
    assert value("wide", "p_bootstrap", "auc") == pytest.approx(expected.bootstrap_p)
    assert value("wide", "p_seeds", "auc") == pytest.approx(expected.t_p)
    drawn = np.mean([r.resamples["auc"] for r in runs["plain"].values()], axis=0)
    assert value("plain", "low", "auc") == pytest.approx(np.percentile(drawn, 2.5))
    assert value("plain", "", "parameters") == 1234 and len(measured) == 2
    assert value("floor/the video's own label", "", "auc") == 0.75
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert page in capsys.readouterr().out
    assert "| **`plain`** (ours) | 1,234 | 12 | 1,000,000 | " in page
    assert "What papers report" in page and "| MemAE | auc | 83.3 |" in page
    assert command.main(words) == 0 and len(measured) == 2
    (run_folder(arguments.workdir, "wide", 1) / "results.json").unlink()  # as of a seed that failed
    assert command.main(words) == 0
    assert "- `wide`: not finished, or not finite, with 1 of 2 seeds" in capsys.readouterr().out


def scored_split(arguments):
    """In place of training: scores by chance, of the test split."""
    if (arguments.workdir / groups.SETTINGS).is_dir():  # nothing is missing
        return
    config = folds.base_config(arguments).copy_and_resolve_references()
    labels = task_of(config).frame_labels(arguments.workdir, config)
    path = arguments.workdir.parent / "labels.json"
    path.write_text(json.dumps({n: y.tolist() for n, y in labels.items()}))
    scored(arguments)
    for setting in arguments.sweep.settings:
        for seed in arguments.sweep.seeds:
            folder = run_folder(arguments.workdir, setting.name, seed)
            config_lib.save(groups.with_seed(setting.config, seed), folder)
            results = folder / "results.json"
            results.write_text(json.dumps(json.loads(results.read_text()) | {"label": "made up"}))


def test_folds(asked_folds, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(costs, "measure", lambda folder: COST)
    found = []
    assert folds.ablate(asked_folds, scored, print, found.append) == 0
    comparison.write(asked_folds, found[0])
    with open(tmp_path / "out" / "comparison.csv") as file:
        rows = {(r["setting"], r["seed"], r["metric"]): r["value"] for r in csv.DictReader(file)}
    with open(tmp_path / "out" / "folds.csv") as file:
        other = {(r["setting"], r["seed"], r["metric"]): r["value"] for r in csv.DictReader(file)}
    for key in ("p_folds", "p_bootstrap", "low_bootstrap", "0", "1"):
        assert rows["wide", key, "auc"] == other["wide", key, "auc"]
    assert float(rows["floor/the video's own label", "", "auc"]) == pytest.approx(0.8)
    assert "means over 2 folds" in capsys.readouterr().out


def test_a_file_of_somebody_else_is_refused(asked_folds, tmp_path):  # noqa: F811
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "comparison.md").write_text("my notes\n")
    words = [w for w in asked_folds.command if not w.startswith("--models")]
    assert command.main(words) != 0
    assert (tmp_path / "out" / "comparison.md").read_text() == "my notes\n"
