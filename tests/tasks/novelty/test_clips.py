"""Graph novelty on features of one's own: a folder of `gfvad extract`, of normal videos alone or
with labels."""

import csv
import json

import numpy as np
import pytest
import room_films

from gfvad import main
from gfvad.data.units.clips import unit_length

FLAGS = [
    "--config.model.bank=32",
    "--config.train.steps=4",
    "--config.train.batch_size=32",
    "--config.eval.bootstrap=0",
    "--config.eval.figures=False",
    "--config.parallel.devices=1",
    "--config.data.eval_batch_size=64",
]


@pytest.fixture(scope="module", autouse=True)
def _in_checkout(repository):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(films of a room, their features, a run)."""
    folder = tmp_path_factory.mktemp("clips")
    films = room_films.write_normal(folder / "films", films=3, length=80)
    words = ["--modalities=motion,appearance", "--workers=0"]
    assert main.main(["extract", str(films), f"--out={folder / 'features'}", *words]) == 0
    flags = [f"--config.data.root={folder / 'features'}", f"--workdir={folder / 'run'}", *FLAGS]
    assert main.main(["train", "--config=clips", *flags]) == 0
    return films, folder / "features", folder / "run"


def test_a_folder_of_normal_features_is_enough(trained):
    results = json.loads((trained[2] / "results.json").read_text())
    assert results["records"] == [] and np.isfinite(results["alarms"]["threshold"])
    assert (trained[2] / "features.json").is_file()


def scores_of(out):
    with open(out / "scores.csv", newline="") as file:
        return [float(row["score"]) for row in csv.DictReader(file)]


def test_videos_and_their_features_get_the_same_scores(trained, tmp_path):
    films, _, run = trained
    new = room_films.write_film(tmp_path / "new" / "x.mp4", room_films.frames(64, 9, (32, 64)))
    out = tmp_path / "s"
    assert main.main(["score", f"--model={run}", str(new), f"--out={out}", "--workers=0"]) == 0
    again = ["score", f"--model={run}", str(out / "features"), f"--out={tmp_path / 't'}"]
    assert main.main(again) == 0
    first, second = scores_of(out), scores_of(tmp_path / "t")
    assert first == second and len(first) == 64
    assert np.unique(first).size == 4  # a score a clip of 16 frames
    assert min(first[32:]) > max(first[:32])
    assert main.main(["report", str(out)]) == 0


def test_labels_make_a_test_split(trained, tmp_path):
    films = tmp_path / "films"
    room_films.write_normal(films / "calm", films=8, length=48)
    for k in range(8):
        room_films.write_film(films / "odd" / f"o{k}.mp4", room_films.frames(48, 90 + k, (0, 48)))
    words = ["--modalities=motion,appearance", "--workers=0", "--normal=calm", "--abnormal=odd"]
    assert main.main(["extract", str(films), f"--out={tmp_path / 'features'}", *words]) == 0
    flags = [f"--config.data.root={tmp_path / 'features'}", f"--workdir={tmp_path / 'run'}"]
    assert main.main(["train", "--config=clips", *flags, *FLAGS]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["headline"]["value"] > 0.9 and "floor/nearest motion" in results["named"]


def test_wrong_folders_are_said_by_name(trained, tmp_path, capsys):
    films, features, _ = trained
    for flag, said in (
        (f"--config.data.root={films}", "no manifest.json of gfvad extract"),
        (f"--config.data.root={features}", "has no audio"),
    ):
        more = ["--config.data.modalities=motion,audio", "--config.model.terms=motion*audio"]
        run = [f"--workdir={tmp_path / 'run'}", *FLAGS, *more]
        assert main.main(["train", "--config=clips", flag, *run]) == 2
        assert said in capsys.readouterr().err


def test_roots_of_length_one():
    x = np.array([[4.0, -9.0, 0.0], [0.0, 0.0, 0.0]])
    found = unit_length(x)
    np.testing.assert_allclose(found[0], np.array([2, -3, 0]) / np.sqrt(13), rtol=1e-6)
    assert not found[1].any() and found.dtype == np.float32
