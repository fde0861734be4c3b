"""A trained predictive model as a scorer of videos and of streams: the numbers of --mode=score
without the training set, in chunks, frame by frame."""

import contextlib
import io
import json
import os
import shutil

import numpy as np
import pytest
import tiny_clips
import video_files
from ml_collections import ConfigDict

from configs.common import get_config
from gfvad import main, tasks
from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames import decode
from gfvad.data.frames.clip_data import open_split
from gfvad.data.frames.descriptions import describe_one
from gfvad.encoders.units import Picture
from gfvad.settings import config as config_lib
from gfvad.tasks import task_of_folder
from gfvad.tasks.artefact import TOLERANCE
from gfvad.tasks.prediction import score_rule, score_terms, term_weights, trained
from gfvad.tasks.prediction import scorer as scoring
from gfvad.tasks.prediction.picture_bank import SIZE, PictureBank
from gfvad.tasks.prediction.registry import build_model
from gfvad.tasks.prediction.scorer import PredictiveScorer
from gfvad.tasks.prediction.stream import ClipStreamer
from gfvad.tasks.prediction.window import ClipWindow, ScoreWindows
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.optim import make_optimiser
from gfvad.train.state import init_from

QUICK = {"score__perturbations": 1, "score__temporal": 5, "score__text_frames": 5}


@pytest.fixture(autouse=True, scope="module")
def _in_checkout(repository, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        patch.setenv("GFVAD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory):
    return tiny_clips.write_set(tmp_path_factory.mktemp("set") / "tiny")


def launch(*argv):
    """One command line: (exit code, standard output, standard error)."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = main.main([str(word) for word in argv])
    return code, out.getvalue(), err.getvalue()


def untrained(root, workdir, variant):
    """The folder of a run before its first step, as earlier versions left it: without a scorer.
    (The training of one: tests/tasks/prediction/test_clip_job.py.)"""
    config = tasks.parse(
        [
            f"--config=configs/ped2.py:{variant}",
            f"--config.data.root={root}",
            *tiny_clips.flags(**QUICK),
        ]
    ).config
    config_lib.save(config, workdir)
    data = open_split(config, "train", lambda line: None)
    model = build_model(config, data.text_width)
    transform = make_optimiser(config.optim, config.train.steps).transform
    state = init_from(model, transform, (data.features(0, 0),), config.seed)
    with Checkpoints(workdir / "checkpoints", config, trained.identity(data), write=True) as kept:
        kept.save(1, state, None, None, {})
    return workdir


def mode_score(run, source, output, *more):
    """(scores by name, standard error) of --mode=score."""
    code, _, err = launch(
        "--mode=score", f"--workdir={run}", f"--input={source}", f"--output={output}", *more
    )
    assert code == 0, err
    return scores_of(output), err


def take_away(run, root):
    """From here on the run's training set is not where its config says."""
    (run / "config.json").write_text(
        (run / "config.json").read_text().replace(str(root), "/nonexistent/set")
    )


@pytest.fixture(scope="module")
def silent(tiny_set, tmp_path_factory):
    """A run without descriptions, away from its training set."""
    run = untrained(tiny_set, tmp_path_factory.mktemp("silent") / "run", "small+no_text")
    _, err = mode_score(run, tiny_set / "testing" / "frames", run / "scores.npz")
    assert (
        "scorer: none is kept, made from the training videos" in err
        and "reading training videos" in err
    )
    take_away(run, tiny_set)
    return run


@pytest.fixture(scope="module")
def scorer(silent):
    return PredictiveScorer.open(silent)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return video_files.write_video(tmp_path_factory.mktemp("video") / "a walk, 1 é.mp4", 43)


def whole(scorer, path, captions=""):
    """Readings of a whole video, as --mode=score takes them from the stores on disk."""
    config = scorer.config.copy_and_resolve_references()
    (
        config.data.root,
        config.data.layout,
        config.data.train_descriptions,
        config.data.test_descriptions,
    ) = (str(path), "any", str(captions), str(captions))
    return scorer.run.reader.read(
        scorer.run.state,
        open_split(config, "test", lambda line: None, scorer.run.scorer.flow_size),
        [0],
        "whole",
    )[0]


@pytest.fixture(scope="module")
def readings(scorer, video):
    return whole(scorer, video)


def scores_of(path):
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


# ---- windows and clips, without a model


BANK = PictureBank(
    np.random.default_rng(9).integers(0, 256, (20, *SIZE), np.uint8), np.arange(20) % 3
)


def made_up(frames, seed=0):
    rng = np.random.default_rng(seed)
    maps = {
        name: rng.random((frames, 6, 9), np.float32)
        for name in ("appearance", "pace", "flow", "speed")
    }
    maps["relation"] = rng.random((frames, 2, 3, 4), np.float32)
    maps["pictures"] = rng.integers(0, 256, (frames, *SIZE), np.uint8)
    return score_terms.Readings(maps, rng.normal(size=(frames, 7)), rng.random(frames))


def part(readings, start, stop):
    return score_terms.Readings(
        {n: x[start:stop] for n, x in readings.maps.items()},
        readings.semantic[start:stop],
        readings.text[start:stop],
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("chunks", [[57], [1] * 57, [2, 16, 16, 1, 16, 6], [40, 17]])
@pytest.mark.parametrize("temporal, text", [(13, 15), (6, 1), (1, 4)])
def test_scores_in_chunks_are_those_of_the_whole_video(causal, chunks, temporal, text):
    cfg = ConfigDict(
        {
            "terms": score_terms.TERMS,
            "temporal": temporal,
            "text_frames": text,
            "spatial": 3,
            "causal": causal,
            "ridge": 1e-3,
        }
    )
    calibration = score_terms.fit([made_up(60, 1)], [made_up(40, 2)], cfg, BANK)
    whole, parts = made_up(sum(chunks)), dict.fromkeys(score_terms.TERMS, 0.5)
    expected = score_terms.calibrated(
        score_terms.frame_values(whole, calibration, cfg), calibration, cfg.terms
    )
    windows, given, done = ScoreWindows(calibration, parts, cfg, heat=True), [], 0
    for count in chunks:
        given.append(windows.push(part(whole, done, done + count)))
        done += count
        ready = sum(len(g.heat) for g in given if g)
        assert ready == max(0, done - windows.delay) and windows.delay == (
            0 if causal else max(temporal, text) // 2
        )
        # what is kept is bounded
        assert len(windows._kept.semantic) <= count + 2 * max(temporal, text)
    given = [g for g in (*given, windows.finish()) if g]
    for name, x in expected.items():
        np.testing.assert_allclose(
            np.concatenate([g.evidence[name] for g in given]), x, rtol=1e-5, atol=1e-6
        )
    np.testing.assert_allclose(
        np.concatenate([g.heat for g in given]),
        score_terms.heat(whole, calibration, parts, cfg)["total"],
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "settings", [{}, {"data__stride": 3, "data__channels": 3}, {"data__flow": False}]
)
@pytest.mark.parametrize("frames", [1, 2, 17])
def test_clips_of_a_stream_are_those_of_the_stores(tmp_path, settings, frames):
    """Every feature to the bit, also of the first frames, which have no past."""
    folder = video_files.write_frames(tmp_path / "own", frames, seed=3)
    config = tiny_clips.config("no_text", data__root=str(folder), data__layout="any", **settings)
    data = open_split(config, "test", lambda line: None)
    size = (0, 0) if data.flow is None else data.flow.size
    window, found = ClipWindow(config, size), []
    for frame, grey in scoring.frames_of(
        scoring.one_video(folder), config.data.channels, config.data.flow
    ):
        found += window.push(frame, grey)
    found += window.finish()
    assert len(found) == frames
    for t, clip in enumerate(found):
        expected = data.features(0, t)
        assert clip.keys() == expected.keys()
        for name, x in expected.items():
            np.testing.assert_array_equal(clip[name], x, err_msg=f"{name}, frame {t}")
            assert clip[name].dtype == x.dtype


def test_heat_maps_of_a_long_video_are_thinned(monkeypatch):
    monkeypatch.setattr(scoring, "HEAT_MAPS", 10)
    maps = scoring.HeatMaps(2.0)
    for start in range(0, 100, 7):
        maps.add(np.arange(start, min(start + 7, 100), dtype=float).reshape(-1, 1, 1) / 50)
    found, numbers = maps.result()
    assert (
        5 <= len(numbers) <= 10
        and (np.diff(numbers) == numbers[1]).all()
        and numbers[0] == 0
        and numbers[-1] > 100 - 2 * numbers[1]
    )
    np.testing.assert_array_equal(found[:, 0, 0], np.rint(numbers / 50 * 127.5))


def test_times_of_frames(video):
    times = []
    frames = list(decode.read_video(video, decode.GREY, times))
    np.testing.assert_allclose(times, np.arange(len(frames)) / 25, atol=1e-6)


# ---- the scorer on disk


def test_a_scorer_comes_back_as_it_was(tmp_path):
    cfg = ConfigDict(
        {
            "terms": score_terms.TERMS,
            "temporal": 5,
            "text_frames": 5,
            "spatial": 3,
            "causal": False,
            "ridge": 1e-3,
        }
    )
    calibration = score_terms.fit([made_up(60, 1)], [made_up(40, 2)], cfg, BANK)
    chosen = term_weights.Chosen(
        {"appearance": 0.25, "speed": 1.0}, float("nan"), {"appearance": 0.7, "speed": 0.9}
    )
    causal = calibration._replace(mean={n: x + 1 for n, x in calibration.mean.items()})
    held = np.linspace(0, 1, 201, dtype=np.float32)
    scorer = score_rule.ScoreRule(
        calibration,
        causal,
        chosen,
        held,
        held + 1,
        {"frames": ((5, 24, 36, 1), "uint8"), "text": ((6,), "float32")},
        (32, 48),
    )
    assert score_rule.read_rule(tmp_path / "scorer-1-a.npz") is None
    path = score_rule.write_rule(score_rule.path_of(tmp_path, 300, "1a2b"), scorer)
    found = score_rule.read_rule(path)
    assert [p.name for p in tmp_path.iterdir()] == ["scorer-300-1a2b.npz"]
    for mine, theirs in ((found.calibration, calibration), (found.causal, causal)):
        np.testing.assert_array_equal(mine.speed, theirs.speed)
        for pair, other in ((mine.relation, theirs.relation), (mine.semantic, theirs.semantic)):
            for x, y in zip(pair, other):
                np.testing.assert_array_equal(x, y)
                assert x.dtype == y.dtype
        assert (mine.mean, mine.std) == (theirs.mean, theirs.std)
    assert (
        found.chosen.weights == chosen.weights
        and found.chosen.alone == chosen.alone
        and np.isnan(found.chosen.auc)
    )
    assert (found.inputs, found.flow_size, found.text_width) == (scorer.inputs, (32, 48), 6)
    assert (
        found.threshold() == pytest.approx(0.995)
        and found.threshold(causal=True, quantile=0.5) == pytest.approx(1.5)
        and "99.5%" in found.threshold_rule()
    )
    assert found.example()["frames"].shape == (5, 24, 36, 1) and found.heat_top == pytest.approx(
        (1.0 + 0.25 + 1.0) * np.log1p(np.logaddexp(0, 10.0))
    )
    renamed = path.rename(tmp_path / "scorer-301-1a2b.npz")
    with pytest.raises(DataError, match="scorer-300-1a2b, expected format 1 of scorer-301-1a2b"):
        score_rule.read_rule(renamed)
    renamed.write_bytes(renamed.read_bytes()[:500])
    with pytest.raises(DataError, match="not a whole .npz.*remove it"):
        score_rule.read_rule(renamed)


@pytest.mark.parametrize("what", ["pipe", "folder", "link"])
def test_a_scorer_that_is_no_file(tmp_path, what):
    """Named, and not replaced."""
    path = tmp_path / "scorer-1-a.npz"
    {"pipe": os.mkfifo, "folder": os.mkdir, "link": lambda p: p.symlink_to("nowhere")}[what](path)
    with pytest.raises(DataError, match="scorer-1-a.npz.*remove it"):
        score_rule.read_rule(path)


def test_a_scorer_is_of_one_checkpoint_and_of_settings_of_the_score(silent, scorer, tmp_path):
    config = scorer.config
    path = trained.scorer_path(config, silent, 1)
    assert path.is_file() and list(silent.glob("scorer-*")) == [path]

    def other(**changed):
        c = config.copy_and_resolve_references()
        c.update_from_flattened_dict(
            {key.replace("__", "."): value for key, value in changed.items()}
        )
        return trained.scorer_path(c, silent, 1)

    assert (
        other(data__root="/elsewhere", score__floors=True, eval__bootstrap=7, data__workers=5)
        == path
    )
    assert (
        len(
            {
                path,
                other(score__temporal=7),
                other(score__causal=True),
                other(score__weights=(1.0,)),
                other(data__validation_fraction=0.5),
            }
        )
        == 5
    )
    again = shutil.copytree(silent, tmp_path / "again")
    assert trained.scorer_path(config, again, 1).name == path.name  # a copy of the same training
    (again / "checkpoints" / "1" / trained.CHECKPOINT_MARK).write_text("{}")
    assert trained.scorer_path(config, again, 1).name != path.name  # trained anew


# ---- videos


def test_mode_score_without_the_training_set(silent, tiny_set, tmp_path, scorer):
    """The kept scorer gives the scores that it gave when it was made; so does a scorer of single
    videos, in chunks."""
    found, err = mode_score(silent, tiny_set / "testing" / "frames", tmp_path / "scores.npz")
    assert "no training set needed" in err and "reading training videos" not in err, err
    for name, x in scores_of(silent / "scores.npz").items():
        np.testing.assert_array_equal(found[name], x)
        mine = scorer.score_video(tiny_set / "testing" / "frames" / name)
        np.testing.assert_allclose(mine.score, x, atol=1e-4)
        assert (mine.name, mine.frames, mine.fps) == (name, len(x), 10.0)


def test_a_video_file(scorer, video, readings):
    kept, found = scorer.run.scorer, scorer.score_video(video)
    np.testing.assert_allclose(
        found.score,
        score_rule.frame_scores_of(readings, kept.calibration, kept.chosen, scorer.config.score),
        atol=1e-4,
    )
    heat = (
        score_terms.heat(readings, kept.calibration, kept.chosen.weights, scorer.config.score)[
            "total"
        ]
        * 255
        / kept.heat_top
    )
    assert np.abs(found.heat - np.clip(heat, 0, 255)).max() <= 0.51
    assert (found.frames, found.fps, found.name, found.path) == (
        43,
        25.0,
        video.stem,
        str(video.resolve()),
    )
    np.testing.assert_allclose(found.start, np.arange(43) / 25, atol=1e-6)
    np.testing.assert_allclose(found.end, np.arange(1, 44) / 25, atol=1e-6)
    assert (
        set(found.contributions)
        == set(scorer.contributors)
        == {"appearance", "pace", "speed", "bank"}
    )
    np.testing.assert_allclose(sum(found.contributions.values()), found.score)
    assert found.heat.shape == (43, 6, 9) and found.heat.dtype == np.uint8 and found.heat.max() > 0
    np.testing.assert_array_equal(found.heat_time, found.start)
    assert scorer.score_video(video, heat=False, progress=False).heat is None
    assert (
        scorer.threshold > 0
        and "no_text" in scorer.name
        and "step 1" in scorer.name
        and scorer.side == 48
    )


def test_another_size_of_picture_is_brought_to_that_of_training(scorer, tmp_path):
    """Speeds are in pixels of the training videos: a video of twice the size has the same."""
    large = video_files.write_frames(tmp_path / "large", 9, size=(64, 96))
    flow = [batch.features["flow"] for batch in scorer._batches(scoring.one_video(large), [], None)]
    assert flow[0].shape[2:4] == (6, 9) and scorer.run.scorer.flow_size == (32, 48)
    assert len(scorer.score_video(large).score) == 9


def test_what_cannot_be_scored(silent, scorer, tiny_set, tmp_path):
    with pytest.raises(DataError, match="absent.mp4: not found"):
        scorer.score_video(tmp_path / "absent.mp4")
    with pytest.raises(DataError, match="a folder of 3 videos"):
        scorer.score_video(tiny_set / "testing" / "frames")
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video at all")
    with pytest.raises(DataError, match="bad.mp4: not a readable video"):
        scorer.score_video(bad)
    with pytest.raises(DataError, match="no whole checkpoint '7'"):
        PredictiveScorer.open(silent, "7")
    bare = shutil.copytree(silent, tmp_path / "bare")
    for path in bare.glob("scorer-*"):
        path.rename(path.with_name("scorer-9-00000000.npz"))
    with pytest.raises(DataError) as error:
        PredictiveScorer.open(bare)
    for word in (
        "scorer-9-00000000.npz belong to other checkpoints",
        "/nonexistent/set",
        "gfvad evaluate",
    ):
        assert word in str(error.value)


# ---- descriptions


def test_a_model_that_reads_descriptions(tiny_set, tmp_path):
    """Made from its training set when it is opened first, as for runs of earlier versions."""
    run, said = untrained(tiny_set, tmp_path / "run", "small"), []
    scorer = PredictiveScorer.open(run, say=said.append)
    assert "none is kept" in said[0] and len(list(run.glob("scorer-*.npz"))) == 1
    take_away(run, tiny_set)
    assert (
        PredictiveScorer.open(run, say=said.append).needs_text
        and "no training set needed" in said[-1]
    )
    clip = tiny_set / "testing" / "frames" / "01"
    tiny_clips.write_lines(
        tmp_path / "own.jsonl",
        [
            {"video": "01", "frame": t, "text": f"A square walks, {t % 3} of three."}
            for t in range(1, 15)
        ],
    )
    read = whole(scorer, clip, tmp_path / "own.jsonl")
    with pytest.raises(DataError, match="--descriptions=FILE.*no_text"):
        scorer.score_video(clip)
    found = scorer.score_video(clip, tiny_set / "captions_gpt4o_test.jsonl")
    kept = scorer.run.scorer
    np.testing.assert_allclose(
        found.score,
        score_rule.frame_scores_of(read, kept.calibration, kept.chosen, scorer.config.score),
        atol=1e-4,
    )
    assert "semantic" in found.contributions and found.descriptions[:2] == (
        (0.0, "A square walks, 1 of three."),
        (0.1, "A square walks, 2 of three."),
    )
    with pytest.raises(ConfigError, match="no_text"):
        ClipStreamer(scorer)


def test_descriptions_of_one_video_in_a_file_of_many(tmp_path):
    rows = [
        {"video": "a 1", "frame": 1, "text": "one"},
        {"video": "01", "frame": 2, "text": "two"},
        {"video": "b 2", "frame": 9, "text": "far"},
    ]
    tiny_clips.write_lines(tmp_path / "all.jsonl", rows)
    assert describe_one(tmp_path / "all.jsonl", "01", 3).texts == (("two", "two", "two"),)
    assert describe_one(tmp_path / "all.jsonl", "b_2", 9).texts[0][-1] == "far"
    with pytest.raises(DataError, match="no description of video 'c'; found a 1, 01, b 2"):
        describe_one(tmp_path / "all.jsonl", "c", 3)
    with pytest.raises(DataError, match="frames 9 to 9"):
        describe_one(tmp_path / "all.jsonl", "b 2", 3)


# ---- streams


@pytest.fixture(scope="module")
def causal(scorer, readings):
    """Scores of the whole video with causal windows, as an evaluation makes them."""
    kept, config = scorer.run.scorer, scorer.config
    return score_rule.frame_scores_of(
        readings, kept.causal, kept.chosen, score_rule.streaming(config.score)
    )


@pytest.mark.parametrize("frames", [1, 4])
def test_a_stream_has_the_causal_scores_of_the_whole(scorer, video, causal, frames):
    streamer = ClipStreamer(scorer, frames)
    rows = []
    traces = dict(scorer.run.reader.mapper.traces)
    for t, frame in enumerate(decode.read_frames(scoring.one_video(video), decode.RGB)):
        rows += streamer.push(Picture(3.0 + t / 25, frame))
        assert t + 1 - len(rows) <= streamer.delay_frames  # how many still wait
    rows += streamer.finish()
    assert dict(scorer.run.reader.mapper.traces) == traces  # compiled before the first frame
    assert len(rows) == streamer.number == 43
    np.testing.assert_allclose([row.score for row in rows], causal, atol=1e-4)
    np.testing.assert_allclose([row.start for row in rows], 3.0 + np.arange(43) / 25)
    np.testing.assert_allclose([row.end for row in rows], 3.0 + np.arange(1, 44) / 25)
    for row in rows:
        assert row.contributions.keys() == set(scorer.contributors) and sum(
            row.contributions.values()
        ) == pytest.approx(row.score)
    assert streamer.threshold == scorer.run.scorer.threshold(causal=True)


def test_a_stream_that_breaks(scorer, video, causal):
    """After a restart the scores are those of a new video, numbers go on; wrong frames are
    refused by number."""
    streamer = ClipStreamer(scorer, 4)
    frames = list(decode.read_frames(scoring.one_video(video), decode.RGB))
    first = [row for t in range(10) for row in streamer.push(Picture(t / 25, frames[t]))]
    with pytest.raises(
        DataError, match=r"frame 10 has shape \[20, 20, 3\], expected \[32, 48, 3\]"
    ):
        streamer.push(Picture(1.0, np.zeros((20, 20, 3), np.uint8)))
    with pytest.raises(DataError, match=r"frame 10 at 0\.360 s after one at 0\.360 s"):
        streamer.push(Picture(9 / 25, frames[0]))
    first += streamer.finish()
    again = [
        row for t in range(10) for row in streamer.push(Picture(t / 25, frames[t]))
    ] + streamer.finish()
    assert len(first + again) == streamer.number == 20
    for rows in (first, again):
        np.testing.assert_allclose([row.score for row in rows], causal[:10], atol=1e-4)
    alone = streamer.push(Picture(0.0, frames[0])) + streamer.finish()  # a stream of a single frame
    assert len(alone) == 1 and streamer.number == 21 and np.isfinite(alone[0].score)


def test_the_benchmark(silent, video, capsys):
    from gfvad.bench import stream

    stream.run(
        [f"--workdir={silent}", f"--video={video}", "--repeats=1", "--paced=0.4", "--seconds=4"]
    )
    out = capsys.readouterr().out
    for words in (
        "times real time",
        "delay of ",
        "95 % below",
        "looped stream of 4 s",
        "MB in memory at 4 s",
    ):
        assert words in out, out


# ---- exports


@pytest.fixture(scope="module")
def exported_run(silent, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "artefact"
    manifest = task_of_folder(silent).export(silent, out, "last", ("cpu",))
    assert manifest["difference"] <= TOLERANCE
    return out


def test_an_export_scores_as_its_run(exported_run, scorer, video):
    """Files and streams, the maps too, with the threshold of the run."""
    assert task_of_folder(exported_run).kind == "predictive"
    other = PredictiveScorer.open(exported_run)
    assert (other.name, other.threshold, other.contributors) == (
        scorer.name,
        scorer.threshold,
        scorer.contributors,
    )
    expected, found = (s.score_video(video, progress=False) for s in (scorer, other))
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-5, atol=1e-5)
    assert np.abs(found.heat.astype(int) - expected.heat).max() <= 1
    streams = [ClipStreamer(s) for s in (scorer, other)]
    rows = [[], []]
    for t, frame in enumerate(decode.read_frames(scoring.one_video(video), decode.RGB)):
        for taken, streamer in zip(rows, streams, strict=True):
            taken += streamer.push(Picture(t / 25, frame))
    np.testing.assert_allclose(
        *[[row.score for row in taken] for taken in rows], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", ["scorer.npz", "config.json", "model.jaxexport"])
def test_a_changed_file_of_an_export_is_not_believed(exported_run, tmp_path, name):
    copy = shutil.copytree(exported_run, tmp_path / "copy")
    with open(copy / name, "ab") as file:
        file.write(b" ")
    with pytest.raises(DataError, match=f"{name}: its hash is not the manifest's"):
        PredictiveScorer.open(copy)


def test_a_model_on_tokens_is_not_exported(silent, tmp_path):
    run = shutil.copytree(silent, tmp_path / "run")
    tree = json.loads((run / "config.json").read_text())
    tree["data"]["vision"] = "tokens"
    (run / "config.json").write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match="data.vision"):
        task_of_folder(run).export(run, tmp_path / "out", "last", ("cpu",))
    assert not (tmp_path / "out").exists()


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="config.json"):
        PredictiveScorer.open(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(get_config().to_dict()))
    with pytest.raises(ConfigError, match="kind 'weak', expected 'predictive'"):
        PredictiveScorer.open(tmp_path)
