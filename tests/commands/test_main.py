"""The main job through its command line: the simulated default, what it leaves behind, and what
it refuses."""

import contextlib
import json

import numpy as np
import pytest
from documented import DRAWN as TINY

from gfvad import main
from gfvad.base.errors import EXIT_BAD_INPUT


@pytest.fixture(autouse=True)
def _in_checkout(repository, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(repository)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def run(cache, *argv):
    return main.main([f"--config.data.cache_dir={cache}", *argv])


@pytest.fixture(scope="module")
def trained(repository, cache, tmp_path_factory):
    """A tiny run on the simulated set with all extras on: the filter, three modalities, the test
    split followed."""
    workdir = tmp_path_factory.mktemp("run")
    variant = f"--config={repository}/configs/xd.py:audio_visual_text+filter"
    small = [
        "--config.model.filter.experts=3",
        "--config.model.filter.topk=2",
        "--config.model.filter.modalities=('rgb',)",
        "--config.model.fusion.rank=1",
        "--config.model.fusion.channels=1",
        "--config.data.simulated.units=24",
        "--config.eval.every_on_test=True",
    ]
    with (
        open(workdir / "said", "w") as said,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        assert run(cache, variant, f"--workdir={workdir}", *TINY, *small) == 0
    return workdir


def test_results_say_what_the_highest_score_comes_from(trained):
    results = json.loads((trained / "results.json").read_text())
    said, scores = results["explained"], np.load(trained / "scores.npz")
    assert said["video"] == max(scores.files, key=lambda name: scores[name].max())
    assert sum(said["parts"].values()) == pytest.approx(said["value"], abs=1e-4)
    assert 1 / (1 + np.exp(-said["value"])) == pytest.approx(scores[said["video"]].max(), rel=1e-4)
    page = (trained / "results.md").read_text()
    assert said["relations"][0]["words"] in page and "what the highest score comes from" in page


def test_results_say_what_they_are(trained):
    results = json.loads((trained / "results.json").read_text())
    assert results["dataset"] == "xd_violence-simulated" and results["split"] == "test"
    assert {
        "seed",
        "config_hash",
        "code_version",
        "device",
        "wall_seconds",
        "ground_truth_frames",
        "bayes_optimal",
    } <= set(results)
    head = results["headline"]
    assert (
        head["metric"],
        head["aggregation"],
        head["normalisation"],
        head["smoothing"],
        head["checkpoint"],
    ) == ("ap", "micro", "none", "none", "last")
    assert {r["checkpoint"] for r in results["records"]} == {"last", "validation-best"}
    assert {r["checkpoint"] for r in results["extras"]} == {"best-on-test"}
    assert {"auc", "ap", "pr_trapezoid", "eer", "far@0.5", "map@0.5"} <= {
        r["metric"] for r in results["records"]
    }
    with np.load(trained / "scores.npz") as scores:
        assert (
            len(scores.files) == 8
            and sum(len(scores[name]) for name in scores.files) == results["ground_truth_frames"]
        )


def test_figures_and_logs_are_there(trained):
    found = {p.name for p in (trained / "figures").iterdir()}
    assert {
        "score_timelines.png",
        "learning_curves.png",
        "fused_graph.png",
        "expert_usage.png",
    } <= found
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert {"train", "validation"} <= {row["kind"] for row in rows}
    assert list((trained / "tensorboard").iterdir())


def test_the_simulated_set_is_announced(trained):
    said = (trained / "said").read_text()
    # before training, and under the table
    assert "SIMULATED DATA" in said and "SIMULATED data" in said


def test_refusals(repository, cache, tmp_path, capsys):
    config = f"--config={repository}/configs/xd.py"
    cases = {
        (config, "--config.data.require_real=True"): ["docs/data.md", "config.data.root"],
        (config, f"--config.data.root={tmp_path}/nothing"): [f"{tmp_path}/nothing"],
        (f"--config={repository}/configs/ucf.py",): ["ucf_crime", "docs/data.md"],
        (config, *TINY, "--config.train.batch_size=7", "--config.parallel.devices=2"): [
            "train.batch_size = 7",
            "2 model copies",
        ],
        (config, "--mode=evaluate", f"--workdir={tmp_path}/none", *TINY): [
            f"{tmp_path}/none/checkpoints",
            "train first",
        ],
        (config, "--mode=score", f"--workdir={tmp_path}/none", "--input=x", "--output=y.npz"): [
            f"{tmp_path}/none/checkpoints"
        ],
        (config, f"--config.data.records={tmp_path}"): [str(tmp_path)],
    }
    for argv, words in cases.items():
        assert run(cache, *argv) == EXIT_BAD_INPUT, argv
        said = capsys.readouterr().err
        assert all(word in said for word in words), said


def test_another_config_does_not_touch_a_run(repository, cache, trained, capsys):
    before = {p: p.read_bytes() for p in (trained / "results.json", trained / "config.json")}
    assert (
        run(cache, f"--config={repository}/configs/xd.py:rgb", f"--workdir={trained}", *TINY)
        == EXIT_BAD_INPUT
    )
    assert "another configuration" in capsys.readouterr().err
    assert all(p.read_bytes() == content for p, content in before.items())


@pytest.mark.parametrize(
    "name, content",
    [("config.json", '{"name": "my-app"}'), ("results.md", "# mine"), ("metrics.jsonl", "mine\n")],
)
@pytest.mark.parametrize("config", ["xd", "ped2"])
def test_a_folder_of_somebody_else_is_no_workdir(cache, tmp_path, capsys, name, content, config):
    """Both kinds of model: refused before any data is looked for."""
    (tmp_path / name).write_text(content)
    assert run(cache, f"--config=configs/{config}.py", f"--workdir={tmp_path}") == EXIT_BAD_INPUT
    assert (
        f"{tmp_path / name}: a" in capsys.readouterr().err
        and [p.name for p in tmp_path.iterdir()] == [name]
        and (tmp_path / name).read_text() == content
    )


def test_evaluation_again_keeps_a_changed_page(trained, cache, capsys):
    page = trained / "results.md"
    before = page.read_text()
    page.write_text(before + "my remark\n")
    assert (
        run(cache, "--mode=evaluate", f"--workdir={trained}", f"--config={'configs/xd.py'}")
        == EXIT_BAD_INPUT
    )
    assert (
        "results.md: changed since gfvad train wrote it" in capsys.readouterr().err
        and page.read_text().endswith("my remark\n")
    )
    page.write_text(before)
