"""Runs whose units are related to the others of their frame: trained, streamed, compared."""

import json

import numpy as np
import pytest
import room_films
import walkers

from gfvad import main
from gfvad.ablation.sweep import Source, read_sweep
from gfvad.base.types import ConfigError
from gfvad.commands import ablate
from gfvad.tasks.novelty.scorer import open_scorer


@pytest.fixture(scope="module", autouse=True)
def _in_checkout(repository):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        yield


def among(first):
    """Flags of relations to the others of a frame, by one feature set."""
    return [
        f"--config.data.modalities={first},company,relative",
        f"--config.model.terms={first},{first}*company*relative",
        "--config.model.scales=(1.0,1.0,1.0)",
        "--config.score.beside=2.0",
        "--config.score.alike=1.0",
    ]


def test_a_stream_has_the_relations_of_the_whole_film(tmp_path):
    root, run = room_films.write_set(tmp_path / "set"), tmp_path / "run"
    flags = [f"--config.data.root={root}", f"--workdir={run}", *room_films.FLAGS]
    assert main.main(["train", "--config=room", *flags, *among("contrast")]) == 0
    film, out = root / "testing" / "00.mp4", tmp_path / "live"
    assert main.main(["score", f"--model={run}", "--stream", str(film), f"--out={out}"]) == 0
    scorer = open_scorer(run, "last")
    videos, model = scorer.open(film), scorer.model
    whole = model.score_of(model.read(videos, 0), videos, 0, past=True)
    found = dict(np.load(out / "scores.npz"))["00"]
    np.testing.assert_allclose(found, whole.score, rtol=1e-3, atol=1e-3)


def test_settings_share_what_was_compared_with_the_bank(tmp_path):
    data, out = walkers.write_set(tmp_path / "tracks"), tmp_path / "out"
    sweep = tmp_path / "sweep.py"
    settings = '{"alone": {}, "beside": {"score.beside": 2.0, "score.alike": 1.0}}'
    sweep.write_text(f"def get_sweep(config):\n    return {{'settings': {settings}}}\n")
    flags = ["--config=avenue_tracks", f"--config.data.root={data}", *walkers.FLAGS]
    flags += among("velocity")[:-2]
    words = [f"--sweep={sweep}", f"--workdir={out}", "--seeds=1", "--resamples=20"]
    assert ablate.main([*flags, *words]) == 0
    folders = [out / "settings" / name / "seed0" for name in ("alone", "beside")]
    before = [dict(np.load(folder / "scores.npz")) for folder in folders]
    assert any(not np.allclose(x, before[1][name]) for name, x in before[0].items())
    # what the first had compared gives what the second compares by itself
    assert main.main(["evaluate", f"--workdir={folders[1]}"]) == 0
    for name, scores in np.load(folders[1] / "scores.npz").items():
        assert np.array_equal(scores, before[1][name])
    results = json.loads((folders[1] / "results.json").read_text())
    assert "this model, company alone" in results["named"]


@pytest.mark.parametrize("flag", ["--config.data.grids=1x1", "--config.data.grids=2x4"])
def test_a_whole_picture_has_nothing_beside_it(flag):
    sweep = read_sweep("configs/sweeps/levels.py", Source("configs/room.py", "", (flag,)))
    names = {setting.name for setting in sweep.settings}
    assert ("frame" in names) == ("1x1" not in flag) and {"alone", "time"} <= names


def test_relations_need_a_set_to_be_made_of(tmp_path):
    with pytest.raises(ConfigError, match="stands first"):
        Source("configs/room.py", "", ("--config.data.modalities=company",)).config()
