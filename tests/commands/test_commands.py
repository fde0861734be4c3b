"""Every documented command is run, made small: here those that train. A new one that nothing
knows fails the first test."""

import re

import pytest
import room_films
import walkers
from documented import (  # noqa: F401
    FRAMES,
    PICTURES,
    TINY,
    TINY_FRAMES,
    TRACKS,
    canonical,
    data,
    documented,
    environment,
    frames,
    kind,
    of,
    run,
    with_folders,
    without_script,
)


def test_every_documented_command_is_run_here():
    unknown = {command: path for command, path in documented().items() if kind(command) is None}
    assert not unknown
    assert {kind(c) for c in documented()} - {"doctor"} == {
        "tests",
        "train",
        "after",
        "prepare",
        "convert",
        "scores",
        "bench",
        "ablation",
        "evaluation",
        "plan",
        "cluster",
        "own",
        "camera",
        "folds",
        "fuzz",
    }


# one of each, README's command with launch/local.sh among them
SCRIPTS = {
    command.split()[1]: command
    for command in reversed(of("train"))
    if command.startswith("bash") and "--config=xd" in canonical(command)
}
JOBS = {canonical(without_script(command)): without_script(command) for command in of("train")}
JOBS = sorted(
    JOBS[meant] for meant in JOBS.keys() - {canonical(without_script(c)) for c in SCRIPTS.values()}
)


OTHERS = f"{FRAMES}|{TRACKS}|{PICTURES}"


@pytest.mark.parametrize(
    "command", [*SCRIPTS.values(), *(c for c in JOBS if not re.search(OTHERS, c))]
)
def test_training(command, environment, data, tmp_path):
    """Each script once; of the other commands with a script, what it runs."""
    words = with_folders(command, data, tmp_path)
    extra = [] if "--workdir" in command or "seeds.sh" in command else [f"--workdir={tmp_path}/run"]
    done = run(words, environment, tmp_path, TINY + extra)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "HEADLINE" in done.stdout
        and "results.json" in done.stdout
        and "Traceback" not in done.stderr
    )
    assert ("SIMULATED" in done.stdout + done.stderr) == ("data.root" not in command)


@pytest.mark.parametrize("command", [c for c in JOBS if re.search(TRACKS, c)])
def test_training_on_tracks(command, environment, data, tmp_path):
    words = with_folders(command, data, tmp_path)
    done = run(words, environment, tmp_path, [*walkers.FLAGS, f"--workdir={tmp_path}/run"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HEADLINE" in done.stdout and "results.json" in done.stdout


@pytest.mark.parametrize("command", [c for c in JOBS if re.search(PICTURES, c)])
def test_training_on_pictures(command, environment, data, tmp_path):
    words = with_folders(command, data, tmp_path)
    done = run(words, environment, tmp_path, [*room_films.FLAGS, f"--workdir={tmp_path}/run"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HEADLINE" in done.stdout and "results.json" in done.stdout


@pytest.mark.parametrize("command", [c for c in JOBS if re.search(FRAMES, c)])
def test_training_on_frames(command, environment, data, frames, tmp_path):
    done = run(
        with_folders(command, data, tmp_path, frames),
        environment,
        tmp_path,
        [*TINY_FRAMES, f"--workdir={tmp_path}/run"],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "HEADLINE" in done.stdout
        and "results.json" in done.stdout
        and "SIMULATED" not in done.stdout + done.stderr
    )
