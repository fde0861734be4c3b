"""Ablations of several folds joined into one table."""

import csv
import json
import shlex

import documented
import numpy as np
import pytest
from scipy import stats

from gfvad.base.types import ConfigError, DataError
from gfvad.commands import compare
from gfvad.measure import folds

HEADER = (
    "setting",
    "seed",
    "metric",
    "aggregation",
    "normalisation",
    "smoothing",
    "checkpoint",
    "value",
)


def ablation(folder, values, base="all", seeds=(0, 1, 2), metrics=("auc_video",)):
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps({"base": base}))
    with (folder / "ablation.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for name, row in values.items():
            for seed, value in zip(seeds, row):
                for metric in metrics:
                    writer.writerow((name, seed, metric, "micro", "none", "none", "last", value))
                    writer.writerow((name, seed, metric, "macro", "none", "none", "last", 9))
    return folder


def test_means_and_test_over_folds(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.uniform(0.5, 0.9, (4, 2, 3))
    made = [
        ablation(
            tmp_path / f"f{k}", {"all": v[0], "sound": v[1]} | ({"once": v[1]} if k == 0 else {})
        )
        for k, v in enumerate(values)
    ]
    whole, sound = folds.join(made, "auc_video")
    np.testing.assert_allclose(whole.values, values[:, 0])
    assert (whole.name, sound.name) == ("all", "sound") and np.isnan(whole.difference)
    assert sound.difference == pytest.approx((values[:, 1] - values[:, 0]).mean())
    assert sound.p == pytest.approx(
        stats.ttest_rel(values[:, 1].mean(1), values[:, 0].mean(1)).pvalue
    )
    text = folds.joined_table([whole, sound], "auc_video")
    assert (
        "AUC of whole videos by their peaks, 4 folds x 3 seeds" in text
        and f"{values[:, 1].mean():.4f} ± {values[:, 1].std(ddof=1):.4f}" in text
    )
    assert folds.joined_table(folds.join(made[::-1], "auc_video"), "auc_video").count(
        "|"
    ) == text.count("|")


def test_command_line(tmp_path, capsys):
    made = [
        str(ablation(tmp_path / f"f{k}", {"all": [0.5 + k / 10] * 3, "sound": [0.4] * 3}))
        for k in range(2)
    ]
    assert compare.main(["folds", *made, "--metric", "auc_video"]) == 0
    assert "| `sound` | 6 | 0.4000" in capsys.readouterr().out
    assert (
        compare.main(["folds", *made]) == 2
        and "no 'auc' of 'all'; did you mean 'auc_video'" in capsys.readouterr().err
    )


def test_what_cannot_be_joined(tmp_path):
    one = ablation(tmp_path / "one", {"all": [0.5] * 3})
    for name, more, message in (
        ("base", {"base": "other"}, "base 'other'"),
        ("seeds", {"seeds": (0, 1, 5)}, r"seeds \[0, 1, 5\]; expected those of"),
    ):
        other = ablation(tmp_path / name, {"all": [0.5] * 3, "other": [0.5] * 3}, **more)
        with pytest.raises(DataError, match=message):
            folds.join([one, other], "auc_video")
    with pytest.raises(DataError, match="no finished ablation"):
        folds.join([one, tmp_path], "auc_video")
    with pytest.raises(ConfigError, match="1 folds: expected the folders of two"):
        folds.join([one], "auc_video")


@pytest.mark.parametrize("command", documented.of("folds"))
def test_the_documented_command(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)[3:]
    for k, folder in enumerate(words):
        ablation(
            tmp_path / folder,
            {"all": [0.5 + k / 10] * 3, "audio": [0.4] * 3},
            metrics=("auc", "auc_video"),
        )
    assert (
        compare.main(["folds", *words]) == 0
        and capsys.readouterr().out.count("5 folds x 3 seeds") == 2
    )
