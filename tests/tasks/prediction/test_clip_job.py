"""The jobs of the predictive model from the command line to the files of a run, on a set of a
hundred frames; and every wrong input by name."""

import contextlib
import io
import json
import shutil
import signal
from types import SimpleNamespace

import cv2
import jax
import numpy as np
import pytest
import tiny_clips
import video_files
from PIL import Image
from tiny_clips import flags

from gfvad import main, tasks
from gfvad.base.types import ConfigError
from gfvad.data import pipeline
from gfvad.data.frames import clip_data
from gfvad.tasks import job
from gfvad.train import loop, parallel

CONFIG = "--config=configs/ped2.py:small"


@pytest.fixture(autouse=True, scope="module")
def _in_checkout(repository, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        patch.setenv("GFVAD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="module")
def _compiled_once():
    """Command lines with the same model, loss and optimiser share their compiled steps."""
    kept, optimisers = {}, {}

    def optimiser(cfg, steps, original=loop.make_optimiser):
        key = (repr(cfg), steps)
        if key not in optimisers:
            optimisers[key] = original(cfg, steps)
        return optimisers[key]

    def shared(name):
        def mapped(self, step, original=getattr(parallel.Mapper, name)):
            key = (
                name,
                self.backend,
                *self.devices,
                step.func,
                repr({k: id(v) if k == "optimiser" else v for k, v in step.keywords.items()}),
            )
            if key not in kept:
                kept[key] = original(self, step)
            return kept[key]

        return mapped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_optimiser", optimiser)
        for name in ("map_train", "map_eval"):
            patch.setattr(parallel.Mapper, name, shared(name))
        yield


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory):
    return tiny_clips.write_set(tmp_path_factory.mktemp("set") / "tiny")


def launch(*argv):
    """One command line: exit code, standard output, standard error, and the last state of
    training where it got so far."""
    states = []

    def spy(*args, original=job.loop.train):
        trained = original(*args)
        states.append(trained.state)
        return trained

    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        patch.setattr(job.loop, "train", spy)
        code = main.main([str(word) for word in argv])
    return SimpleNamespace(
        code=code, out=out.getvalue(), err=err.getvalue(), state=states[-1] if states else None
    )


def train(root, workdir, *more, **settings):
    return launch(
        CONFIG, f"--config.data.root={root}", f"--workdir={workdir}", *flags(**settings), *more
    )


@pytest.fixture(scope="module")
def trained(tiny_set, tmp_path_factory):
    """The one run that the tests below look at: (folder, what was printed and learnt)."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    done = train(tiny_set, workdir)
    assert done.code == 0, done.err
    return workdir, done


def scores_of(path):
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


# ---- a run


def test_the_files_of_a_run(trained):
    workdir, done = trained
    results = json.loads((workdir / "results.json").read_text())
    assert results["headline"]["metric"] == "auc" and 0 <= results["headline"]["value"] <= 1
    assert (
        results["ground_truth_frames"] == sum(tiny_clips.TEST) and results["positive_frames"] == 7
    )
    assert (
        set(results["weights"]) == {"appearance", "pace", "speed", "semantic", "bank"}
        and "term alone/flow" in results["named"]
    )
    metrics = {record["metric"] for record in results["records"]}
    assert {"auc", "ap", "pixel_auc", "rbdc", "tbdc"} <= metrics
    named = results["named"]
    floors = {name for name in named if name.startswith("floor/")}
    assert set(results["floor_commands"]) == floors
    assert results["floor_commands"]["floor/flow, median of 5 frames"].endswith("terms=speed")
    assert done.out.startswith("BELOW ITS FLOOR: ") == (
        max(named[name] for name in floors) > results["headline"]["value"]
    )
    for kind in ("term alone", "score without"):
        assert {f"{kind}/{term}" for term in results["weights"]} <= set(named)
    assert (
        sum(name.startswith("floor/") for name in named)
        == sum(name.startswith("floor, paper protocol/") for name in named)
        == 5
    )
    assert sum(name.startswith("floor, rbdc/") for name in named) == 4
    assert {
        "score, causal windows (streaming)",
        "score with equal weights",
        "the authors' terms and protocol (0.8 frame error, 0.2 description, min-max a video, sigma"
        " 5, first 4 frames left out)",
    } < set(named)
    assert all(value is None or 0 <= value <= 1 for value in named.values())
    figures = {path.name for path in (workdir / "figures").iterdir()}
    assert figures >= {
        "score_timelines.png",
        "learning_curves.png",
        "heat_01.png",
        "heat_02.png",
        "heat_03.png",
        "terms.png",
        "experts.png",
    }
    assert any(name.endswith(".mp4") for name in figures) and all(
        (workdir / "figures" / name).stat().st_size > 1000 for name in figures
    )
    assert {name: len(x) for name, x in scores_of(workdir / "scores.npz").items()} == dict(
        zip(("01", "02", "03"), tiny_clips.TEST)
    )
    assert (
        "HEADLINE" in done.out
        and str(workdir / "results.json") in done.out
        and "auc" in (workdir / "results.md").read_text().lower()
    )


def test_what_is_said_of_odd_videos_and_gaps(trained):
    """A video too short to train on, one of a single frame, and a frame without a description:
    each is told once, and handled."""
    workdir, done = trained
    for line in (
        "frames: 1 videos have one frame, which is repeated to fill a clip: 03",
        "1 training videos are too short for a clip and left out: 04 (3 frames)",
        (
            "descriptions: captions_gpt4o_test.jsonl, 1 frames without a description take the last"
            " one before them: 02 (1)"
        ),
    ):
        assert done.err.count(line) == 1, line
    assert np.isfinite(scores_of(workdir / "scores.npz")["03"]).all()


def test_evaluated_again_the_scores_are_the_same(trained):
    workdir, _ = trained
    before, results = (
        (workdir / "scores.npz").read_bytes(),
        json.loads((workdir / "results.json").read_text()),
    )
    again = launch("--mode=evaluate", f"--workdir={workdir}")
    assert again.code == 0 and again.state is None, again.err
    assert (workdir / "scores.npz").read_bytes() == before
    found = json.loads((workdir / "results.json").read_text())
    assert (found["records"], found["named"], found["weights"]) == (
        results["records"],
        results["named"],
        results["weights"],
    )


def test_other_frames_of_the_same_names(trained, tiny_set, tmp_path):
    """Training does not go on with them, nor is the run evaluated over its own results; on other
    data it has a folder of its own."""
    run, other = (
        shutil.copytree(trained[0], tmp_path / "run"),
        shutil.copytree(tiny_set, tmp_path / "other"),
    )
    before = (run / "scores.npz").read_bytes()
    picture = sorted((other / "training" / "frames" / "01").iterdir())
    shutil.copyfile(picture[0], picture[5])
    done = train(other, run)
    assert (
        done.code == 2
        and "learnt from other data under the same names of videos" in done.err
        and (run / "scores.npz").read_bytes() == before
    ), done.err
    (other / "test_spans.txt").write_text("01 6 9\n02 4 5\n")
    (other / "test_masks_packed.npz").unlink()
    settings = {"--config.data.masks=", f"--config.data.root={other}"}
    out = tmp_path / "on"
    for folder in (out, out, run):
        done = launch(
            "--mode=evaluate", f"--workdir={run}", f"--data={other}", f"--output={folder}"
        )
        assert done.code == (2 if folder == run else 0), done.err
    assert "the folder of a run" in done.err
    tree = json.loads((out / "results.json").read_text())
    assert tree["evaluated_on"]["data"] == str(other) and tree["positive_frames"] == 6
    found, expected = scores_of(out / "scores.npz"), scores_of(run / "scores.npz")
    assert (
        all(np.array_equal(found[name], expected[name]) for name in expected)
        and (run / "scores.npz").read_bytes() == before
    )
    # other truth of the same frames: not over its results
    done = launch(CONFIG, "--mode=evaluate", f"--workdir={run}", *flags(), *settings)
    assert done.code == 2 and "differ" in done.err


def test_evaluated_with_other_settings_of_the_score(trained, tiny_set, tmp_path):
    """Terms, windows and weights are no part of what was trained: streaming, and a score of
    descriptions alone, which has no map."""
    run = shutil.copytree(trained[0], tmp_path / "run")
    other = {
        "score__causal": True,
        "score__terms": "semantic",
        "score__weights": "(2.0,)",
        "eval__figures": False,
    }
    done = train(tiny_set, run, "--mode=evaluate", **other)
    assert done.code == 0, done.err
    results = json.loads((run / "results.json").read_text())
    assert results["weights"] == {"semantic": 2.0} and results["synthetic_auc"] is None
    mine, theirs = scores_of(run / "scores.npz"), scores_of(trained[0] / "scores.npz")
    assert not np.array_equal(mine["01"], theirs["01"])


def test_scoring_without_labels(trained, tiny_set, tmp_path):
    """The test videos as a folder of one's own get the scores of the evaluation, and a file of
    its own goes too."""
    workdir, _ = trained
    captions = tiny_set / "captions_gpt4o_test.jsonl"
    score = lambda source, *more: launch(
        "--mode=score",
        f"--workdir={workdir}",
        f"--input={source}",
        f"--output={tmp_path / 'scores.npz'}",
        *more,
    )
    refused = score(tiny_set / "testing" / "frames")
    assert (
        refused.code == 2 and "--captions=FILE" in refused.err and refused.err.count("error:") == 1
    )
    done = score(tiny_set / "testing" / "frames", f"--captions={captions}")
    assert done.code == 0 and "3 videos, 26 frames" in done.out, done.err
    mine, theirs = scores_of(tmp_path / "scores.npz"), scores_of(workdir / "scores.npz")
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name])
    video = video_files.write_video(tmp_path / "own.mp4", 6)
    tiny_clips.write_lines(
        tmp_path / "own.jsonl", [{"video": "own", "start": 1, "end": 6, "text": "A square walks."}]
    )
    done = score(video, f"--captions={tmp_path / 'own.jsonl'}")
    assert done.code == 0, done.err
    assert {name: x.shape for name, x in scores_of(tmp_path / "scores.npz").items()} == {
        "own": (6,)
    }


def test_interrupted_and_resumed_with_the_same_bits(trained, tiny_set, tmp_path, monkeypatch):
    """A crash before batch 4 goes on from the save of step 2; SIGTERM at batch 3 saves step 3;
    the third start ends like the whole run."""
    workdir, whole = trained
    original = pipeline.TrainIterator.__next__

    def stumble(number, how):
        def draw(self):
            if self.get_state()["next_batch"] + 1 == number:
                how()
            return original(self)

        monkeypatch.setattr(pipeline.TrainIterator, "__next__", draw)

    def crash():
        raise KeyboardInterrupt("no time to save")

    folder = tmp_path / "run"
    stumble(4, crash)
    assert train(tiny_set, folder).code == 130
    assert sorted(int(path.name) for path in (folder / "checkpoints").iterdir()) == [2]
    stumble(3, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as left:
        train(tiny_set, folder)
    assert left.value.code == 128 + signal.SIGTERM
    monkeypatch.undo()
    done = train(tiny_set, folder, eval__figures=False)
    assert done.code == 0 and "going on from the checkpoint of step 3" in done.err, done.err
    for mine, theirs in zip(jax.tree.leaves(done.state), jax.tree.leaves(whole.state), strict=True):
        assert np.asarray(mine).tobytes() == np.asarray(theirs).tobytes()
    for name in ("scores.npz", "metrics.jsonl"):
        assert (folder / name).read_bytes() == (workdir / name).read_bytes(), name


def test_a_memory_instead_of_experts(tiny_set, tmp_path):
    """A filter without a choice has no picture of experts; evaluation goes over several devices,
    and there are neither masks nor descriptions."""
    root = shutil.copytree(tiny_set, tmp_path / "set")
    (root / "test_masks_packed.npz").unlink()
    more = {
        "train__steps": 1,
        "data__masks": "",
        "data__store": "direct",
        "data__stride": 2,
        "data__channels": 3,
        "parallel__devices": 2,
    }
    done = launch(
        "--config=configs/ped2.py:mnad+no_text+frames",
        f"--config.data.root={root}",
        f"--workdir={tmp_path / 'run'}",
        *flags(**more),
    )
    assert done.code == 0, done.err
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(results["weights"]) == {"appearance", "pace", "bank"}
    floors = [name for name in results["named"] if name.startswith("floor")]
    assert len(floors) == 2 and all("nearest training picture" in name for name in floors)
    figures = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert "heat_01.png" in figures and "experts.png" not in figures


# ---- wrong input


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"data__height": 30}, ["data.height = 30", "multiple of 12", "model.patch"]),
        (
            {"data__height": 30, "model__patch": 6, "model__cell": 3},
            ["data.height = 30", "multiple of 12", "pace network"],
        ),
        ({"model__cell": 5}, ["model.cell = 5", "divisor of model.patch = 12"]),
        ({"model__width": 18}, ["model.width = 18", "model.heads = 4"]),
        ({"data__clip_frames": 3}, ["model.width = 16", "data.clip_frames = 3"]),
        ({"score__terms": "appearance,pase"}, ["score.terms", "'pase'", "did you mean 'pace'?"]),
        ({"score__terms": ""}, ["score.terms", "at least one"]),
        (
            {"data__validation_fraction": 0.0},
            ["data.validation_fraction = 0.0", "above 0, at most 0.5"],
        ),
        ({"model__filter.topk": 6}, ["model.filter.topk = 6", "model.filter.experts = 5"]),
        ({"model__filter.kind": "sfm"}, ["model.filter.kind", "'sffm'"]),
        ({"model__filter.memory_items": -1}, ["model.filter.memory_items = -1"]),
        ({"model__skip": "residual"}, ["model.skip", "patch, frame, none"]),
        ({"data__layout": "frame"}, ["data.layout", "'frames'"]),
        ({"loss__pace_still": -1.0}, ["loss.pace_still = -1.0", "a number from 0"]),
        ({"model__filter.bottleneckk": 4}, ["model.filter.bottleneckk", "model.filter.bottleneck"]),
    ],
)
def test_impossible_settings_by_name(settings, words):
    with pytest.raises(ConfigError) as error:
        tasks.parse([CONFIG, *flags(**settings)])
    for word in words:
        assert word in str(error.value), str(error.value)


def unknown_description(root):
    with (root / "captions_gpt4o_test.jsonl").open("a") as file:
        file.write('{"video": "77", "frame": 1, "text": "A square."}\n')


def missing_frame(root):
    (root / "testing/frames/01/004.jpg").unlink()


def other_size(root):
    assert cv2.imwrite(
        str(root / "testing/frames/01/004.jpg"), video_files.picture(4, size=(30, 48))
    )


def gif(root):
    Image.fromarray(video_files.picture(4)).save(root / "training/frames/02/004.jpg", format="GIF")


def truncated(root):
    shutil.rmtree(root / "training/frames/02")
    path = video_files.write_video(
        root / "training/frames/02.mp4", 20, options={"movflags": "faststart"}
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])


def no_truth(root):
    (root / "test_spans.txt").unlink()
    (root / "test_masks_packed.npz").unlink()


def empty(root):
    shutil.rmtree(root)
    root.mkdir()


WRONG = {
    unknown_description: (
        {},
        ["captions_gpt4o_test.jsonl, line 26", "unknown video '77'", "expected one of 01, 02, 03"],
    ),
    missing_frame: ({}, ["testing/frames/01", "frame 004.jpg is missing", "003.jpg and 005.jpg"]),
    other_size: ({}, ["004.jpg", "30x48", "expected 32x48"]),
    gif: ({}, ["training/frames/02/004.jpg", "GIF", "expected JPEG"]),
    truncated: ({}, ["02.mp4", "copy or encode it again"]),
    no_truth: (
        {"data__spans": "", "data__masks": ""},
        ["no ground truth found", "config.data.spans", "config.data.test=none"],
    ),
    empty: ({}, ["no folder of test videos", "testing/frames", "Found: nothing"]),
}


def refused(done, workdir, words):
    """One clear error, exit code 2, and nothing of training was begun."""
    assert done.code == 2 and done.state is None
    assert done.err.count("error:") == 1 and done.err.rstrip().splitlines()[-1].startswith(
        "error: "
    ), done.err
    assert "train:" not in done.err and not workdir.exists()
    for word in words:
        assert word in done.err, done.err


@pytest.mark.parametrize("spoil", WRONG, ids=lambda spoil: spoil.__name__)
def test_wrong_sets(tiny_set, tmp_path, spoil):
    settings, words = WRONG[spoil]
    root = shutil.copytree(tiny_set, tmp_path / "set")
    spoil(root)
    refused(train(root, tmp_path / "run", **settings), tmp_path / "run", words)


def test_missing_descriptions_are_found_before_frames_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(clip_data, "open_frames", lambda *args: pytest.fail("decoded first"))
    root = tiny_clips.write_set(tmp_path / "set", captions=False)
    done = train(root, tmp_path / "run")
    refused(done, tmp_path / "run", ["captions_gpt4o_train.jsonl", "not found"])


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"data__root": ""}, ["config.data.root is empty", "--config.data.root=FOLDER"]),
        ({"data__root": "/nonexistent/ped2"}, ["/nonexistent/ped2", "not found"]),
        (
            {"data__test_descriptions": ""},
            ["train_descriptions and test_descriptions", "both or neither"],
        ),
        ({"data__spans": "spans.txt"}, ["spans.txt", "not found"]),
        (
            {"score__weights": "(1.0, 2.0)"},
            ["config.score.weights has 2 numbers", "expected 5", "semantic"],
        ),
        (
            {"score__terms": "pace", "model__pace": False},
            ["config.score.terms = ('pace',)", "the model has none of them"],
        ),
        ({"train__batch_size": 3, "parallel__devices": 2}, ["batch_size"]),
    ],
)
def test_settings_that_the_set_refuses(tiny_set, tmp_path, settings, words):
    """Found before any training too: weights for other terms than there are, a score of parts
    that the model lacks."""
    refused(train(tiny_set, tmp_path / "run", **settings), tmp_path / "run", words)
