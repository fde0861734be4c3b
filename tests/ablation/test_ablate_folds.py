"""Cross-validation by one command: an ablation a fold, then means over folds with paired tests."""

import csv
import json

import feature_folders as ff
import numpy as np
import pytest

from gfvad.ablation import folds
from gfvad.ablation.arguments import parse_sweep
from gfvad.ablation.groups import run_folder
from gfvad.base.types import DataError
from gfvad.measure import compare
from gfvad.measure.metrics import roc_auc
from gfvad.measure.results import SCHEMA, write_scores
from gfvad.tasks import task_of

SWEEP = """
def get_sweep(config):
    return {"base": "plain", "seeds": 2, "settings": {"plain": {}, "wide": {"model.embed_dim": 8}}}
"""


@pytest.fixture
def asked(repository, monkeypatch, tmp_path):
    """The command line, on ten videos in two folds."""
    monkeypatch.chdir(repository)
    root, names = tmp_path / "ucf", [f"Abuse{i:03}_x264" for i in range(1, 6)]
    names += [f"Normal_Videos{i:03}_x264" for i in range(1, 6)]
    root.mkdir()
    np.savez(root / "i3d_logits_train.npz", x=ff.features(10, 40, 6, dtype=np.float16), name=names)
    ff.write_captions(root / "captions.json", **dict.fromkeys(names, 8.0))
    spans = [f"{name},{30 + 10 * i},120" for i, name in enumerate(names[:5])]
    ff.write_lines(root / "train_spans.csv", "name,first_frame,last_frame", *spans)
    (tmp_path / "own.py").write_text(SWEEP)
    words = ["--config=ucf_folds", f"--sweep={tmp_path / 'own.py'}", "--resamples=50"]
    words += [f"--workdir={tmp_path / 'out'}", f"--config.data.root={root}"]
    words += ["--config.data.folds=2", "--config.data.text_encoder=hash"]
    words += [f"--config.data.cache_dir={tmp_path / 'cache'}"]
    return parse_sweep(words)


def scored(arguments, only=None) -> int:
    """In place of training: scores by chance, better ones of `wide`."""
    config = folds.base_config(arguments)
    labels = task_of(config).frame_labels(None, config)
    for setting in arguments.sweep.settings:
        for seed in arguments.sweep.seeds if only in (None, setting.name) else ():
            folder = run_folder(arguments.workdir, setting.name, seed)
            folder.mkdir(parents=True)
            fold = config.data.get("fold", 0)
            rng = np.random.default_rng([seed, fold])
            gain = 2.0 if setting.name == "wide" else 1.0
            scores = {n: rng.normal(size=len(y)) + gain * y for n, y in sorted(labels.items())}
            write_scores(folder / "scores.npz", scores)
            named = {
                "floor/the video's own label": 0.75 + 0.1 * fold,
                "other": 1.0,
            }
            tree = {"schema": SCHEMA, "records": [], "named": named}
            (folder / "results.json").write_text(json.dumps(tree))
    return 0


def test_folds_are_joined(asked, capsys):
    """Each value against plain numpy; floors beside; the page says both tests."""
    assert folds.wanted(asked) == 2
    assert folds.ablate(asked, scored, print) == 0
    with open(asked.workdir / "folds.csv") as file:
        rows = {(r["setting"], r["seed"], r["metric"]): r["value"] for r in csv.DictReader(file)}
    value = lambda *key: float(rows[key])
    expected = {name: np.zeros((2, 2)) for name in ("plain", "wide")}
    drawn = {name: np.zeros(50) for name in expected}
    for fold in range(2):
        config = parse_sweep([*asked.command, f"--config.data.fold={fold}"])
        config = folds.base_config(config)
        labels = task_of(config).frame_labels(None, config)
        videos = compare.Videos(labels, 50, seed=fold)
        for name in expected:
            for seed in range(2):
                folder = run_folder(asked.workdir / f"fold{fold}", name, seed)
                with np.load(folder / "scores.npz") as found:
                    scores = {video: found[video] for video in labels}
                s, y = (np.concatenate([x[v] for v in labels]) for x in (scores, labels))
                expected[name][fold, seed] = roc_auc(s, y)
                drawn[name] += videos.resample(scores).resamples["auc"] / 4
    for name, values in expected.items():
        for k in range(2):
            assert value(name, str(k), "auc") == pytest.approx(values.mean(0)[k], abs=1e-12)
            assert value(name, f"fold {k}", "auc") == pytest.approx(values.mean(1)[k], abs=1e-12)
    differences = drawn["wide"] - drawn["plain"]
    assert value("wide", "low_bootstrap", "auc") == pytest.approx(np.percentile(differences, 2.5))
    assert value("wide", "p_bootstrap", "auc") == pytest.approx(compare.bootstrap_p(differences))
    p = compare.paired_t(expected["wide"].mean(1), expected["plain"].mean(1))[0]
    assert value("wide", "p_folds", "auc") == pytest.approx(p)
    assert value("floor/the video's own label", "mean", "auc") == pytest.approx(0.8)
    assert ("plain", "p_folds", "auc") not in rows and ("other", "mean", "auc") not in rows
    page = (asked.workdir / "folds.md").read_text()
    assert page in capsys.readouterr().out
    assert "2 folds, 2 seeds from 0" in page and "the video's own label | 0.8000" in page


def test_a_base_that_is_not_finished_is_named(asked):
    with pytest.raises(DataError, match="base setting 'plain' is not finished in every fold"):
        folds.ablate(asked, lambda fold: scored(fold, "wide"), print)


def test_a_fold_that_fails_ends_it(asked):
    taken = []
    failing = lambda fold: taken.append(fold.workdir.name) or 130
    assert folds.ablate(asked, failing, print) == 130 and taken == ["fold0"]


def test_one_fold_is_an_ordinary_ablation(asked):
    assert folds.wanted(parse_sweep([*asked.command, "--config.data.fold=1"])) == 0
