"""What of a picture a score comes from, of tracked people and of patches; and the same in a
stream, from earlier frames alone."""

import csv
import json

import numpy as np
import pytest
import room_films
import walkers

from gfvad import main
from gfvad.encoders.units import Picture
from gfvad.measure.score_result import Boxes
from gfvad.scoring import files
from gfvad.tasks.novelty.scorer import open_scorer
from gfvad.tasks.novelty.shown import levels
from gfvad.tasks.novelty.stream import PatchStreamer


@pytest.fixture(scope="module", autouse=True)
def _in_checkout(repository):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        yield


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """(folder of films, a trained run of their normal part)."""
    folder = tmp_path_factory.mktemp("room")
    root = room_films.write_set(folder / "set")
    flags = [f"--config.data.root={root}", f"--workdir={folder / 'run'}", *room_films.FLAGS]
    assert main.main(["train", "--config=room", *flags]) == 0
    return root, folder / "run"


def scores_of(run, path, out, *more):
    assert main.main(["score", f"--model={run}", str(path), f"--out={out}", *more]) == 0
    with open(out / files.SCORES_CSV, newline="") as file:
        return list(csv.DictReader(file))


def test_the_patch_of_a_block_is_the_culprit_and_the_map_shows_it(room, tmp_path, capsys):
    root, run = room
    film = root / "testing" / "00.mp4"
    rows = scores_of(run, film, tmp_path / "s")
    scores = np.array([float(row["score"]) for row in rows])
    inside = np.arange(len(rows))
    inside = (inside >= room_films.SPAN[0]) & (inside < room_films.SPAN[1])
    assert scores[inside].min() > scores[~inside & (np.arange(60) < room_films.SPAN[0])].max()
    y1, y2, x1, x2 = room_films.BLOCK
    row = rows[(room_films.SPAN[0] + room_films.SPAN[1]) // 2]
    box = [float(row[name]) for name in ("x1", "y1", "x2", "y2")]
    assert box[0] < x2 and box[2] > x1 and box[1] < y2 and box[3] > y1  # it overlaps the block
    details = dict(np.load(tmp_path / "s" / files.details_of("00")))
    assert details["heat"].shape == (30, 2, 4) and details["heat_time"][1] == pytest.approx(0.4)
    at = int(np.argmin(abs(details["heat_time"] - 6)))
    down, across = np.unravel_index(details["heat"][at].argmax(), (2, 4))
    assert across * 16 < x2 and (across + 1) * 16 > x1
    assert details["heat"][at].max() >= 128 > details["heat"][0].max()
    assert main.main(["report", str(tmp_path / "s")]) == 0
    with open(tmp_path / "s" / "scores.json") as file:
        assert json.load(file)["videos"][0]["path"] == str(film.resolve())


def test_a_stream_has_the_scores_of_the_whole_film_from_earlier_frames(room, tmp_path):
    root, run = room
    film = root / "testing" / "00.mp4"
    rows = scores_of(run, film, tmp_path / "live", "--stream")
    assert len(rows) == 60
    scorer = open_scorer(run, "last")
    videos = scorer.open(film)
    model = scorer.model
    whole = model.score_of(model.read(videos, 0), videos, 0, past=True)
    found = np.array([float(row["score"]) for row in rows])
    np.testing.assert_allclose(found, whole.score, rtol=1e-4, atol=1e-4)
    tracks = videos.units(0).tracks
    assert [int(row["object"]) for row in rows] == tracks.person[whole.unit].tolist()
    # the alarm begins in the film's own event, by the threshold of scores of that kind
    with open(tmp_path / "live" / files.ALARMS_CSV, newline="") as file:
        alarms = list(csv.DictReader(file))
    assert alarms and float(alarms[0]["start"]) >= room_films.SPAN[0] / room_films.FPS - 1e-6
    assert (tmp_path / "live" / "scores.json").is_file()
    assert main.main(["report", str(tmp_path / "live")]) == 0


def test_a_stream_does_not_look_ahead(room):
    _, run = room
    scorer = open_scorer(run, "last")
    pictures = room_films.frames(30, 3, (10, 30))
    a, b = (PatchStreamer(scorer.model, "", room_films.FPS) for _ in range(2))
    other = pictures.copy()
    other[20:] = 0
    one = [a.push(Picture(i / room_films.FPS, x))[0].score for i, x in enumerate(pictures)]
    two = [b.push(Picture(i / room_films.FPS, x))[0].score for i, x in enumerate(other)]
    assert one[:20] == two[:20] and one[20:] != two[20:]
    assert len(a._kept) <= 1 + 4 // a.every


def test_people_are_boxes_and_the_runner_is_the_culprit(tmp_path):
    data = walkers.write_set(tmp_path / "tracks")
    flags = [f"--config.data.root={data}", f"--workdir={tmp_path / 'run'}", *walkers.FLAGS]
    assert main.main(["train", "--config=shanghaitech_tracks", *flags]) == 0
    rows = scores_of(tmp_path / "run", data / "tracks_test.npz", tmp_path / "s")
    runner = {"01_b": "0", "01_c": "1"}
    late = [r for r in rows if r["video"] in runner and 36 <= int(r["unit"]) < 58]
    right = [r["object"] == runner[r["video"]] for r in late]
    assert np.mean(right) > 0.9
    details = dict(np.load(tmp_path / "s" / files.details_of("01_b")))
    boxes = Boxes(**{field: details[key] for field, key in files.BOXES.items()})
    tracks = dict(np.load(data / "tracks_test.npz"))["01_b"]
    of_frame = boxes.box[boxes.first[7] : boxes.first[8]]
    assert sorted(of_frame.tolist()) == sorted(tracks[tracks[:, 0] == 7][:, 2:].tolist())
    assert "heat" not in details


def test_levels_of_a_map_keep_the_order_and_mark_the_threshold():
    scores = np.array([-1.0, 0.0, 1.0, 2.0, 10.0])
    assert levels(scores, 2.0).tolist() == [0, 0, 64, 128, 255]
    assert levels(scores[:3], 2.0).tolist() == [0, 0, 64]
    assert levels(scores, -1.0).tolist() == [0, 0, 26, 51, 255]


@pytest.mark.parametrize("what", ["room", "tracks"])
def test_an_artefact_scores_as_its_run_does(room, tmp_path, what, capsys):
    root, run = room
    given = root / "testing" / "00.mp4"
    if what == "tracks":
        data = walkers.write_set(tmp_path / "tracks")
        run, given = tmp_path / "run", data / "tracks_test.npz"
        flags = [f"--config.data.root={data}", f"--workdir={run}", *walkers.FLAGS]
        assert main.main(["train", "--config=shanghaitech_tracks", *flags]) == 0
    out = tmp_path / "artefact"
    assert main.main(["export", f"--workdir={run}", f"--out={out}", "--platforms=cpu"]) == 0
    ways = [(), ("--stream",)] if what == "room" else [()]
    for k, way in enumerate(ways):
        mine = scores_of(run, given, tmp_path / f"run-{k}", *way)
        other = scores_of(out, given, tmp_path / f"artefact-{k}", *way)
        assert [row["object"] for row in mine] == [row["object"] for row in other]
        a, b = (np.array([float(row["score"]) for row in rows]) for rows in (mine, other))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
        assert [row["alarm"] for row in mine] == [row["alarm"] for row in other]
    for name in ("novelty.json", "config.json", "model.jaxexport"):
        content = (out / name).read_bytes()
        (out / name).write_bytes(content[:-5] + b"00000")
        command = ["score", f"--model={out}", str(given), f"--out={tmp_path / 'no'}"]
        assert main.main(command) == 2
        assert name in capsys.readouterr().err
        (out / name).write_bytes(content)


def test_a_damaged_film_stops_no_other_and_what_is_no_film_is_named(room, tmp_path, capsys):
    root, run = room
    films = tmp_path / "films"
    for name in ("a", "b"):
        room_films.write_film(films / f"{name}.mp4", room_films.frames(20, 3))
    content = (films / "b.mp4").read_bytes()
    (films / "b.mp4").write_bytes(content[: len(content) // 2])
    (films / "notes.txt").write_text("not a film")
    out = tmp_path / "out"
    assert main.main(["score", f"--model={run}", str(films), f"--out={out}"]) == 1
    said = capsys.readouterr().err
    assert "b.mp4" in said and "notes.txt" in said
    with open(out / files.SCORES_CSV, newline="") as file:
        assert {row["video"] for row in csv.DictReader(file)} == {"a"}
