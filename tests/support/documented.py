"""The commands that the README, the docs, the configs, the launch scripts and the commands' --help
show, and what they are run on in the tests.

A documented command is found by its line; `kind` says which test runs it, made small:
test_commands.py (training), test_commands_after.py (all others).
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import command_server
import compiling
import feature_folders
import pytest
import room_films
import tiny_clips
import walkers

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    *sorted(
        str(p.relative_to(REPOSITORY))
        for folder in ("docs", "docs/sets")
        for p in (REPOSITORY / folder).glob("*.md")
    ),
]
SCRIPTS = [
    str(p.relative_to(REPOSITORY))
    for folder in ("configs", "launch", "gfvad/commands")
    for p in sorted((REPOSITORY / folder).glob("*"))
    if p.suffix in (".py", ".sh")
]
STARTS = ("bash launch/", "gfvad ", "python -m gfvad", "sbatch ", "TPU=")
TINY = [
    "--config.train.steps=2",
    "--config.train.batch_size=8",
    "--config.train.eval_every=2",
    "--config.train.checkpoint_every=2",
    "--config.eval.bootstrap=10",
    "--config.data.eval_batch_size=8",
    "--config.parallel.devices=1",
    "--config.data.text_encoder=hash",
    "--config.eval.figures=False",
    "--config.data.simulated.train_videos=24",
    "--config.data.simulated.test_videos=8",
    "--config.data.simulated.crops=2",
]
DRAWN = [flag for flag in TINY if "figures" not in flag]  # with figures
# configurations that learn from frames: another set and other sizes
FRAMES = r"(configs/|--config=)(ped2|avenue|shanghaitech_semi|\w+_predictive)\b"
# and from tracked people
TRACKS = r"--config=\w+_tracks\b"
# and from pictures of a fixed camera
PICTURES = r"--config=(room|ped2_novelty)\b"
OWN_PAGE, CAMERA_PAGE = "docs/your_own_video.md", "docs/one_camera.md"
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
        shown = (
            re.findall(r"^# {3}(\S.*)$", text, flags=re.M)
            if path.endswith(".sh")
            else re.findall(r"^ {4}(\S.*)$", text.split('"""')[1], flags=re.M)
        )
        for line in shown:
            line = re.sub(r"\s{2,}\(.*\)$", "", line).strip()
            if line.startswith(STARTS) and "..." not in line:
                found.setdefault(line, path)
    return {
        command: path
        for command, path in found.items()
        if command and not command.startswith(("#", "source "))
    }


def in_order(path: str) -> list[str]:
    """The commands of the bash blocks of a page."""
    blocks = re.findall(r"```bash\n(.*?)```", (REPOSITORY / path).read_text(), flags=re.S)
    return [
        line.strip()
        for block in blocks
        for line in block.splitlines()
        if line.strip() and not line.startswith("source ")
    ]


def canonical(command: str) -> str:
    """`gfvad COMMAND ...` of each way to write it: by `python -m`, by the names commands had
    before, a config by its path or its name."""
    for written, meant in (
        (r"^python -m gfvad\.main --mode=(\w+)", r"gfvad \1"),
        (r"^python -m gfvad\.main --", "gfvad train --"),
        (r"^python -m gfvad\.main ", "gfvad "),
        (r"^python -m gfvad\.(eval|measure)\.compare", "gfvad compare"),
        (r"^python -m gfvad\.(eval|measure)\.", "gfvad compare "),
        (r"^python -m gfvad\.", "gfvad "),
        (r"--(config|sweep)=configs/(?:sweeps/)?(\w+)\.py", r"--\1=\2"),
    ):
        command = re.sub(written, meant, command)
    return command


def kind(command: str) -> str | None:
    """Which of the tests below runs a command."""
    table = {
        r"bash launch/test\.sh$": "tests",  # what is running now
        r"bash launch/check_package\.sh$": "tests",  # downloads an environment: by hand
        r"python launch/rehearsal/rehearse\.py ": "tests",  # minutes of real training: by hand
        r"bash launch/(local|cpu_pod|seeds)\.sh .*--config=|gfvad train --config=": "train",
        r"bash launch/seeds\.sh": "train",
        r"gfvad (evaluate|doctor) --scores=": "scores",  # test_score_files.py
        r"gfvad (evaluate|explain) |gfvad score --(workdir=|model=runs/ucf-fused)": "after",
        r"gfvad prepare ": "prepare",
        r"gfvad convert ": "convert",  # test_convert.py
        r"gfvad bench fuzz": "fuzz",  # test_fuzz.py
        r"gfvad bench ": "bench",
        r"gfvad plan ": "plan",  # plan/test_plan.py
        r"gfvad compare published ": "evaluation",
        r"gfvad compare folds ": "folds",
        r"gfvad (ablate|compare) ": "ablation",
        r"gfvad (extract|score|report|export) ": "own",
        r"gfvad doctor": "doctor",
        r"sbatch |TPU=|python launch/k8s_jobset\.py ": "cluster",
    }
    if command in in_order(CAMERA_PAGE):
        return "camera"  # test_one_camera.py
    if command in in_order(OWN_PAGE):
        return "own"  # each needs what the one before it left
    meant = canonical(command)
    return next((name for pattern, name in table.items() if re.match(pattern, meant)), None)


def of(name: str) -> list[str]:
    """The commands of a kind."""
    return sorted(c for c in documented() if kind(c) == name)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Commands run with this interpreter's environment and a cache of their own, in the
    checkout."""
    cache = tmp_path_factory.mktemp("cache")
    return os.environ | {
        "GFVAD_VENV": sys.prefix,
        "GFVAD_CACHE": str(cache),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": compiling.xla_flags(),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def run(
    command: str, environment: dict, tmp_path: Path, extra: list[str] = ()
) -> subprocess.CompletedProcess:
    """Runs one command line as a shell would, in the checkout; `python -m` in a fork of a
    process that has read the libraries."""
    words = [
        str(tmp_path / w) if w == "runs/ucf-fused" else w for w in shlex.split(command)
    ] + list(extra)
    if words[0] == "gfvad":
        words = ["python", "-m", "gfvad.main", *words[1:]]
    if words[:2] == ["python", "-m"]:
        return command_server.run(words[2:], environment, str(REPOSITORY))
    return subprocess.run(
        words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600
    )


def without_script(command: str) -> str:
    """The main job that a script of launch/ runs, with the arguments it hands on but for the run
    folder."""
    return re.sub(
        r"^bash launch/(local\.sh|cpu_pod\.sh \d+|seeds\.sh \d+ \S+)",
        "python -m gfvad.main",
        re.sub(r" --workdir=\S+", "", command),
    )


TINY_DATA = {
    "/data/xd_violence": "xd",
    "/data/xd": "xd",
    "/data/shanghaitech": "shanghai",
    "/data/ucf_crime": "ucf_logits",
    "/data/ucf": "ucf",
    "/data/tevad_shanghaitech": "tevad_shanghai",
    "/data/vadclip_ucf": "vadclip",
    "/data/own": "generic_folder",
    "/data/ped2": "ped2",
    "/data/msad": "msad",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Placeholder of the documentation -> a tiny folder in that layout."""
    root = tmp_path_factory.mktemp("data")
    more = {"xd": {"flow": True}, "ucf": {"family": 2048}}
    made = {
        name: str(getattr(feature_folders, maker)(root / Path(name).name, **more.get(maker, {})))
        for name, maker in TINY_DATA.items()
    }
    made["/data/tracks"] = str(walkers.write_set(root / "tracks"))
    made["/data/room"] = str(room_films.write_set(root / "room"))
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
    command = (
        command.replace("/data/simulated", str(tmp_path / "simulated"))
        .replace("DIR", str(tmp_path / "DIR"))
        .replace("FOLDER", str(tmp_path / "out"))
    )
    for placeholder in sorted(data, key=len, reverse=True):
        command = re.sub(re.escape(placeholder) + r"(?![\w])", data[placeholder], command)
    command = re.sub(r"seeds\.sh \d+", "seeds.sh 2", command)  # two seeds show that there is a loop
    return re.sub(r"(?<![\w/])runs/", f"{tmp_path}/runs/", command)
