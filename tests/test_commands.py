"""Every command that the README, the docs, the configs and the launch scripts show is run here, made small.

A documented command is found by its line; KNOWN says how it is run. A new one that nothing here knows fails the first test.
"""
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import feature_folders
import media_files
import numpy as np
import pytest
import tiny_clips

from gfvad.ablation.arguments import parse as parse_ablation

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = ["README.md", *sorted(str(p.relative_to(REPOSITORY)) for p in (REPOSITORY / "docs").glob("*.md"))]
SCRIPTS = [str(p.relative_to(REPOSITORY)) for folder in ("configs", "launch") for p in sorted((REPOSITORY / folder).iterdir()) if p.suffix in (".py", ".sh")]
STARTS = ("bash launch/", "python -m gfvad", "sbatch ", "TPU=")
TINY = ["--config.train.steps=2", "--config.train.batch_size=8", "--config.train.eval_every=2", "--config.train.checkpoint_every=2",
        "--config.eval.bootstrap=10", "--config.data.eval_batch_size=8", "--config.parallel.devices=1", "--config.data.text_encoder=hash",
        "--config.data.simulated.train_videos=24", "--config.data.simulated.test_videos=8", "--config.data.simulated.crops=2"]  # fmt: skip
FRAMES = r"configs/(ped2|avenue|shanghaitech_semi)\.py"  # configurations that learn from frames: another set and other sizes
OWN_FRAMES = "/data/my_frames"
OWN_PAGE = "docs/your_own_video.md"
TINY_FRAMES = tiny_clips.flags(train__steps=2, eval__figures=False)


def documented() -> dict[str, str]:
    """Command -> the first file that shows it."""
    found = {}
    for path in PAGES:
        page = (REPOSITORY / path).read_text()
        for block in re.findall(r"```bash\n(.*?)```", page, flags=re.S):
            for line in block.replace("\\\n", " ").splitlines():
                found.setdefault(line.split("  #")[0].strip(), path)
        for line in re.findall(r"^ {4}(\S.*)$", page, flags=re.M):
            if line.startswith(STARTS):
                found.setdefault(re.split(r"\s{2,}", line)[0], path)
    for path in SCRIPTS:
        text = (REPOSITORY / path).read_text()
        shown = re.findall(r"^# {3}(\S.*)$", text, flags=re.M) if path.endswith(".sh") else re.findall(r"^ {4}(\S.*)$", text.split('"""')[1], flags=re.M)
        for line in shown:
            line = re.sub(r"\s{2,}\(.*\)$", "", line).strip()
            if line.startswith(STARTS) and "..." not in line:
                found.setdefault(line, path)
    return {command: path for command, path in found.items() if command and not command.startswith(("#", "source "))}


def in_order(path: str) -> list[str]:
    """The commands of the bash blocks of a page."""
    blocks = re.findall(r"```bash\n(.*?)```", (REPOSITORY / path).read_text(), flags=re.S)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip() and not line.startswith("source ")]


def kind(command: str) -> str | None:
    """Which of the tests below runs a command."""
    table = {
        r"bash launch/test\.sh$": "tests",  # what is running now
        r"bash launch/(local|cpu_pod|seeds)\.sh .*configs/(shanghaitech|\w+)\.py|python -m gfvad\.main --config": "train",
        r"bash launch/seeds\.sh": "train",
        r"python -m gfvad\.main --mode=(evaluate|score)": "after",
        r"python -m gfvad\.prepare": "prepare",
        r"python -m gfvad\.bench": "bench",
        r"python -m gfvad\.(ablate|eval\.(compare|breakdown))": "ablation",
        r"python -m gfvad\.eval\.(published|summary)": "evaluation",
        r"python -m gfvad\.(extract|score|report|export)": "own",
        r"sbatch |TPU=": "cluster",
    }
    if command in in_order(OWN_PAGE):
        return "own"  # each needs what the one before it left
    return next((name for pattern, name in table.items() if re.match(pattern, command)), None)


def of(name: str) -> list[str]:
    found = documented()
    twice = {c for c in found if c.replace("python -m gfvad.main", "bash launch/local.sh") in found and c.startswith("python -m gfvad.main")}  # local.sh runs it
    return sorted(c for c in found if kind(c) == name and c not in twice)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Commands run with this interpreter's environment and a cache of their own, in the checkout."""
    cache = tmp_path_factory.mktemp("cache")
    fast = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # compiling is most of the time: as in tiny.py
    return os.environ | fast | {
        "GFVAD_VENV": sys.prefix, "GFVAD_CACHE": str(cache), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip


def run(command: str, environment: dict, tmp_path: Path, extra: list[str] = (), **more) -> subprocess.CompletedProcess:
    """Runs one command line as a shell would, in the checkout."""
    words = [str(tmp_path / w) if w == "runs/ucf-fused" else w for w in shlex.split(command)] + list(extra)
    return subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600, **more)


TINY_DATA = {
    "/data/xd_violence": "xd", "/data/xd": "xd", "/data/shanghaitech": "shanghai", "/data/ucf_crime": "ucf_logits", "/data/ucf": "ucf",
    "/data/tevad_shanghaitech": "tevad_shanghai", "/data/vadclip_ucf": "vadclip", "/data/own": "generic_folder", "/data/ped2": "ped2",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Placeholder of the documentation -> a tiny folder in that layout."""
    root = tmp_path_factory.mktemp("data")
    more = {"xd": {"flow": True}, "ucf": {"family": 2048}}
    made = {name: str(getattr(feature_folders, maker)(root / Path(name).name, **more.get(maker, {}))) for name, maker in TINY_DATA.items()}
    return made | {"/data/unlabelled": made["/data/ucf_crime"]}


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """A tiny set of frames, for every placeholder of a set of frames."""
    return str(tiny_clips.write_set(tmp_path_factory.mktemp("frames") / "set"))


def with_folders(command: str, data: dict[str, str], tmp_path: Path, frames: str = "") -> str:
    """Placeholders of data roots and run folders replaced by folders of the test."""
    if re.search(FRAMES, command):
        command = re.sub(r"data\.root=\S+", f"data.root={frames}", command)
    command = command.replace("NAME", "xd_violence").replace("--source=FOLDER", "--source=/data/xd")
    command = command.replace("/data/simulated", str(tmp_path / "simulated")).replace("DIR", str(tmp_path / "DIR")).replace("FOLDER", str(tmp_path / "out"))
    for placeholder in sorted(data, key=len, reverse=True):
        command = re.sub(re.escape(placeholder) + r"(?![\w])", data[placeholder], command)
    command = re.sub(r"seeds\.sh \d+", "seeds.sh 2", command)  # two seeds show that there is a loop
    return re.sub(r"(?<![\w/])runs/", f"{tmp_path}/runs/", command)


def test_every_documented_command_is_run_here():
    unknown = {command: path for command, path in documented().items() if kind(command) is None}
    assert not unknown
    assert {"tests", "train", "after", "prepare", "bench", "ablation", "evaluation", "cluster", "own"} == {kind(c) for c in documented()}


@pytest.mark.parametrize("command", [c for c in of("train") if not re.search(FRAMES, c)])
def test_training(command, environment, data, tmp_path):
    words = with_folders(command, data, tmp_path)
    extra = [] if "--workdir" in command or "seeds.sh" in command else [f"--workdir={tmp_path}/run"]
    done = run(words, environment, tmp_path, TINY + extra)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HEADLINE" in done.stdout and "results.json" in done.stdout and "Traceback" not in done.stderr
    assert ("SIMULATED" in done.stdout + done.stderr) == ("data.root" not in command)


@pytest.mark.parametrize("command", [c for c in of("train") if re.search(FRAMES, c)])
def test_training_on_frames(command, environment, data, frames, tmp_path):
    """Also scores one's own frames by the run that goes without descriptions."""
    done = run(with_folders(command, data, tmp_path, frames), environment, tmp_path, [*TINY_FRAMES, f"--workdir={tmp_path}/run"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HEADLINE" in done.stdout and "results.json" in done.stdout and "SIMULATED" not in done.stdout + done.stderr
    for command in [c for c in of("after") if OWN_FRAMES in c] if "avenue" in command else ():
        command = command.replace("runs/NAME", f"{tmp_path}/run").replace(OWN_FRAMES, f"{frames}/testing/frames")
        done = run(command.replace("=scores.npz", f"={tmp_path}/scores.npz"), environment, tmp_path)
        assert done.returncode == 0 and "3 videos" in done.stdout, done.stdout + done.stderr


def test_evaluating_and_scoring(environment, data, tmp_path):
    folder = f"{tmp_path}/runs/ucf-fused/seed0"
    train = f"python -m gfvad.main --config=configs/ucf.py --config.data.root={data['/data/ucf_crime']} --workdir={folder}"
    assert run(train, environment, tmp_path, TINY).returncode == 0
    results = json.loads(Path(folder, "results.json").read_text())
    for command in (c for c in of("after") if OWN_FRAMES not in c):
        command = command.replace("runs/fusion/settings/graph/seed0", "runs/ucf-fused/seed0")  # any run of the config
        command = with_folders(command, data, tmp_path).replace("/data/my_videos", f"{data['/data/ucf_crime']}/i3d_logits_test_dev.npz")
        command = command.replace("--output=scores.npz", f"--output={tmp_path}/scores.npz")
        done = run(command, environment, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    again = json.loads(Path(folder, "results.json").read_text())
    assert again["records"] == results["records"]
    with np.load(tmp_path / "scores.npz") as scores, np.load(Path(folder) / "scores.npz") as evaluated:
        assert set(scores.files) == set(evaluated.files)


@pytest.mark.parametrize("command", of("prepare"))
def test_preparing(command, environment, data, tmp_path):
    done = run(with_folders(command, data, tmp_path), environment, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", of("bench"))
def test_benchmarks(command, environment, tmp_path):
    small = {"fusion": ["--batch=2", "--repeats=1", "--n=8"], "data": ["--videos=8", "--units=16", "--crops=2", "--batch=4", "--steps=2"],
             "filter": ["--units=32", "--batch=2", "--width=16", "--experts=5", "--topk=2", "--bottleneck", "4", "--repeats=1"],
             "ablate": ["--settings=2", "--seeds=1", "--steps=2", "--batch=8", "--train=16", "--test=6", "--runs=1"]}[command.split()[3]]  # fmt: skip
    done = run(command, environment, tmp_path, small)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ablations(environment, data, tmp_path):
    """A sweep, then some of its settings by themselves: of one seed, so that there is no test over seeds.

    Of further sweeps the command line is read and checked; that their settings are sound tests/test_sweeps.py shows.
    """
    commands = of("ablation")
    trained = next(command for command in commands if "sweeps/modalities.py" in command and "ucf.py" in command)
    for command in (trained, *(c for c in commands if c != trained)):
        command = re.sub(r"runs/fusion/settings/\S+( runs/\S+)*", "runs/modalities/settings/all runs/modalities/settings/text", command)
        if "gfvad.ablate" in command and command != trained:
            assert parse_ablation(shlex.split(with_folders(command, data, tmp_path))[3:]) is not None
            continue
        extra = [*TINY, "--seeds=1"] if "gfvad.ablate" in command else []
        extra += [] if "breakdown" in command else ["--resamples=20"]
        done = run(with_folders(command, data, tmp_path), environment, tmp_path, extra)
        assert done.returncode == 0, done.stdout + done.stderr
        said = "ablation.csv" if "gfvad.ablate" in command else "false alarms" if "breakdown" in command else "paired bootstrap over test videos"
        assert said in done.stdout


def own_command(command: str, tmp_path: Path, frames: str) -> str:
    """A command of the page on videos, on tiny ones."""
    for placeholder, folder in (("/data/fights", "fights"), ("/data/new_videos", "new"), ("runs/", "runs/")):
        command = re.sub(rf"(?<![\w/]){placeholder}", f"{tmp_path}/{folder}", command)
    return command.replace("/data/ped2", frames).replace("/data/my_frames", f"{frames}/testing/frames")


def test_from_videos_to_a_report(environment, frames, tmp_path):
    """The whole page, in its order: features, training, scores, report, stream, export; then the predictive model on frames."""
    pytest.importorskip("plotly", reason="plotly is not installed (launch/requirements-report.txt)")
    for name, count, kind_ in (("fights/fight", 4, 0.0), ("fights/noFight", 4, 5.0), ("new", 1, 2.0)):
        for i in range(count):
            media_files.write_media(tmp_path / name / (f"clip {i}.mp4" if i else "film.mp4"), 20, size=(64, 96), seed=int(i + kind_), sound=media_files.tone(0.8))
    for command in in_order(OWN_PAGE):
        small = TINY_FRAMES if re.search(FRAMES, command) else TINY if "gfvad.main" in command else []
        done = run(own_command(command, tmp_path, frames), environment, tmp_path, small)
        assert done.returncode == 0, command + done.stdout + done.stderr
    runs = tmp_path / "runs"
    assert (runs / "fights/scores/report.html").is_file()
    rows = [(runs / "fights" / name / "scores.csv").read_text() for name in ("new", "elsewhere")]
    assert rows[0].splitlines()[0] == rows[1].splitlines()[0] and len(rows[0].splitlines()) == len(rows[1].splitlines()) == 3
    assert len((runs / "ped2/scores/scores.csv").read_text().splitlines()) > 10
    for command in (c for c in of("own") if c not in in_order(OWN_PAGE)):
        done = run(own_command(command, tmp_path, frames).replace("DIR", str(runs / "fights/scores")), environment, tmp_path)
        assert done.returncode == 0, command + done.stdout + done.stderr


@pytest.mark.parametrize("command", of("evaluation"))
def test_evaluation_tools(command, environment, shared_data, tmp_path):
    done = run(command.replace("/data", str(shared_data)), environment, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", of("cluster"))
def test_cluster_scripts(command, environment, tmp_path):
    """Stand-ins for the schedulers' programs write down what they are asked to do."""
    for name in ("gcloud", "srun"):
        tool = tmp_path / name
        tool.write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" > "{tmp_path}/asked"\n')
        tool.chmod(0o755)
    variables, words = [], shlex.split(command)
    while "=" in words[0]:
        variables.append(words.pop(0).split("=", 1))
    words = ["bash", *words[1:]] if words[0] == "sbatch" else words
    environment = environment | dict(variables) | {"PATH": f"{tmp_path}:{environment['PATH']}", "SLURM_SUBMIT_DIR": str(REPOSITORY)}
    # the stand-in srun needs no accelerator build
    done = subprocess.run(words, cwd=REPOSITORY, env=environment | {"GFVAD_JAX": "jax"}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text()
    assert "launch/local.sh" in asked and all(word in asked for word in words if word.startswith("--"))
