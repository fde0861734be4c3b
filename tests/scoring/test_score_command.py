"""`gfvad score`: videos in, tables out; bad files, other encoders, streams; by a small
model with random weights."""

import csv
import json

import numpy as np
import pytest
from small_run import Run

pytest.importorskip("av", reason="PyAV is not installed (launch/requirements-video.txt)")
pytest.importorskip("cv2", reason="OpenCV is not installed (launch/requirements-video.txt)")

from media_files import tone, write_media  # noqa: E402

from gfvad import main  # noqa: E402
from gfvad.commands import export, score  # noqa: E402
from gfvad.encoders.registry import DEFAULT, open_encoder  # noqa: E402
from gfvad.encoders.units import PATCH  # noqa: E402
from gfvad.extraction import provenance  # noqa: E402
from gfvad.extraction.feature_files import describe_encoder  # noqa: E402
from gfvad.tasks.fusion.live import UnitStreamer  # noqa: E402
from gfvad.tasks.fusion.scorer import open_scorer  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a run on extracted features."""
    import small_run

    folder = tmp_path_factory.mktemp("model")
    encoders = {m: describe_encoder(open_encoder(m)) for m in DEFAULT}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_run, "DIMS", {m: e["width"] for m, e in encoders.items()})
        run = Run("own", "", folder).save(folder / "run")
    (run / provenance.FEATURES).write_text(json.dumps({"encoders": encoders}))
    return run


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three videos: with sound, without, and cut off."""
    folder = tmp_path_factory.mktemp("videos")
    write_media(folder / "a film.mp4", 40, sound=tone(1.6))
    write_media(folder / "stumm ü.mp4", 20, seed=1)
    content = write_media(folder / "cut.mp4", 40, seed=2).read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    return folder


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_videos_to_tables(model, videos, tmp_path, capsys):
    """One bad file is listed and does not stop the others; the second call extracts nothing; an
    export gives the same scores."""
    assert (
        score.main(
            [
                f"--model={model}",
                str(videos),
                f"--out={tmp_path / 'out'}",
                "--workers=0",
                "--threshold=0.2",
            ]
        )
        == 1
    )
    said = capsys.readouterr()
    assert (
        "cut.mp4" in said.err
        and "cut off" in said.err
        and "1 of 3 files gave no scores" in said.err
        and "0.2 (given)" in said.out
    )
    found = rows(tmp_path / "out" / "scores.csv")
    assert [(r["video"], r["unit"]) for r in found] == [
        ("a film", "0"),
        ("a film", "1"),
        ("a film", "2"),
        ("stumm ü", "0"),
        ("stumm ü", "1"),
    ]
    assert (
        float(found[2]["end"]) == pytest.approx(1.6)
        and set(DEFAULT) < set(found[0])
        and float(found[3]["audio"]) == 0.0
    )
    tree = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (
        tree["videos"][1]["missing"] == ["audio"]
        and tree["videos"][0]["path"] == str(videos / "a film.mp4")
        and len(tree["failed"]) == 1
    )
    with np.load(tmp_path / "out" / tree["videos"][0]["details"]) as details:
        assert details["graph"].shape == (3, 3)
    assert (
        score.main(
            [
                f"--model={model}",
                str(videos / "a film.mp4"),
                f"--out={tmp_path / 'out'}",
                "--workers=0",
            ]
        )
        == 0
    )
    assert "1 were done before" in capsys.readouterr().out
    assert [r["score"] for r in rows(tmp_path / "out" / "scores.csv")] == [
        r["score"] for r in found[:3]
    ]
    assert (
        export.main([f"--workdir={model}", f"--out={tmp_path / 'export'}", "--platforms=cpu"]) == 0
    )
    # the cut one stays listed
    assert (
        score.main(
            [
                f"--model={tmp_path / 'export'}",
                str(tmp_path / "out" / "features"),
                f"--out={tmp_path / 'again'}",
            ]
        )
        == 1
    )
    again = rows(tmp_path / "again" / "scores.csv")
    np.testing.assert_allclose(
        [float(r["score"]) for r in again], [float(r["score"]) for r in found], atol=1e-5
    )


def test_files_of_features(tmp_path, monkeypatch):
    """Plain files of features, without `gfvad.extract`: by a run and by its export, crops and a
    missing modality included; the frame scores are those of --mode=score."""
    run = Run("xd", "audio_visual", tmp_path)
    folder, given = run.save(tmp_path / "run"), tmp_path / "given"
    rng = np.random.default_rng(0)
    for m, width in run.widths.items():
        (given / m).mkdir(parents=True)
        for name, units in (("one", 5), ("two", 17)):
            crops = (2,) if m == "rgb" else ()
            if (m, name) != ("audio", "one"):
                np.save(given / m / f"{name}.npy", rng.random((units, *crops, width), np.float32))
    assert export.main([f"--workdir={folder}", f"--out={tmp_path / 'export'}"]) == 0
    expected = tmp_path / "frames.npz"
    arguments = [f"--workdir={folder}", f"--input={given}", f"--output={expected}"]
    assert main.main(["--mode=score", *arguments]) == 0
    for model in (folder, tmp_path / "export"):
        out = tmp_path / f"of {model.name}"
        assert score.main([f"--model={model}", str(given), f"--out={out}"]) == 0
        with np.load(out / "scores.npz") as found, np.load(expected) as frames:
            assert found.files == frames.files == ["one", "two"]
            for name in found.files:
                np.testing.assert_allclose(found[name], frames[name], atol=1e-5)
        first, second = json.loads((out / "scores.json").read_text())["videos"]
        assert first["missing"] == ["audio"] and not second["missing"]
        assert set(second["contributions"]) == {"rgb", "audio"} and first["frames"] == 80
    assert score.main([f"--model={folder}", str(given), str(given), f"--out={out}"]) == 2


def test_labels_of_features_reach_the_report(model, videos, tmp_path):
    out = tmp_path / "features"
    from gfvad.commands import extract

    (tmp_path / "labels.csv").write_text(
        "name,label,split\na film,1,test\nstumm ü,0,test\n", encoding="utf-8"
    )
    assert (
        extract.main(
            [
                str(videos / "a film.mp4"),
                str(videos / "stumm ü.mp4"),
                f"--out={out}",
                "--workers=0",
                f"--labels={tmp_path / 'labels.csv'}",
            ]
        )
        == 0
    )
    assert score.main([f"--model={model}", str(out), f"--out={tmp_path / 'out'}"]) == 0
    first, second = json.loads((tmp_path / "out" / "scores.json").read_text())["videos"]
    assert (
        first["label"] == 1
        and first["spans"] == [[0.0, 1.6]]
        and second["label"] == 0
        and second["spans"] == []
    )


def test_other_encoders_are_refused(model, videos, tmp_path, capsys):
    """Features of another version than those of training are never mixed with the model; a run
    without encoders says what can be done."""
    other = tmp_path / "other"
    other.mkdir()
    for file in ("config.json", "checkpoints"):
        (other / file).symlink_to(model / file)
    assert score.main([f"--model={other}", str(videos), f"--out={tmp_path / 'out'}"]) == 2
    assert "its features were not made by `gfvad extract`" in capsys.readouterr().err
    encoders = provenance.kept(model)
    encoders["audio"] |= {"version": 9, "id": "0" * 16}
    (other / provenance.FEATURES).write_text(json.dumps({"encoders": encoders}))
    assert score.main([f"--model={other}", str(videos), f"--out={tmp_path / 'out'}"]) == 2
    assert (
        "its audio was made by audio version 9 (62 numbers), here is audio version 2"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()
    for wrong, message in ((["--path=audio"], "expected MODALITY=FILE"), ([], "--out is missing")):
        assert score.main([f"--model={model}", str(videos), *wrong]) == 2
        assert message in capsys.readouterr().err
    assert (
        score.main([f"--model={tmp_path / 'none'}", str(videos), f"--out={tmp_path / 'out'}"]) == 2
    )
    assert "expected the folder of a trained run, or of an export" in capsys.readouterr().err


def test_a_stream_is_scored_as_it_comes(model, videos, tmp_path, capsys):
    """Every unit once, each with those before it in sight: the scores of the growing video;
    tables grow with it."""
    film = videos / "a film.mp4"
    assert (
        score.main(
            [
                f"--model={model}",
                str(film),
                "--stream",
                f"--out={tmp_path / 'live'}",
                "--threshold=0.0",
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert (
        "delay    a unit of 16 frames (0.64 s)" in said
        and "ALARM begins" in said
        and "3 scores" in said
        and "median" in said
    )
    found = rows(tmp_path / "live" / "scores.csv")
    live = json.loads((tmp_path / "live" / "scores.json").read_text())
    assert live["videos"][0]["path"] == str(film) and live["videos"][0]["frames"] == 40
    assert live["model"]["threshold_rule"] == "given"
    with np.load(tmp_path / "live" / "scores.npz") as frames:
        scores = [float(r["score"]) for r in found]
        np.testing.assert_allclose(frames["a film"], np.repeat(scores, [16, 16, 8]), atol=1e-6)
    assert [r["unit"] for r in found] == ["0", "1", "2"] and len(
        rows(tmp_path / "live" / "alarms.csv")
    ) == 1
    assert (
        score.main([f"--model={model}", str(film), f"--out={tmp_path / 'whole'}", "--workers=0"])
        == 0
    )
    # the newest unit has the whole video in sight
    assert float(found[-1]["score"]) == pytest.approx(
        float(rows(tmp_path / "whole" / "scores.csv")[-1]["score"]), abs=2e-3
    )
    assert score.main([f"--model={model}", str(film), "--stream", "--loop", "--seconds=5"]) == 0
    assert "0:00:04" in capsys.readouterr().out
    short = [f"--model={model}", str(film), "--stream", "--seconds=0.1"]
    assert score.main([*short, f"--out={tmp_path / 'short'}"]) == 0  # before the first unit
    assert json.loads((tmp_path / "short" / "scores.json").read_text())["videos"][0]["score"] == []
    assert score.main([f"--model={model}", str(film), str(film), "--stream"]) == 2


def test_memory_of_a_stream_is_bounded(model):
    from gfvad.encoders.units import Picture, Sound

    scorer = open_scorer(model).units
    streamer = UnitStreamer(scorer, [open_encoder(m) for m in DEFAULT], sound=True)
    rgb = np.zeros((16, 16, 3), np.uint8)
    found = []
    for i in range(16 * 12):
        found += streamer.push(Sound(i / 25, np.zeros(640, np.float32))) + streamer.push(
            Picture(i / 25, rgb)
        )
    assert len(streamer._rows) == streamer.memory == 8 and len(found) == 11 and found[-1].end > 7
    assert len(streamer._grouper._samples) < 4 * PATCH * 16000
