"""The page about one camera, command by command in its order, on a room made here."""

import json
import re

import pytest
import room_films
from documented import CAMERA_PAGE, environment, in_order, run  # noqa: F401

SMALL = room_films.FLAGS
CLIPS = [flag for flag in SMALL if "model.bank" in flag or "train." in flag or "eval." in flag]


def test_from_normal_video_to_alarms(environment, tmp_path):  # noqa: F811
    pytest.importorskip("plotly", reason="plotly is not installed (launch/requirements-report.txt)")
    room_films.write_normal(tmp_path / "data" / "normal", films=3, length=80)
    film = room_films.frames(60, 50, room_films.SPAN)
    room_films.write_film(tmp_path / "data" / "new" / "film.mp4", film)
    room_films.write_set(tmp_path / "data" / "labelled")
    for command in in_order(CAMERA_PAGE):
        words = re.sub(r"(?<![\w/])/data/camera", str(tmp_path / "data"), command)
        words = re.sub(r"(?<![\w/])runs/", f"{tmp_path}/runs/", words)
        small = [] if "gfvad train" not in command else CLIPS if "=clips" in command else SMALL
        small = [*small, "--workers=0"] if "extract" in command else small
        done = run(words, environment, tmp_path, small)
        assert done.returncode == 0, command + done.stdout + done.stderr
        if "gfvad train" in command:
            assert "no labelled test split: nothing is evaluated" in done.stdout
    runs = tmp_path / "runs" / "camera"
    assert (runs / "scores" / "report.html").is_file()
    alarms = [(runs / n / "alarms.csv").read_text() for n in ("scores", "elsewhere")]
    assert (
        alarms[0].splitlines()[0] == alarms[1].splitlines()[0] and len(alarms[0].splitlines()) > 1
    )
    assert len((runs / "live" / "alarms.csv").read_text().splitlines()) > 1
    found = json.loads((runs / "evaluation" / "results.json").read_text())
    assert found["headline"]["value"] > 0.9 and found["paired"]
    rate = json.loads((runs / "model" / "config.json").read_text())["score"]["false_alarms"]
    assert rate == 0.04
