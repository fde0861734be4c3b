"""Graph novelty of pictures: from a folder of normal video to alarms, and a bank for each place."""

import json
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import rooms

from gfvad import main
from gfvad.base.seals import read_sealed, write_sealed
from gfvad.data.objects.tracks import Tracks
from gfvad.data.unit_videos import UnitVideo
from gfvad.tasks.novelty.model import BANK, GraphNovelty
from gfvad.tasks.novelty.score import Calibration, batches_of, frame_scores, most_unusual


@pytest.fixture(autouse=True, scope="module")
def _in_checkout(repository):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        yield


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return rooms.write_room(tmp_path_factory.mktemp("room"))


def train(data, workdir, *flags):
    start = ["train", "--config=room", f"--config.data.root={data}", f"--workdir={workdir}"]
    return main.main([*start, *rooms.FLAGS, *flags])


@pytest.fixture(scope="module")
def run(room, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "room"
    assert train(room, folder) == 0
    return folder


def test_a_box_that_was_never_there_is_found(run):
    results = json.loads((run / "results.json").read_text())
    assert results["headline"]["value"] > 0.95
    assert {"floor/nearest grey", "this model, texture alone"} <= set(results["named"])
    scores = dict(np.load(run / "scores.npz"))
    assert {n: len(s) for n, s in scores.items()} == {"00": 40, "01": 40}
    # a score holds until the next picture that was looked at
    assert np.array_equal(scores["01"][::2], scores["01"][1::2])
    assert (scores["01"][rooms.BOX_FROM :] > results["alarms"]["threshold"]).all()


def test_scoring_the_folder_again_gives_the_same(run, room, tmp_path):
    out = tmp_path / "scores"
    assert main.main(["score", f"--model={run}", str(room / "testing"), f"--out={out}"]) == 0
    before, found = dict(np.load(run / "scores.npz")), dict(np.load(out / "scores.npz"))
    for name, scores in before.items():
        np.testing.assert_allclose(found[name], scores, atol=1e-5)


def test_a_calibration_without_its_content_is_named(run, room, tmp_path, capsys):
    damaged = tmp_path / "run"
    shutil.copytree(run, damaged)
    (path,) = damaged.glob("novelty-*.json")
    path.write_text("{}")
    out = tmp_path / "scores"
    assert main.main(["score", f"--model={damaged}", str(room / "testing"), f"--out={out}"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"error: {path}: damaged (lacks bank, ") and "evaluate" in said


def test_a_calibration_that_knows_no_later_settings_is_read(run, room, tmp_path):
    before = tmp_path / "run"
    shutil.copytree(run, before)
    (path,) = before.glob("novelty-*.json")
    told = read_sealed(path, "a calibration")
    for key in ("score.beside", "score.alike"):
        del told["settings"][key]
    write_sealed(path, told)
    out = tmp_path / "scores"
    assert main.main(["score", f"--model={before}", str(room / "testing"), f"--out={out}"]) == 0


def test_a_folder_of_normal_video_is_enough(room, tmp_path, capsys):
    folder = tmp_path / "run"
    assert train(room / "training", folder) == 0
    said = capsys.readouterr()
    assert "all of it is normal video to learn from" in said.err
    assert "nothing is evaluated" in said.out
    results = json.loads((folder / "results.json").read_text())
    assert "false alarms an hour" in results["normal_video"]["measured"]


def small_model(banks):
    model = GraphNovelty(
        (("grey", 3), ("texture", 2)), (("grey", "texture"),), (), (1.0, 0.5), 6, 2, 0.2, banks
    )
    rng = np.random.default_rng(0)
    features = {"grey": rng.normal(size=(8, 3)), "texture": rng.normal(size=(8, 2))}
    place, part = np.repeat([0, 1], 4).astype(np.int32), np.arange(8, dtype=np.int32) % 3
    variables = model.init(jax.random.key(0), features, place, part)
    shape = (banks, 6)
    bank = {
        "units_grey": rng.normal(size=(*shape, 3)),
        "units_texture": rng.normal(size=(*shape, 2)),
        "spread": rng.uniform(0.5, 2, (banks, 2)),
        "camera": np.repeat(np.arange(banks), 6).reshape(shape),
        "part": rng.integers(0, 3, shape),
    }
    return model, {"params": variables["params"], BANK: bank}, features, place, part


def test_each_place_has_its_own_bank():
    model, variables, features, place, part = small_model(2)
    found = np.asarray(model.apply(variables, features, place, part)[0])[:, 0]
    bank = variables[BANK]
    for i, (p, own) in enumerate(zip(place, part, strict=True)):
        squares = sum(
            ((features[n][i] - bank[f"units_{n}"][p]) * scale / bank["spread"][p, m]) ** 2 @ one
            for m, (n, scale, one) in enumerate(
                (("grey", 1.0, np.ones(3)), ("texture", 0.5, np.ones(2)))
            )
        )
        graph = 1 / (1 + (squares + 1e6 * (bank["part"][p] == own)) / 0.2**2)
        expected = -np.log(np.sort(graph)[-2:].mean())
        np.testing.assert_allclose(found[i], expected, rtol=2e-5)
    # units of one place are compared with its bank at once
    for p in (0, 1):
        here = {n: x[place == p] for n, x in features.items()}
        alike = model.apply(variables, here, place[place == p], part[place == p], alike=True)[0]
        np.testing.assert_allclose(np.asarray(alike)[:, 0], found[place == p], rtol=2e-5)


def test_a_frame_has_the_mean_of_its_most_unusual_units_in_each_group():
    score = np.array([1.0, 5.0, 3.0, 2.0, 9.0, 0.0])
    frame, group = np.array([0, 0, 0, 0, 0, 4]), np.array([0, 0, 0, 0, 1, 1])
    chosen, counted = most_unusual(score, frame, group, 0.5)
    assert dict(zip(chosen.tolist(), counted.tolist(), strict=True)) == {
        1: 0.25,
        2: 0.25,
        4: 0.5,
        5: 1,
    }
    tracks = Tracks(frame, np.arange(6), np.zeros((6, 4)))
    plain = Calibration(np.zeros((2, 1)), np.ones((2, 1)), np.ones(1), 1.0)
    cfg = SimpleNamespace(reach=0, prior=0.0, beside=0.0, alike=0.0, highest=0.5)
    found = frame_scores(score[:, None], UnitVideo(tracks, 8, group, 4), plain, cfg)
    assert found.score.tolist() == [6.5] * 4 + [0.0] * 4
    assert found.unit.tolist() == [4] * 4 + [5] * 4


def test_batches_of_places_never_mix_them():
    code = np.repeat([3, 5, 6], [70, 3, 40])
    found = list(batches_of(code, 64, True))
    assert [(first, size) for first, size, _ in found] == [(0, 64), (64, 6), (70, 3), (73, 40)]
    assert {width for *_, width in found} == {64}
    assert list(batches_of(code, 64, False)) == [(0, 64, 64), (64, 49, 64)]
    assert not list(batches_of(code[:0], 64, True)) and not list(batches_of(code[:0], 64, False))
