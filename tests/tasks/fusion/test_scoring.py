"""Scoring of single videos: windows, segments, absent modalities, contributions; the exported
artefact beside the live model; alarms, files, thresholds."""

import csv
import errno
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from small_run import Run

from gfvad.base import locks
from gfvad.base.types import ConfigError, DataError, ScoredVideo
from gfvad.commands import export
from gfvad.commands.export import main as export_main
from gfvad.measure import calibration
from gfvad.measure.alarms import GAP, find_alarms
from gfvad.measure.score_result import UnitScore, VideoScores
from gfvad.scoring import files
from gfvad.scoring.log import Log
from gfvad.tasks import artefact as artefacts
from gfvad.tasks import exported
from gfvad.tasks.fusion import artefact, standalone
from gfvad.tasks.fusion.scorer import open_scorer
from gfvad.tasks.fusion.standalone import CLOCK, Refused, UnitScorer

FILES = (*artefacts.FILES, artefact.SCORE)
BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(f"{{name}} is not among the requirements")
sys.meta_path.insert(0, Block())
sys.argv = {argv}
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""
ELSEWHERE = (
    "gfvad",
    "configs",
    "flax",
    "optax",
    "orbax",
    "jraph",
    "grain",
    "tensorflow_datasets",
    "ml_collections",
    "etils",
    "absl",
    "sklearn",
    "cv2",
    "av",
)


def features(widths, units, seed=0):
    """One video's, with the clock of 25 frames a second."""
    rng = np.random.default_rng(seed)
    return {m: rng.normal(size=(units, d)).astype(np.float32) for m, d in widths.items()} | {
        CLOCK: (np.arange(units) + 0.5) * 0.64
    }


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    """(Run, its folder, its artefact) of a fused model with a clock, two members and windows of
    8 units."""
    folder = tmp_path_factory.mktemp("run")
    run = Run(
        "xd",
        "audio_visual",
        folder,
        train__members=2,
        data__clock=True,
        model__relation__temporal_seconds=3.0,
    )
    run.save(folder / "run")
    manifest = artefact.export(folder / "run", folder / "artefact", "last", ("cpu", "cuda"))
    assert manifest["difference"] <= artefacts.TOLERANCE
    return run, folder / "run", folder / "artefact"


@pytest.fixture(scope="module")
def scorers(ensemble):
    """What scores by the run, and by the artefact; each compiles once."""
    return [open_scorer(path).units for path in ensemble[1:]]


def of_evaluation(run, tmp_path, video, name="film"):
    """Unit scores of a video by the evaluation's own way."""
    path = tmp_path / f"{name}.npz"
    np.savez(path, name=[name], **{m: x[None] for m, x in video.items() if m != CLOCK})
    return run(path)[0][name][::16]


@pytest.mark.parametrize("units", [1, 5, 8, 9, 21])
def test_scores_are_those_of_evaluation(ensemble, scorers, tmp_path, units):
    """Windows, padding, clock and ensemble: run and artefact score a video as `--mode=score`
    does."""
    run = ensemble[0]
    video = features(run.widths, units)
    expected = of_evaluation(run, tmp_path, video)
    for scorer in scorers:
        found = scorer.score("film", video, graph=True, parts=True)
        np.testing.assert_allclose(found["scores"], expected, atol=1e-6)
        assert found["graph"].shape == ({9: 4, 21: 7}.get(units, units),) * 2
        assert set(found["parts"]) == set(run.widths)


def test_a_missing_modality_is_zeros_and_adds_nothing(ensemble, scorers):
    scorer, video = scorers[0], features(ensemble[0].widths, 6)
    lacking = {m: x for m, x in video.items() if m != "audio"}
    found = scorer.score("film", lacking, parts=True)
    zeros = scorer.score("film", video | {"audio": np.zeros_like(video["audio"])})
    np.testing.assert_array_equal(found["scores"], zeros["scores"])
    assert not found["parts"]["audio"].any() and found["parts"]["rgb"].any()
    # alone, a modality is what the whole logit rests on
    np.testing.assert_allclose(found["parts"]["rgb"], standalone.logit(found["scores"]))
    whole = scorer.score("film", video, parts=True)
    np.testing.assert_allclose(
        whole["parts"]["audio"],
        standalone.logit(whole["scores"]) - standalone.logit(found["scores"]),
    )


def test_segments(tmp_path):
    """A model bound to N units scores the means of N spans; the artefact keeps the number fixed."""
    run = Run("xd", "paper", tmp_path)
    folder = run.save(tmp_path / "run")
    assert run.config.data.eval_mode == "segments"
    artefact.export(folder, tmp_path / "artefact", "last", ("cpu",))
    video = features(run.widths, 17)
    for path in (folder, tmp_path / "artefact"):
        scorer = open_scorer(path).units
        found = scorer.score("film", video, parts=True)
        assert scorer.lengths == [6] and found["scores"].shape == (17,) and found["graph"] is None
        segments = scorer._run({m: standalone.means(video[m], 6) for m in run.widths}, False)[0]
        assert found["scores"].min() >= segments.min() and found["scores"].max() <= segments.max()


@pytest.mark.parametrize(
    "variant, changed",
    [
        ("rgb+filter", {"model.head.kind": "degree"}),
        ("foil_cross_attention+audio_visual_text", {}),
        ("foil_mtn_concat+rgb", {}),
        (
            "audio_visual",
            {
                "model.relation.knn": 3,
                "model.relation.similarity": "rbf",
                "model.expansion.kind": "diffusion",
                "model.fusion.start": "mean",
            },
        ),
    ],
)
def test_every_kind_of_model_can_be_exported(variant, changed, tmp_path):
    run = Run(
        "xd", variant, tmp_path, **{key.replace(".", "__"): value for key, value in changed.items()}
    )
    assert (
        artefact.export(run.save(tmp_path / "run"), tmp_path / "artefact", "last", ("cpu",))[
            "difference"
        ]
        <= artefacts.TOLERANCE
    )


def test_the_artefact_needs_its_requirements_only(ensemble, scorers, tmp_path):
    """score.py with everything else of this environment out of reach: the same scores to 1e-5,
    names with slashes and other letters, absent modalities."""
    run, _, whole = ensemble
    assert [line.split("==")[0] for line in (whole / "requirements.txt").read_text().split()] == [
        "jax",
        "jaxlib",
        "numpy",
        "flatbuffers",
    ]
    videos = {
        "tage/größe 1": features(run.widths, 11),
        "b": {m: x for m, x in features(run.widths, 3, 1).items() if m != "audio"},
    }
    np.savez(
        tmp_path / "in.npz",
        **{f"{name}/{m}": x for name, video in videos.items() for m, x in video.items()},
    )
    code = BLOCKED.format(
        blocked=set(ELSEWHERE),
        argv=[str(whole / "score.py"), str(tmp_path / "in.npz"), str(tmp_path / "out.npz")],
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"JAX_PLATFORMS": "cpu", "PATH": "/usr/bin"},
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as found:
        assert set(found.files) == set(videos)
        for name, video in videos.items():
            np.testing.assert_allclose(
                found[name], scorers[0].score(name, video)["scores"], atol=1e-5
            )


def test_what_is_refused(ensemble, tmp_path):
    run, folder, whole = ensemble
    scorer, video = open_scorer(whole).units, features(run.widths, 4)
    for wrong, message in (
        (
            {"pose": np.zeros((4, 3))},
            (
                r"film: features pose \[4, 3\]; this model takes rgb \[N, 6\].*: give features of"
                r" the layout it was trained on"
            ),
        ),
        (video | {"rgb": np.zeros((4, 7))}, r"rgb \[4, 7\]"),
        (video | {"audio": video["audio"][:3]}, "with the same N"),
        (video | {"rgb": video["rgb"] * np.nan}, "24 values of rgb are not finite"),
        ({m: x for m, x in video.items() if m != CLOCK}, "middles of the units in seconds"),
        ({m: x[:0] for m, x in video.items()}, "features"),
    ):
        with pytest.raises(Refused, match=message):
            scorer.score("film", wrong)
    with pytest.raises(ConfigError, match="config.json: not found; expected a run.s folder"):
        open_scorer(tmp_path)
    with pytest.raises(ConfigError, match="platforms metal; expected some of cpu, cuda, tpu"):
        artefact.export(folder, tmp_path / "x", "last", ("metal",))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(DataError, match="holds something else than an artefact"):
        artefact.export(folder, tmp_path / "mine", "last", ("cpu",))
    (tmp_path / "killed" / ".gfvad-export-staged-x").mkdir(parents=True)
    artefacts.owned_by_export(tmp_path / "killed", ())  # what a killed call had begun is nobody's
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in whole.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / exported.MODEL).write_bytes((broken / exported.MODEL).read_bytes()[:-9])
    with pytest.raises(DataError, match="its hash is not the manifest's"):
        open_scorer(broken)
    manifest = json.loads((broken / exported.MANIFEST).read_text())
    (broken / exported.MANIFEST).write_text(json.dumps(manifest | {"format": 9}))
    with pytest.raises(DataError, match="format 9, kind 'weak'; expected format 1"):
        open_scorer(broken)


@pytest.mark.parametrize(
    "by, message", [(1e-4, "differ by 0.0001"), (np.nan, "gives no usable scores")]
)
def test_an_artefact_that_disagrees_with_its_run_is_not_written(
    ensemble, tmp_path, monkeypatch, capsys, by, message
):
    """What is exported is not what the run computes: the check of `write` finds it, whichever
    way it differs."""
    real, calls = artefact.program, []

    def tampered(run):
        calls.append(run)
        compute = real(run)
        if len(calls) > 1:  # the live model
            return compute
        return lambda features, mask: (
            (out := compute(features, mask)) | {"scores": out["scores"] + np.float32(by)}
        )

    monkeypatch.setattr(artefact, "program", tampered)
    assert (
        export_main([f"--workdir={ensemble[1]}", f"--out={tmp_path / 'out'}", "--platforms=cpu"])
        == 2
    )
    assert message in capsys.readouterr().err and len(calls) == 2 and not list(tmp_path.iterdir())


@pytest.fixture
def fake_export(ensemble, monkeypatch):
    """`gfvad export` without the long work: the artefact of `ensemble` is what it
    makes."""

    def write(own, made, platforms):
        with own.staged(last=exported.MANIFEST) as made:
            for name in FILES:
                shutil.copy(ensemble[2] / name, made / name)
        return json.loads((ensemble[2] / exported.MANIFEST).read_text()) | {"difference": 0.0}

    begun = []
    monkeypatch.setattr(artefact, "open_trained", lambda *given: begun.append(given))
    monkeypatch.setattr(artefact, "made_of", lambda *given: None)
    monkeypatch.setattr(artefacts, "_write", write)
    return lambda out: (
        begun.clear(),
        export.main([f"--workdir={ensemble[1]}", f"--out={out}"]),
        bool(begun),
    )[1:]


def test_an_export_over_an_earlier_one_keeps_what_is_beside_it(
    fake_export, ensemble, tmp_path, capsys
):
    out = tmp_path / "artefact"
    out.mkdir()
    for name in FILES:  # of the version before: without a record
        shutil.copy(ensemble[2] / name, out / name)
    (out / "notes.txt").write_text("mine")
    for _ in range(2):
        assert fake_export(out) == (0, True) and (out / "notes.txt").read_text() == "mine"
    assert {p.name for p in out.iterdir()} == {*FILES, "notes.txt", ".gfvad-export.json"}
    for name in FILES:
        before = (out / name).read_bytes()
        with open(out / name, "ab") as file:
            file.write(b"\n")
        assert fake_export(out) == (2, False) and (out / name).read_bytes() == before + b"\n"
        assert f"{name}: changed since gfvad export wrote it" in capsys.readouterr().err
        (out / name).write_bytes(before)
    with locks.locked(out):
        assert fake_export(out)[0] == 2 and "works in this artefact" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, content",
    [
        ("manifest.json", '{"kind": "gfvad.features", "format": 1, "videos": {}}'),
        ("manifest.json", '{"dataset": "xd_violence", "files": {}}'),
        ("manifest.json", "{"),
        ("score.py", "print('mine')"),
        ("requirements.txt", "numpy"),
        ("model.jaxexport", "x"),
        ("notes.txt", "mine"),
    ],
)
def test_an_export_removes_nothing_that_is_not_its_own(
    fake_export, tmp_path, capsys, name, content
):
    """Features and prepared records have a manifest.json, too."""
    out = tmp_path / "theirs"
    out.mkdir()
    (out / name).write_text(content)
    (out / "notes.txt").write_text("mine")
    assert fake_export(out) == (2, False)
    assert (out / name).read_text() in (content, "mine") and {p.name for p in out.iterdir()} == {
        name,
        "notes.txt",
    }
    assert capsys.readouterr().err.startswith(f"error: {out}")


def test_an_export_cannot_be_written(fake_export, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("mine")
    assert (
        fake_export(tmp_path / "file") == (2, False)
        and fake_export(tmp_path / "file" / "deep")[0] == 2
    )
    monkeypatch.setattr(
        "gfvad.base.owned.os.replace",
        lambda *given: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")),
    )
    assert fake_export(tmp_path / "out")[0] == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert (
        len(said) == 3
        and all(line.startswith("error: ") for line in said)
        and "make some" in said[-1]
        and (tmp_path / "file").read_text() == "mine"
    )


def test_means_are_those_of_training_segments():
    x = np.random.default_rng(0).normal(size=(23, 3)).astype(np.float32)
    for segments in (4, 23, 40):
        edges = np.linspace(0, 23, segments + 1).astype(int)
        expected = [x[a : max(b, a + 1)].mean(0) for a, b in zip(edges, edges[1:])]
        np.testing.assert_allclose(standalone.means(x, segments), expected, atol=1e-6)


def test_the_program_sees_windows_of_static_lengths():
    """Every unit once, in the fewest windows of nearly equal size, padded to a static length."""
    seen = []

    def program(x, mask):
        seen.append((mask.shape[1], int(mask.sum())))
        return {
            "scores": np.where(mask, x["a"][..., 0], 0.0),
            "graph": np.zeros((1, mask.shape[1], mask.shape[1])),
        }

    scorer = UnitScorer(
        program, {"modalities": {"a": 1}, "lengths": [4, 8, 16], "segments": 0, CLOCK: False}
    )
    x = np.arange(35, dtype=np.float32)[:, None] / 35
    np.testing.assert_allclose(scorer.score("v", {"a": x})["scores"], x[:, 0])
    assert seen == [(16, 11), (16, 12), (16, 12)]
    scorer.score("v", {"a": x[:3]})
    assert seen[-1] == (4, 3)


# ---- alarms and files


def scored(name="a b/ü", score=(0.1, 0.9, 0.2, 0.7, 0.1, 0.1, 0.1, 0.6), **more):
    n = len(score)
    start = np.arange(n) * 0.6
    return VideoScores(
        name,
        f"/videos/{name}.mp4",
        25.0,
        16 * n,
        start,
        start + 0.6,
        np.array(score),
        {"motion": np.arange(n) * 1.0, "audio": -np.ones(n)},
        **more,
    )


def test_alarms_join_over_short_gaps():
    found = find_alarms(scored(), 0.5)
    assert [(round(a.start, 3), round(a.end, 3), a.peak, round(a.peak_time, 3)) for a in found] == [
        (0.6, 2.4, 0.9, 0.9),
        (4.2, 4.8, 0.6, 4.5),
    ]
    assert found[0].contributions == {"motion": 1.0, "audio": -1.0}
    assert (
        len(find_alarms(scored(), 0.5, gap=0.5)) == 3
        and not find_alarms(scored(), 0.95)
        and len(find_alarms(scored(), 0.0)) == 1
    )


def halves(*score):
    """Units of half a second: gaps between them are exact in binary."""
    start = np.arange(len(score)) * 0.5
    return VideoScores("v", "", 8.0, 4 * len(score), start, start + 0.5, np.array(score), {})


@pytest.mark.parametrize(
    "score, expected",
    [
        ((0.5, 0.25), [(0.0, 0.5)]),  # a score at the threshold is an alarm
        ((0.5, 0.25, 0.5), [(0.0, 1.5)]),  # half a second between
        ((0.5, 0.25, 0.25, 0.5), [(0.0, 0.5), (1.5, 2.0)]),  # GAP exactly ends it
        ((0.5, 0.0, 0.0, 0.0, 0.9, 0.25, 0.5), [(0.0, 0.5), (2.0, 3.5)]),
        ((0.49999, 0.25), []),
    ],
)
def test_alarms_at_the_threshold_and_at_the_gap(score, expected, tmp_path):
    """The same of a file and of a stream of the same scores."""
    assert GAP == 1.0
    video = halves(*score)
    assert [(a.start, a.end) for a in find_alarms(video, 0.5)] == expected
    log = Log(tmp_path, "v", (0.5, 1.0), files.Columns(()))
    for start, end, value in zip(video.start, video.end, video.score):
        log.take(UnitScore(float(start), float(end), float(value), {}), 0.0)
    log.close()
    found = list(csv.DictReader(open(tmp_path / "alarms.csv", encoding="utf-8")))
    assert [(float(a["start"]), float(a["end"])) for a in found] == expected
    rows = list(csv.DictReader(open(tmp_path / "scores.csv", encoding="utf-8")))
    assert [r["alarm"] for r in rows] == [str(int(v >= 0.5)) for v in score]


def test_the_gap_of_a_model_holds_in_files_streams_and_reports(tmp_path):
    """Two runs of high scores five seconds apart: two alarms by a second, one by a minute."""
    from gfvad.reporting.clips import Raised, clip_of

    video = halves(0.9, *[0.1] * 10, 0.8)
    for gap, count in ((1.0, 2), (60.0, 1)):
        out = tmp_path / f"gap{count}"
        files.write_scores(out, {"kind": "novelty", "name": "m", "alarm_gap": gap}, 0.5, [video])
        live = tmp_path / f"live{count}"
        log = Log(live, "v", (0.5, gap), files.Columns(()))
        for i in range(len(video.score)):
            log.take(video.unit(i), 0.0)
        log.close()
        for folder in (out, live):
            with open(folder / "alarms.csv", encoding="utf-8", newline="") as file:
                assert len(list(csv.DictReader(file))) == count
        assert len(clip_of(video, Raised(0.5, gap), True)["alarms"]) == count


def test_files_of_scores(tmp_path):
    graph = np.eye(8, dtype=np.float32)
    videos = [
        scored(graph=graph, spans=((0.5, 1.5),), label=1, missing=("audio",)),
        scored("quiet", (0.1, 0.2)),
    ]
    path = files.write_scores(
        tmp_path / "out", {"kind": "weak", "name": "m"}, 0.5, videos, [("/bad.mp4", "cut off")]
    )
    rows = list(csv.DictReader(open(tmp_path / "out" / "scores.csv", encoding="utf-8")))
    assert len(rows) == 10 and rows[1] == {
        "video": "a b/ü",
        "unit": "1",
        "start": "0.600",
        "end": "1.200",
        "score": "0.9",
        "alarm": "1",
        "motion": "1",
        "audio": "-1",
    }
    alarms = list(csv.DictReader(open(tmp_path / "out" / "alarms.csv", encoding="utf-8")))
    assert [(a["video"], a["start"], a["end"], a["peak"]) for a in alarms] == [
        ("a b/ü", "0.600", "2.400", "0.9"),
        ("a b/ü", "4.200", "4.800", "0.6"),
    ]
    tree = json.loads(path.read_text())
    assert tree["threshold"] == 0.5 and tree["failed"] == [
        {"path": "/bad.mp4", "reason": "cut off"}
    ]
    first, second = tree["videos"]
    assert (
        first["spans"] == [[0.5, 1.5]]
        and first["label"] == 1
        and first["missing"] == ["audio"]
        and second["spans"] is None
        and second["details"] is None
    )
    with np.load(tmp_path / "out" / first["details"]) as details:
        np.testing.assert_array_equal(details["graph"], graph)
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        files.write_scores(tmp_path / "out", {}, 0.5, [scored()])


def test_thresholds_come_from_normal_videos_only(tmp_path):
    def video(name, peak, label):
        return ScoredVideo(
            name,
            np.array([0.0, peak]),
            np.zeros(2, np.uint8),
            label,
            (),
            np.zeros((0, 2)),
            (),
            16,
            25.0,
        )

    normal = [video(f"n{i}", i / 100, 0) for i in range(40)]
    videos = normal + [video("a", 0.99, 1)]
    value, rule = calibration.threshold(videos, {f"n{i}" for i in range(20)} | {"a"})
    assert (
        value == pytest.approx(np.quantile(np.arange(20) / 100, 0.95))
        and "20 normal videos held out" in rule
    )
    few = [f"n{i}" for i in range(calibration.ENOUGH)]
    # just enough
    assert calibration.threshold(videos, few)[0] == pytest.approx(
        np.quantile(np.arange(calibration.ENOUGH) / 100, 0.95)
    )
    assert calibration.threshold(videos, few[1:])[0] == 0.5
    assert calibration.threshold(videos, {"n1"})[0] == 0.5  # too few held out: at least the default
    assert calibration.threshold([video(f"n{i}", 0.8, 0) for i in range(3)])[0] == 0.8
    assert calibration.threshold([videos[-1]])[0] == calibration.threshold([])[0] == 0.5
    calibration.write_calibration(tmp_path, 7, videos, {f"n{i}" for i in range(20)})
    assert (
        calibration.read_calibration(tmp_path, 7)[0] == value
        and calibration.read_calibration(tmp_path, 8)[0] == 0.5
    )
    (tmp_path / calibration.CALIBRATION).write_text("{")
    with pytest.raises(DataError, match="not a calibration"):
        calibration.read_calibration(tmp_path, 7)
    assert calibration.read_calibration(tmp_path / "none", 7)[0] == 0.5
