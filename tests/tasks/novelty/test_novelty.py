"""Graph novelty from tracks to results, on walkers made here; and every wrong input by name."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import walkers

from gfvad import main, tasks
from gfvad.base.types import ConfigError
from gfvad.data.objects.tracks import checked
from gfvad.data.objects.videos import open_videos
from gfvad.data.unit_videos import UnitVideo
from gfvad.tasks import job
from gfvad.tasks.novelty import causes, explained
from gfvad.tasks.novelty.score import calibrate, evenly, frame_scores
from gfvad.tasks.novelty.training import UnitBatches, Units


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A set of six normal videos and three test videos, two of them with a runner."""
    return walkers.write_set(tmp_path_factory.mktemp("tracks"))


@pytest.fixture(autouse=True, scope="module")
def _in_checkout(repository):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        yield


def train(data, workdir, *more):
    flags = [f"--config.data.root={data}", f"--workdir={workdir}", *walkers.FLAGS, *more]
    return main.main(["train", "--config=shanghaitech_tracks", *flags])


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "run"
    assert train(data, workdir) == 0
    return workdir


def test_runners_are_found_and_the_floors_stand_beside(run):
    results = json.loads((run / "results.json").read_text())
    assert results["headline"]["value"] > 0.95
    assert set(results["named"]) == {
        "floor/nearest velocity",
        "floor/nearest aspect",
        "floor/nearest size",
        "floor/sum of the sets",
        "floor/all sets in one space",
        "this model, velocity alone",
        "this model, aspect alone",
        "this model, size alone",
    }
    assert results["named"]["this model, velocity alone"] > 0.95


def test_evaluating_again_and_elsewhere_and_scoring_files_give_the_same(
    run, data, tmp_path, capsys
):
    before = dict(np.load(run / "scores.npz"))
    assert main.main(["evaluate", f"--workdir={run}"]) == 0
    after = dict(np.load(run / "scores.npz"))
    assert all(np.array_equal(before[n], after[n]) for n in before)
    out = tmp_path / "elsewhere"
    flags = [f"--workdir={run}", f"--data={data}", f"--output={out}"]
    assert main.main(["evaluate", *flags]) == 0
    other = dict(np.load(out / "scores.npz"))
    assert all(np.allclose(before[n], other[n], atol=1e-5) for n in before)
    command = ["score", f"--model={run}", str(data / "tracks_test.npz"), f"--out={tmp_path / 's'}"]
    assert main.main(command) == 0
    found = dict(np.load(tmp_path / "s" / "scores.npz"))
    for name, scores in before.items():
        np.testing.assert_allclose(found[name][: len(scores)], scores, atol=1e-5)
    with open(tmp_path / "s" / "alarms.csv", newline="") as file:
        assert {row["video"] for row in csv.DictReader(file)} <= {"01_b", "01_c"}
    with open(tmp_path / "s" / "scores.csv", newline="") as file:
        row = next(csv.DictReader(file))
    terms = ("velocity*aspect*size", "aspect*size", "velocity")
    assert sum(float(row[n]) for n in terms) == pytest.approx(float(row["score"]), abs=1e-4)


def test_a_second_run_gives_the_same_bits(run, data, tmp_path):
    assert train(data, tmp_path / "again") == 0
    a, b = (dict(np.load(f / "scores.npz")) for f in (run, tmp_path / "again"))
    assert all(np.array_equal(a[n], b[n]) for n in a)


def test_batches_go_on_where_they_were_and_divide_over_processes(data):
    config = tasks.parse(
        ["--config=configs/shanghaitech_tracks.py", f"--config.data.root={data}", *walkers.FLAGS]
    ).config
    units = Units(open_videos("here", "train", data / "tracks_train.npz", config.data))
    whole = UnitBatches(units, config, 0, 0, 1)
    next(whole)
    position, second = whole.get_state(), next(whole)
    halves = [UnitBatches(units, config, 0, i, 2) for i in (0, 1)]
    for half in halves:
        half.set_state(position)
    joined = [np.concatenate(x) for x in zip(*(next(h)[1:] for h in halves), strict=True)]
    assert all(np.array_equal(x, y) for x, y in zip(joined, second[1:], strict=True))
    # a changed unit has one other feature set, and stays in its own camera
    assert second.changed.tolist() == [0, 1] * 16


@pytest.mark.parametrize(
    "flag, said",
    [
        ("--config.model.terms=velocity*colour", "config.model.terms: 'velocity\\*colour'"),
        ("--config.data.modalities=velocity,aspect", "config.model.terms"),
        ("--config.model.scales=(1.0,)", "config.model.scales has 1 numbers"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(data, tmp_path, flag, said):
    with pytest.raises(ConfigError, match=said):
        tasks.parse(["--config=configs/avenue_tracks.py", f"--config.data.root={data}", flag])


def test_wrong_data_is_said_before_anything_is_written(data, tmp_path, capsys):
    for change, said in (
        ("--config.data.root=/nowhere", "not a folder"),
        ("--config.data.train=gone.npz", "gone.npz: not found"),
        ("--config.data.labels=gone.npz", "gone.npz: not found"),
        ("--config.data.camera_characters=5", "cameras without normal video"),
    ):
        assert train(data, tmp_path / "run", change) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.json").exists()


def test_labels_that_do_not_fit_are_refused(data, tmp_path, capsys):
    good = dict(np.load(data / "frame_labels_test.npz"))
    for labels, said in (
        ({**good, "extra": good["00_a"]}, "extra"),
        ({**good, "00_a": good["00_a"][:10]}, "a box in frame 59"),
        ({**good, "00_a": good["00_a"] + 2}, "expected 0 and 1"),
    ):
        np.savez(tmp_path / "labels.npz", **labels)
        flag = f"--config.data.labels={tmp_path / 'labels.npz'}"
        assert train(data, tmp_path / "run", flag) == 2
        assert said in capsys.readouterr().err


def test_frames_take_their_most_unusual_object_and_tracks_pass_messages():
    rng = np.random.default_rng(0)
    tracks = checked("here", walkers.walk(rng, frames=10))
    novelty = rng.uniform(1, 2, (20, 2))
    none = np.zeros(500, np.int64)
    ordinary = calibrate(rng.uniform(1, 2, (500, 2)), none, np.array([1.0, 3.0]))
    cfg = SimpleNamespace(reach=2, prior=3.0, beside=0.0, alike=0.0, highest=0.0)
    found = frame_scores(novelty, UnitVideo(tracks, 12, none[:20]), ordinary, cfg)
    z = (novelty - ordinary.centre) / ordinary.spread @ ordinary.weight / ordinary.scale
    for frame in range(10):
        expected = []
        for person in range(2):
            near = (tracks.person == person) & (abs(tracks.frame - frame) <= 2)
            expected.append(z[near].sum() / (near.sum() + 3))
        np.testing.assert_allclose(found.score[frame], max(expected), atol=1e-12)
        assert tracks.person[found.unit[frame]] == np.argmax(expected)
    # frames without an object have the lowest score, that of what is known by heart
    assert np.allclose(found.score[10:], ordinary.lowest.sum()) and (found.unit[10:] == -1).all()
    np.testing.assert_allclose(found.shares.sum(1), found.score)


def test_videos_for_calibration_are_spread_evenly():
    assert evenly([10] * 10, 1000) == list(range(10))
    assert evenly([10] * 10, 50) == [0, 2, 4, 6, 8]
    assert evenly([10], 1) == [0]


def test_normal_video_alone_is_enough_and_nothing_is_said_to_be_evaluated(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(data, run, "--config.data.test=") == 0
    said = capsys.readouterr().out
    assert "no labelled test split: nothing is evaluated" in said
    assert "gfvad score --model=" in said and "gfvad evaluate --workdir=" in said
    results = json.loads((run / "results.json").read_text())
    assert results["records"] == [] and results["headline"]["value"] is None
    assert results["n_videos"] == results["ground_truth_frames"] == 0
    assert set(results["content"]) == {"train"} and not (run / "scores.npz").exists()
    assert np.isfinite(results["alarms"]["threshold"]) and "an hour" in results["alarms"]["rule"]
    assert "false alarms an hour" in results["normal_video"]["measured"]
    assert set(results["fit"]["weights"]) == {"velocity*aspect*size", "aspect*size", "velocity"}
    # evaluating again says so again; scores and reports are made as of any run
    assert main.main(["evaluate", f"--workdir={run}"]) == 0
    assert "nothing is evaluated" in capsys.readouterr().out
    out = tmp_path / "scores"
    assert (
        main.main(["score", f"--model={run}", str(data / "tracks_test.npz"), f"--out={out}"]) == 0
    )
    for folder in (run, tmp_path, out):
        assert main.main(["report", str(folder), f"--out={tmp_path / 'page.html'}"]) == 0
        assert (tmp_path / "page.html").stat().st_size > 1000
    # its labels come later, in a folder of their own
    elsewhere = tmp_path / "labelled"
    flags = [f"--workdir={run}", f"--data={data}", f"--output={elsewhere}"]
    assert main.main(["evaluate", *flags]) == 0
    found = json.loads((elsewhere / "results.json").read_text())
    assert found["headline"]["value"] > 0.95


def test_results_on_labels_are_not_replaced_by_nothing(run, data, capsys):
    before = (run / "results.json").read_bytes()
    assert train(data, run, "--config.data.test=") == 2
    assert "results on a labelled test split" in capsys.readouterr().err
    assert (run / "results.json").read_bytes() == before


def test_a_test_split_that_is_named_must_be_there(data, tmp_path, capsys):
    assert train(data, tmp_path / "run", "--config.data.test=gone.npz") == 2
    assert "--config.data.test= to train on normal video alone" in capsys.readouterr().err


def test_paired_tests_stand_beside_the_headline(data, tmp_path, capsys):
    for seed in (0, 1):
        flags = ["--config.eval.bootstrap=40", f"--config.seed={seed}"]
        assert train(data, tmp_path / "runs" / str(seed), *flags) == 0
    assert "against the best floor, " in capsys.readouterr().out
    results = json.loads((tmp_path / "runs" / "0" / "results.json").read_text())
    rows = {r["against"]: r for r in results["paired"]}
    assert set(rows) == set(results["named"])
    for name, row in rows.items():
        assert row["value"] == pytest.approx(results["named"][name])
    assert "against the best single set" in (tmp_path / "runs" / "0" / "results.md").read_text()
    assert main.main(["compare", "summary", str(tmp_path / "runs")]) == 0
    assert "mean over 2 seeds" in capsys.readouterr().out
    assert main.main(["report", str(tmp_path / "runs")]) == 0


@pytest.fixture(scope="module")
def opened(run):
    """The run, opened again, and its weights."""
    arguments = tasks.parse([f"--workdir={run}", "--mode=evaluate"])
    again = job.begin(arguments)
    return again, tasks.task_of(arguments.config).kept_weights(again, "last")


@pytest.mark.parametrize("at", [None, 0.5])
def test_parts_of_sets_and_of_objects_add_up_to_the_score(opened, run, at):
    again, chosen = opened
    scores = dict(np.load(run / "scores.npz"))
    for index, name in enumerate(again.test.names):
        found = causes.explain(again, chosen, index, at)
        fps = again.test.fps(index)
        expected = scores[name].max() if at is None else scores[name][int(at * fps)]
        np.testing.assert_allclose(found.score, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(sum(found.parts.values()), found.score, atol=1e-6)
        objects = [c.part for c in found.causes if c.video == name]
        np.testing.assert_allclose(sum(objects), found.score, atol=1e-6)
        shares = [r.share for r in found.relations]
        np.testing.assert_allclose(sum(shares), 1.0)
        assert found.relations[0].words.split()[0] in ("product", "velocity")


@pytest.mark.parametrize("alike", [0.0, 1.0])
def test_parts_add_up_where_messages_pass_between_units_of_a_frame(opened, alike):
    again, chosen = opened
    config = again.model.config.copy_and_resolve_references()
    config.score.beside, config.score.alike = 2.0, alike
    model = replace(again.model, config=config, known=None)
    other = SimpleNamespace(model=model, test=again.test, train=None)
    alone = causes.explain(again, chosen, 1).score
    found = causes.explain(other, chosen, 1)
    np.testing.assert_allclose(found.score, model.score(again.test, 1).score.max(), rtol=1e-5)
    np.testing.assert_allclose(sum(found.parts.values()), found.score, atol=1e-5)
    objects = [c.part for c in found.causes if c.video]
    np.testing.assert_allclose(sum(objects), found.score, atol=1e-5)
    assert abs(found.score - alone) > 1e-4 or len(objects) == 1


def test_a_set_s_part_is_its_part_of_the_distances(opened):
    """Against plain loops in float64: -log of the mean of the nearest relations, divided."""
    again, _ = opened
    seen = explained.seen_at(again, 1, None)
    model, term = again.model, ("velocity", "aspect", "size")
    row = int(np.argmax(seen.weight))
    close = explained.nearest(model, seen, term, np.array([row]))
    column = model.columns.index(term)
    novelty = -np.log(np.mean(close.relation[0]))
    np.testing.assert_allclose(novelty, seen.novelty[row, column], rtol=1e-4)
    np.testing.assert_allclose(sum(x[0] for x in close.shares.values()), 1.0)
    assert (np.diff(close.relation[0]) <= 0).all()


def test_without_what_is_named_the_score_falls_further(opened):
    """The runners of two videos: their velocity, and they themselves."""
    again, chosen = opened
    for index, name in enumerate(again.test.names):
        falls = causes.without_causes(again, chosen, index).falls
        if name in ("01_b", "01_c"):
            for own, other in (falls["feature set"], falls["objects"]):
                assert own > 1 and own > other
            parts = causes.explain(again, chosen, index).sets
            assert next(iter(parts)) == "velocity"


def test_the_nearest_normal_units_are_told_by_video_and_time(opened, data):
    again, chosen = opened
    found = causes.explain(again, chosen, 1).causes
    near = [c for c in found if c.what.startswith("nearest normal unit")]
    assert near and all(c.video in np.load(data / "tracks_train.npz").files for c in near)
    assert all(c.start >= 0 and 0 < c.weight <= 1 for c in near)
    other = SimpleNamespace(model=again.model, train=None)
    assert causes.Origins(other).of(0, 3)[0] == ""


def test_the_command_says_it_and_what_is_wrong(run, tmp_path, capsys):
    page, falls = tmp_path / "page.md", tmp_path / "falls.csv"
    assert main.main(["explain", str(run), "--video=01_b", f"--out={page}"]) == 0
    assert "| velocity |" in page.read_text() and "object" in capsys.readouterr().out
    assert main.main(["explain", str(run), "--without", f"--out={falls}"]) == 0
    assert falls.read_text().startswith("video,score,cause,fall,")
    for flags, said in ((["--video=01_x"], "did you mean"), (["--at=1"], "--at without --video")):
        assert main.main(["explain", str(run), *flags]) == 2 and said in capsys.readouterr().err
