"""No score that is not finite is written, by any command: the video and the modality are named,
the others are scored."""

import json

import feature_folders as ff
import numpy as np
import pytest
from small_run import Run

from gfvad import main
from gfvad.base.errors import EXIT_BAD_INPUT, EXIT_SOME_FAILED
from gfvad.base.types import DataError, ScoredVideo
from gfvad.commands import prepare
from gfvad.data.features import layouts
from gfvad.data.features.layouts import arrays
from gfvad.measure import finite, results
from gfvad.measure.score_result import UnitScore
from gfvad.scoring import files
from gfvad.scoring.log import Log
from gfvad.tasks.fusion import standalone
from gfvad.tasks.fusion.live import UnitStreamer
from gfvad.tasks.fusion.standalone import Refused, UnitScorer

HUGE = {"float32": np.float32(1e30), "float64 beyond float32": np.float64(1e300)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a small run of rgb and audio."""
    folder = tmp_path_factory.mktemp("run")
    made = Run("xd", "audio_visual", folder)
    return made, made.save(folder / "run")


def inputs(folder, widths, huge):
    """Three videos, of which b has a huge value in audio."""
    for i, name in enumerate("abc"):
        for m, d in widths.items():
            x = ff.features(5, d, seed=i).astype(huge.dtype)
            if (name, m) == ("b", "audio"):
                x[2, 1] = huge
            ff.save(folder / m / f"{name}.npy", x)
    return folder


@pytest.mark.parametrize("kind", HUGE)
def test_scoring_names_the_video_and_scores_the_others(
    kind, run, repository, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(repository)
    made, workdir = run
    source, out = inputs(tmp_path / "in", made.widths, HUGE[kind]), tmp_path / "scores.npz"
    assert (
        main.main(["--mode=score", f"--workdir={workdir}", f"--input={source}", f"--output={out}"])
        == EXIT_SOME_FAILED
    )
    said = capsys.readouterr().err
    assert (
        "no scores of b" in said
        and "audio" in said
        and "e+30" in said.replace("e+300", "e+30")
        and "Traceback" not in said
    )
    found = results.read_scores(out)
    assert set(found) == {"a", "c"} and all(np.isfinite(x).all() for x in found.values())
    for name in "ac":
        for m in made.widths:
            (source / m / f"{name}.npy").unlink()
    assert (
        main.main(
            [
                "--mode=score",
                f"--workdir={workdir}",
                f"--input={source}",
                f"--output={tmp_path / 'none.npz'}",
            ]
        )
        == EXIT_BAD_INPUT
    )
    assert not (tmp_path / "none.npz").exists()


@pytest.mark.parametrize("kind", HUGE)
def test_preparation_refuses(kind, tmp_path, capsys):
    root = ff.generic_folder(tmp_path / "set")
    x = ff.features(5, 7, seed=1).astype(HUGE[kind].dtype)
    x[0, 3] = HUGE[kind]
    ff.save(root / "train/pose/b.npy", x)
    argv = ["--dataset=generic", f"--source={root}", "--modalities=pose,clip"]
    assert prepare.main([*argv, "--check", "--deep"]) == 1
    said = capsys.readouterr().out
    assert "range: 1" in said and "pose/b.npy" in said and "overflow float32" in said
    assert prepare.main([*argv, f"--out={tmp_path / 'records'}"]) == EXIT_BAD_INPUT
    assert "pose/b.npy" in capsys.readouterr().err and not (tmp_path / "records").exists()


@pytest.mark.parametrize("kind", HUGE)
@pytest.mark.parametrize("form", ["npz", "logits"])
def test_containers_refuse(form, kind, tmp_path):
    x = ff.features(2, 5, 6).astype(HUGE[kind].dtype)
    x[1, 2, 3] = HUGE[kind]
    if form == "npz":
        np.savez(tmp_path / "set.npz", x=x, name=["a", "b"], label=[0, 1], split=["train", "train"])
        layout = layouts.open_layout(ff.config("generic", tmp_path / "set.npz", "x"))
    else:
        ff.ucf_logits(tmp_path)
        np.savez(
            tmp_path / "i3d_logits_train.npz", x=x, name=["Normal_Videos003_x264", "Abuse001_x264"]
        )
        layout = layouts.open_layout(ff.config("ucf_logits", tmp_path, "i3d_logits"))
    with pytest.raises(DataError, match="values up to 1e"):
        for entry in layout.entries("train"):
            layout.load(entry)


def test_ordinary_values_pass():
    for dtype in (np.float16, np.float32, np.float64):
        arrays.require_finite(np.array([-65504.0, 1.0], dtype), "x")
    assert (
        not arrays.too_large(np.array([arrays.LARGEST], np.float32))
        and arrays.LARGEST == standalone.LARGEST
    )


def scorer(program):
    return UnitScorer(
        program, {"modalities": {"rgb": 2, "audio": 3}, "lengths": [8], "segments": 0}
    )


def bursting(features, mask):
    """NaN where audio is above 10."""
    level = features["audio"].max(-1) + features["rgb"].mean(-1)
    return {
        "scores": np.where(features["audio"].max(-1) > 10, np.nan, 1 / (1 + np.exp(-level))),
        "graph": np.zeros((1, 8, 8)),
    }


def test_a_single_video_is_refused_by_modality():
    units = scorer(bursting)
    video = {"rgb": np.ones((4, 2), np.float32), "audio": np.ones((4, 3), np.float32)}
    assert np.isfinite(units.score("film", video)["scores"]).all()
    with pytest.raises(
        Refused,
        match=r"film: 4 of 4 scores are not finite numbers, because of audio \(values up to 20\)",
    ):
        units.score("film", video | {"audio": video["audio"] * 20}, parts=True)
    for value, dtype in ((1e30, np.float32), (1e300, np.float64)):
        with pytest.raises(Refused, match="film: audio has values up to 1e"):
            units.score("film", video | {"audio": video["audio"].astype(dtype) * value})


def test_the_artefact_by_itself(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(standalone, "open_artefact", lambda folder: scorer(bursting))
    good, bad = np.ones((4, 3), np.float32), np.full((4, 3), 1e30, np.float32)
    rgb = np.ones((4, 2), np.float32)
    np.savez(
        tmp_path / "in.npz",
        **{
            "a/rgb": rgb,
            "a/audio": good,
            "b/rgb": rgb,
            "b/audio": bad,
            "c/rgb": rgb,
            "c/audio": good * 20,
        },
    )
    assert standalone.main([str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]) == 1
    said = capsys.readouterr().err
    assert "no scores of b: audio" in said and "no scores of c" in said
    with np.load(tmp_path / "out.npz") as found:
        assert found.files == ["a"] and np.isfinite(found["a"]).all()
    np.savez(tmp_path / "bad.npz", **{"b/rgb": rgb, "b/audio": bad})
    assert (
        standalone.main([str(tmp_path / "bad.npz"), str(tmp_path / "none.npz")]) == 2
        and not (tmp_path / "none.npz").exists()
    )


def test_a_stream_leaves_it_out(tmp_path, capsys):
    log = Log(tmp_path, "camera", (0.5, 1.0), files.Columns(["rgb"]))
    for k, score in enumerate((0.25, np.nan, np.inf, 0.75)):
        log.take(UnitScore(k, k + 1, score, {"rgb": 0.5}), 0.0)
    log.take(UnitScore(4, 5, 0.5, {"rgb": np.nan}), 0.0)
    log.close()
    written = (tmp_path / "scores.csv").read_text()
    assert (
        log.lost == 3
        and written.count("\n") == 3
        and "nan" not in written + (tmp_path / "alarms.csv").read_text()
        and "inf" not in written
    )
    assert capsys.readouterr().err.count("no score") == 3


def test_units_after_a_bad_one_are_scored(monkeypatch):
    from types import SimpleNamespace

    streamer = UnitStreamer(scorer(bursting), [], False)
    values = iter((1.0, 20.0, 1.0))
    streamer._encoders = {
        "audio": SimpleNamespace(encode=lambda unit: np.full(3, next(values), np.float32))
    }
    rows = [streamer._score_unit(SimpleNamespace(start=k, end=k + 1)) for k in range(3)]
    assert [bool(np.isfinite(row.score)) for row in rows] == [True, False, True]


def scored(name, *scores):
    x = np.array(scores, np.float64)
    return ScoredVideo(
        name, x, np.zeros(len(x), np.uint8), 0, (), np.zeros((0, 2), np.int64), (), 16, 25.0
    )


def test_an_evaluation_writes_the_others_and_no_results(tmp_path):
    videos = [scored("a", 0.1, 0.2), scored("b", 0.1, np.nan)]
    features = [{}, {"rgb": np.ones(3), "audio": np.full(3, 1e16)}]
    with pytest.raises(
        DataError,
        match=(
            r"1 of 2 videos .*b: 1 of 2 scores .* reach audio 1e\+16, rgb 1;.*scores of the other 1"
            r" are in"
        ),
    ):
        finite.require(tmp_path / "scores.npz", videos, features.__getitem__)
    assert set(results.read_scores(tmp_path / "scores.npz")) == {"a"}
    before = (tmp_path / "scores.npz").read_bytes()
    (tmp_path / "results.json").write_text(json.dumps({}))
    with pytest.raises(DataError, match="No results are written$"):
        finite.require(tmp_path / "scores.npz", [scored("c", 0.5), videos[1]])
    assert (tmp_path / "scores.npz").read_bytes() == before
    with pytest.raises(DataError, match="'b' are not all finite"):
        results.write_scores(tmp_path / "scores.npz", videos)
    assert (tmp_path / "scores.npz").read_bytes() == before


def test_scores_without_labels(tmp_path, capsys):
    """As --mode=score of the predictive model leaves them."""
    nothing = np.zeros(0, np.uint8), -1, (), np.zeros((0, 2), np.int64), (), 1, 0.0
    videos = [
        ScoredVideo("a", np.ones(3), *nothing),
        ScoredVideo("b", np.array([1.0, np.inf]), *nothing),
    ]
    assert finite.write_usable(tmp_path / "s.npz", *finite.divide(videos)) == EXIT_SOME_FAILED
    assert "no scores of b: 1 of 2 scores" in capsys.readouterr().err and set(
        results.read_scores(tmp_path / "s.npz")
    ) == {"a"}
    with pytest.raises(DataError, match="b: 1 of 2"):
        finite.write_usable(tmp_path / "t.npz", *finite.divide(videos[1:]))
