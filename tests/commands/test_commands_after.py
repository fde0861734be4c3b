"""Every documented command is run, made small: here those that do not train, or more than that."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import media_files
import numpy as np
import pytest
from documented import (  # noqa: F401
    FRAMES,
    OWN_PAGE,
    REPOSITORY,
    TINY,
    TINY_FRAMES,
    canonical,
    data,
    environment,
    frames,
    in_order,
    of,
    run,
    with_folders,
)

from gfvad.ablation import comparison
from gfvad.ablation.arguments import parse_sweep as parse_ablation


def test_evaluating_and_scoring(environment, data, tmp_path):
    folder = f"{tmp_path}/runs/ucf-fused/seed0"
    train = (
        f"python -m gfvad.main --config=configs/ucf.py --config.data.root={data['/data/ucf_crime']}"
        f" --workdir={folder}"
    )
    assert run(train, environment, tmp_path, TINY).returncode == 0
    results = json.loads(Path(folder, "results.json").read_text())
    # the last checkpoint last, as training leaves it
    for command in sorted(of("after"), key=lambda c: "--checkpoint" not in c):
        # any run of the config
        command = command.replace("runs/fusion/settings/graph/seed0", "runs/ucf-fused/seed0")
        command = with_folders(command, data, tmp_path).replace(
            "/data/my_videos", f"{data['/data/ucf_crime']}/i3d_logits_test_dev.npz"
        )
        command = command.replace("--output=scores.npz", f"--output={tmp_path}/scores.npz")
        done = run(command, environment, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    again = json.loads(Path(folder, "results.json").read_text())
    assert again["records"] == results["records"]
    with (
        np.load(tmp_path / "scores.npz") as scores,
        np.load(Path(folder) / "scores.npz") as evaluated,
    ):
        assert set(scores.files) == set(evaluated.files)


@pytest.mark.parametrize("command", of("prepare"))
def test_preparing(command, environment, data, tmp_path):
    done = run(with_folders(command, data, tmp_path), environment, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", of("bench"))
def test_benchmarks(command, environment, tmp_path):
    small = {
        "fusion": ["--batch=2", "--repeats=1", "--n=8"],
        "data": ["--videos=8", "--units=16", "--crops=2", "--batch=4", "--steps=2"],
        "filter": [
            "--units=32",
            "--batch=2",
            "--width=16",
            "--experts=5",
            "--topk=2",
            "--bottleneck",
            "4",
            "--repeats=1",
        ],
        "evaluation": ["--videos=6", "--frames=3000", "--resamples=10", "--growth=50"],
        "coverage": ["--videos=6", "--trials=1", "--populations=even"],
        "ablate": [
            "--settings=2",
            "--seeds=1",
            "--steps=2",
            "--batch=8",
            "--train=16",
            "--test=6",
            "--runs=1",
        ],
    }[canonical(command).split()[2]]
    done = run(command, environment, tmp_path, small)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ablations(environment, data, tmp_path):
    """A sweep, then some of its settings by themselves: of one seed, so that there is no test over
    seeds.

    Of further sweeps the command line is read and checked; that their settings are sound
    tests/ablation/test_sweeps.py shows.
    """
    commands = of("ablation")
    trained = next(
        c
        for c in commands
        if "--sweep=modalities" in canonical(c) and "--config=ucf " in canonical(c)
    )
    for command in (trained, *(c for c in commands if c != trained)):
        command = re.sub(
            r"runs/fusion/settings/\S+( runs/\S+)*",
            "runs/modalities/settings/all runs/modalities/settings/text",
            command,
        )
        ablate = canonical(command).startswith("gfvad ablate")
        if "gfvad compare --config" in canonical(command):  # test_comparison below
            continue
        if ablate and command != trained:
            words = shlex.split(with_folders(command, data, tmp_path))
            assert parse_ablation([w for w in words if w.startswith("--")]) is not None
            continue
        extra = [*TINY, "--seeds=1"] if ablate else []
        extra += [] if re.search("compare (breakdown|summary)", command) else ["--resamples=20"]
        done = run(with_folders(command, data, tmp_path), environment, tmp_path, extra)
        assert done.returncode == 0, done.stdout + done.stderr
        said = (
            "ablation.csv"
            if ablate
            else "false alarms"
            if "breakdown" in command
            else "micro frame metrics"
        )
        assert said in done.stdout


def test_comparisons(environment, data, tmp_path):
    """Command lines of comparisons are read and checked; one is run, with one other model."""
    commands = [c for c in of("ablation") if "gfvad compare --config" in canonical(c)]
    for command in commands:
        words = shlex.split(with_folders(command, data, tmp_path))
        assert comparison.asked([w for w in words if w.startswith("--")]) is not None
    command = next(c for c in commands if "--config=ucf " in canonical(c) and "data.root" in c)
    command = re.sub(r"--models=\S+", "--models=foil_late", command)
    command = re.sub(r" --(against|seeds)=\S+", "", command)
    extra = [*TINY, "--seeds=1", "--resamples=20"]
    done = run(with_folders(command, data, tmp_path), environment, tmp_path, extra)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# Comparison ucf_crime" in done.stdout and "frames a second" in done.stdout
    assert "| `foil-late` | " in done.stdout and "| floor: centre of the video | " in done.stdout


def own_command(command: str, tmp_path: Path, frames: str) -> str:
    """A command of the page on videos, on tiny ones."""
    for placeholder, folder in (
        ("/data/fights", "fights"),
        ("/data/new_videos", "new"),
        ("runs/", "runs/"),
    ):
        command = re.sub(rf"(?<![\w/]){placeholder}", f"{tmp_path}/{folder}", command)
    return command.replace("/data/ped2", frames).replace(
        "/data/my_frames", f"{frames}/testing/frames"
    )


def test_from_videos_to_a_report(environment, frames, tmp_path):
    """The whole page, in its order: features, training, scores, report, stream, export; then the
    predictive model on frames."""
    pytest.importorskip("plotly", reason="plotly is not installed (launch/requirements-report.txt)")
    for name, count, kind_ in (
        ("fights/fight", 4, 0.0),
        ("fights/noFight", 4, 5.0),
        ("fights_other/fight", 2, 10.0),
        ("fights_other/noFight", 2, 15.0),
        ("new", 1, 2.0),
    ):
        for i in range(count):
            media_files.write_media(
                tmp_path / name / (f"clip {i}.mp4" if i else "film.mp4"),
                20,
                size=(64, 96),
                seed=int(i + kind_),
                sound=media_files.tone(0.8),
            )
    for command in in_order(OWN_PAGE):
        small = (
            TINY_FRAMES
            if re.search(FRAMES, command)
            else TINY
            if canonical(command).startswith("gfvad train")
            else []
        )
        if canonical(command).startswith("gfvad bench"):
            small = ["--paced=1", "--seconds=2", "--repeats=1"]
        done = run(own_command(command, tmp_path, frames), environment, tmp_path, small)
        assert done.returncode == 0, command + done.stdout + done.stderr
    runs = tmp_path / "runs"
    assert (runs / "fights/scores/report.html").is_file()
    rows = [(runs / "fights" / name / "scores.csv").read_text() for name in ("new", "elsewhere")]
    assert (
        rows[0].splitlines()[0] == rows[1].splitlines()[0]
        and len(rows[0].splitlines()) == len(rows[1].splitlines()) == 3
    )
    assert len((runs / "ped2/scores/scores.csv").read_text().splitlines()) > 10
    for command in (c for c in of("own") if c not in in_order(OWN_PAGE)):
        done = run(
            own_command(command, tmp_path, frames).replace("DIR", str(runs / "fights/scores")),
            environment,
            tmp_path,
        )
        assert done.returncode == 0, command + done.stdout + done.stderr


@pytest.mark.parametrize("command", of("evaluation"))
def test_evaluation_tools(command, environment, shared_data, tmp_path):
    done = run(command.replace("/data", str(shared_data)), environment, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", of("cluster"))
def test_cluster_scripts(command, environment, tmp_path):
    """Stand-ins for the schedulers' programs write down what they are asked to do."""
    answers = {"gcloud": 'case "$*" in *describe*) echo ACTIVE; esac', "git": "echo 123 HEAD"}
    for name in ("gcloud", "srun", "git", "kubectl"):
        tool = tmp_path / name
        write = f'printf "%s\\n" {name} "$@" >> "{tmp_path}/asked"'
        if name == "kubectl":
            write += f' && cat >> "{tmp_path}/asked"'
        tool.write_text(f"#!/bin/sh\n{write}\n{answers.get(name, '')}\n")
        tool.chmod(0o755)
    environment = environment | {
        "PATH": f"{tmp_path}:{environment['PATH']}",
        "SLURM_SUBMIT_DIR": str(REPOSITORY),
        "SLURM_JOB_ID": "documented",
        "POLL": "0.1",
    }
    words = shlex.split(command)
    if words[0] == "sbatch":
        while words[1].startswith("--"):
            del words[1]
        command = " ".join(["bash", *words[1:]])
    # the stand-in srun needs no accelerator build
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=REPOSITORY,
        env=environment | {"GFVAD_JAX": "jax"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text()
    assert "launch/local.sh" in asked or "JobSet" in asked
    given = words[words.index("--") + 1 :] if "--" in words else words
    assert all(word in asked for word in given if word.startswith("--"))
