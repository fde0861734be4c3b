"""Boxes of what a score comes from: in tables, in details, in the page."""

import base64
import csv
import json
import re

import numpy as np
import pytest
from media_files import write_media
from report_output import scored, write_output, write_report

from gfvad.measure.alarms import find_alarms
from gfvad.measure.score_result import Boxes, Culprit
from gfvad.reporting.clips import boxes_of
from gfvad.scoring import files


def boxes(size=(160, 90)):
    """Two people in each of five pictures but the second, which is empty."""
    first = np.array([0, 2, 2, 4, 6, 8])
    box = np.array([[10 * i, 5, 10 * i + 8, 25] for i in range(8)], np.float64)
    track, score = np.tile([3, 12], 4), np.arange(8.0)
    return Boxes(size, first, box, track, score, np.array([1, -1, 2, 5, 7]))


def clip_of_page(path):
    text = re.search(r'id="clip-0">(.*?)</script>', path.read_text(), flags=re.S)[1]
    return json.loads(text)


def test_the_culprit_is_in_both_tables_and_in_the_page(tmp_path):
    film = write_media(tmp_path / "street.mp4", 80, size=(90, 160))
    video = scored("street", film)._replace(boxes=boxes())
    assert video.unit(3).culprit == Culprit(12, (50.0, 5.0, 58.0, 25.0))
    assert video.unit(1).culprit is None
    assert find_alarms(video, 0.5)[0].culprit == video.unit(3).culprit
    out = write_output(tmp_path / "scores", [video, scored("plain")])
    rows = list(csv.DictReader((out / files.SCORES_CSV).open()))
    assert [rows[3][n] for n in files.CULPRIT] == ["12", "50", "5", "58", "25"]
    assert rows[1]["object"] == rows[7]["x1"] == ""
    alarm = next(csv.DictReader((out / files.ALARMS_CSV).open()))
    assert alarm["object"] == "12" and alarm["y2"] == "25"
    assert files.is_ours(out / files.details_of("street"))
    found = clip_of_page(write_report(out))["boxes"]
    assert found["size"] == [160, 90] and found["first"] == [0, 2, 2, 4, 6, 8]
    assert found["highest"] == [1, -1, 2, 5, 7] and found["track"] == [3, 12] * 4
    corners = np.frombuffer(base64.b64decode(found["data"]), "<i2").reshape(-1, 4)
    assert corners[5].tolist() == [50, 5, 58, 25]


def test_an_unknown_size_is_the_videos_or_what_the_boxes_fill(tmp_path):
    film = write_media(tmp_path / "street.mp4", 20, size=(90, 160))
    at = lambda path: clip_of_page(
        write_report(
            write_output(tmp_path / path.stem, [scored("v", path)._replace(boxes=boxes((0, 0)))])
        )
    )["boxes"]["size"]
    assert at(film) == [160, 90]
    assert at(tmp_path / "gone.mp4") == [78, 25]


def test_many_boxes_become_the_culprits_alone(monkeypatch):
    monkeypatch.setattr("gfvad.reporting.clips.MOST_BOXES", 5)
    found = boxes_of(boxes())
    assert found["first"] == [0, 1, 1, 2, 3, 4] and found["highest"] == [0, -1, 1, 2, 3]
    assert found["track"] == [12, 3, 12, 12]


@pytest.mark.parametrize(
    "change",
    [
        {"first": np.array([0, 2, 2, 4, 6, 9])},
        {"first": np.array([0, 2, 1, 4, 6, 8])},
        {"highest": np.array([1, -1, 2, 5, 8])},
        {"track": np.zeros(3)},
        {"box": np.zeros((8, 3))},
        {"box": np.zeros((0, 4)), "track": np.zeros(0), "score": np.zeros(0)},
    ],
)
def test_boxes_that_do_not_fit_are_left_out(change):
    assert boxes_of(boxes()._replace(**change)) is None
