"""Ped2 in the weakly supervised split: the layout on tiny frames, its errors, what stands beside
the headline, and the real set."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import feature_folders as ff
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gfvad.base.types import ConfigError, DataError, ScoredVideo
from gfvad.data.features import audit, layouts
from gfvad.data.features.layouts.mixed_rules import Ped2Rules
from gfvad.data.frames import snippets
from gfvad.data.frames.flow import flow_spec, video_flow
from gfvad.measure.flow_floors import FLOORS
from gfvad.measure.untrained import beside

MODALITIES = ("motion", "appearance", "text")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return ff.ped2(tmp_path_factory.mktemp("ped2") / "set")


@pytest.fixture
def copy(root, tmp_path):
    return shutil.copytree(root, tmp_path / "copy")


def open_set(root, *modalities, **changes):
    return layouts.open_layout(ff.config("ped2_weak", root, *(modalities or MODALITIES), **changes))


def test_split_and_features(root):
    layout = open_set(root)
    train, test = layout.entries("train"), layout.entries("test")
    assert (
        {e.name for e in train} == Ped2Rules.train
        and {e.name for e in test} == Ped2Rules.test
        and len(test) == 18
    )
    assert sum(e.label for e in train) == 6 and sum(e.label for e in test) == 6
    assert layout.modalities == {
        "motion": snippets.MOTION,
        "appearance": snippets.APPEARANCE,
        "text": 384,
    }
    abnormal = layout.load(next(e for e in test if e.name == "Test003"))
    assert {m: x.shape for m, x in abnormal.features.items()} == {
        m: (1, 3, d) for m, d in layout.modalities.items()
    }
    assert all(np.isfinite(x).all() and x.dtype == np.float32 for x in abnormal.features.values())
    # 34 frames counted up; the published spans start and end a frame late, and the last label goes
    # on
    assert (abnormal.num_frames, abnormal.unit_frames, abnormal.spans.tolist()) == (
        48,
        16,
        [[18, 48]],
    )
    normal = layout.load(next(e for e in test if e.name == "Train001"))
    assert (normal.num_frames, len(normal.spans), normal.label) == (32, 0, 0)
    trained = layout.load(next(e for e in train if e.name == "Test012"))
    assert (trained.label, len(trained.spans)) == (1, 0)  # the label alone


def test_features_are_those_of_the_videos_own_frames(root):
    layout = open_set(root)
    part, index = layout.places["Test009"]
    store = layout.part(part)
    assert (part, index, store.flow.names[index]) == ("test", 8, "09")
    video = layout.load(next(e for e in layout.entries("train") if e.name == "Test009"))
    np.testing.assert_array_equal(
        video.features["motion"][0], snippets.motion_features(store.flow.video(8))
    )
    np.testing.assert_array_equal(
        video.features["appearance"][0], snippets.appearance_features(store.pictures.video(8))
    )
    texts = store.embeddings[8 * 34 : 9 * 34].astype(np.float64)
    np.testing.assert_allclose(
        video.features["text"][0],
        [texts[:16].mean(0), texts[16:32].mean(0), texts[32:].mean(0)],
        atol=1e-6,
    )


def test_frame_without_description_takes_the_last_one(root, capsys):
    store = open_set(root).part("test")
    np.testing.assert_array_equal(store.embeddings[11 * 34 + 6], store.embeddings[11 * 34 + 5])
    assert (
        "1 frames without a description take the last one before them: 12 (1)"
        in capsys.readouterr().err
    )


def test_ucsd_folders(root, tmp_path):
    """The set's own names, and its own file of spans."""
    for part, (folder, prefix) in {
        "training": ("Train", "Train"),
        "testing": ("Test", "Test"),
    }.items():
        for video in (root / part / "frames").iterdir():
            shutil.copytree(video, tmp_path / folder / f"{prefix}0{video.name}")
    (tmp_path / "Test" / "UCSDped2.m").write_text(
        "".join("TestVideoFile{end+1}.gt_frame = [18:33];\n" for _ in range(12))
    )
    layout, other = open_set(tmp_path, "motion"), open_set(root, "motion")
    for name in ("Test001", "Train016"):
        one, two = (
            next(x.load(e) for e in x.entries("test") if e.name == name) for x in (layout, other)
        )
        np.testing.assert_array_equal(one.features["motion"], two.features["motion"])
        np.testing.assert_array_equal(one.spans, two.spans)


def test_fingerprint_follows_frames_texts_and_spans(copy):
    def mark(*modalities):
        return open_set(copy, *modalities).fingerprint()

    found = [mark(), mark("motion"), mark("text")]
    (copy / "test_spans.txt").write_text(
        (copy / "test_spans.txt").read_text().replace("01 18", "01 19")
    )
    found.append(mark("motion"))
    (copy / "captions_gpt4o_train.jsonl").write_text(
        (copy / "captions_gpt4o_train.jsonl").read_text().replace("walk", "run", 1)
    )
    assert mark("motion") == found[-1]
    found.append(mark("text"))
    frame = copy / "training/frames/01/004.jpg"
    frame.write_bytes((copy / "training/frames/02/004.jpg").read_bytes())
    found.append(mark("motion"))
    assert len(set(found)) == len(found)


def test_audit(root):
    report = audit.audit(open_set(root), deep=True, progress=None)
    assert report.errors == 0 and [(c.videos, c.abnormal, c.units) for c in report.counts] == [
        (10, 6, 26),
        (18, 6, 42),
    ]


@pytest.mark.parametrize(
    "change, error",
    [
        (
            lambda root: shutil.rmtree(root / "testing/frames/12"),
            r"testing/frames: 11 videos \(01, .*expected the 12 videos of Ped2",
        ),
        (lambda root: shutil.rmtree(root / "training"), r"no folder of train videos"),
        (
            lambda root: (root / "training/frames/03/007.jpg").unlink(),
            r"03: frame 007\.jpg is missing",
        ),
        (
            lambda root: (root / "captions_gpt4o_test.jsonl").unlink(),
            r"captions_gpt4o_test\.jsonl: not found; expected descriptions of the test part",
        ),
        (
            lambda root: (root / "test_spans.txt").unlink(),
            r"no test_spans\.txt or Test/\*\.m; expected the abnormal frames",
        ),
    ],
)
def test_errors_at_opening(copy, change, error):
    change(copy)
    with pytest.raises(DataError, match=error):
        open_set(copy)


def test_errors_later(copy):
    spans = copy / "test_spans.txt"
    spans.write_text(
        "\n".join(line for line in spans.read_text().splitlines() if not line.startswith("07"))
    )
    layout = open_set(copy, "motion")
    with pytest.raises(
        DataError, match=r"no abnormal frames of Test007; expected some of every video"
    ):
        layout.load(next(e for e in layout.entries("test") if e.name == "Test001"))
    path = copy / "captions_gpt4o_train.jsonl"
    path.write_text(
        "\n".join(
            line for line in path.read_text().splitlines() if json.loads(line)["video"] != "08"
        )
    )
    layout = open_set(copy, "text")
    with pytest.raises(
        DataError, match=r"captions_gpt4o_train\.jsonl: no description of 1 videos, e\.g\. '08'"
    ):
        layout.load(next(e for e in layout.entries("train") if e.name == "Train008"))
    with pytest.raises(
        DataError, match=r"config\.data\.captions = 'texts\.jsonl': expected a name with \{part\}"
    ):
        open_set(copy, captions="texts.jsonl")
    with pytest.raises(DataError, match="an empty folder; expected frames"):
        (copy / "empty").mkdir()
        open_set(copy / "empty")
    with pytest.raises(ConfigError, match="'flow', which layout ped2_weak has not"):
        open_set(copy, "flow")


def test_inputs_to_score(root, tmp_path):
    """A folder of frames without labels, with a file of descriptions of its own."""
    folder = shutil.copytree(root / "testing/frames/03", tmp_path / "own" / "street").parent
    cfg = ff.config("ped2_weak", root, *MODALITIES)
    texts = ff.write_lines(
        tmp_path / "texts.jsonl",
        json.dumps({"video": "street", "start": 1, "end": 34, "text": "People walk."}),
    )
    layout = layouts.open_input(folder, MODALITIES, cfg, texts)
    video = layout.load(layout.entries("test")[0])
    assert (video.name, video.label, video.num_frames, video.features["motion"].shape) == (
        "street",
        -1,
        34,
        (1, 3, snippets.MOTION),
    )
    known = open_set(root, "motion")
    expected = known.load(next(e for e in known.entries("test") if e.name == "Test003")).features[
        "motion"
    ]
    np.testing.assert_array_equal(video.features["motion"], expected)
    with pytest.raises(
        DataError, match="the model reads descriptions, none given; give them by --captions=FILE"
    ):
        layouts.open_input(folder, MODALITIES, cfg)
    assert layouts.open_input(folder, ("motion",), cfg).entries("test")


# ---- beside the headline


def scored(name, scores, labels, unit_frames=16):
    return ScoredVideo(
        name,
        np.asarray(scores, np.float64),
        np.asarray(labels, np.uint8),
        int(any(labels)),
        (),
        np.zeros((0, 2), np.int64),
        (),
        unit_frames,
        0.0,
    )


def test_beside():
    rng = np.random.default_rng(0)
    lengths = {"a": 40, "b": 25}
    videos = [
        scored(n, np.repeat(rng.random(-(-k // 16)), 16)[:k], rng.random(k) < 0.4)
        for n, k in lengths.items()
    ]
    units = {n: rng.random(-(-k // 16)) for n, k in lengths.items()}
    short = {n: (rng.random(k // 16 * 16) < 0.4).astype(np.uint8) for n, k in lengths.items()}
    found = beside(videos, {"flow": units}, {"down": short})
    y, shorter = (
        np.concatenate([v.labels for v in videos]),
        np.concatenate([short["a"], short["b"]]),
    )
    frames = {n: np.repeat(units[n], 16)[:k] for n, k in lengths.items()}
    cut = lambda x: np.concatenate([x[n][: len(short[n])] for n in lengths])
    expected = {
        "floor/flow": roc_auc_score(y, np.concatenate(list(frames.values()))),
        "floor/flow, down": roc_auc_score(shorter, cut(frames)),
        "this model, down": roc_auc_score(shorter, cut({v.name: v.scores for v in videos})),
    }
    assert found["named"] == pytest.approx(expected, abs=1e-12)
    (table,) = found["tables"]
    assert [row[0] for row in table["rows"]] == ["this model", "floor/flow"] and all(
        len(row) == len(table["header"]) for row in table["rows"]
    )
    assert (
        f"65 frames, {int(y.sum())} abnormal" in table["header"][1]
        and "48 frames" in table["header"][2]
    )


def test_other_truths(root):
    layout = open_set(root, "motion")
    truths = layout.other_truths()
    down, own = truths["snippets counted down"], truths["the set's own labels and lengths"]
    assert set(down) == set(own) == Ped2Rules.test
    assert (len(down["Test001"]), len(own["Test001"]), len(down["Train002"])) == (32, 34, 16)
    # as published, a frame late
    assert np.flatnonzero(down["Test001"]).tolist() == list(range(18, 32))
    assert np.flatnonzero(own["Test001"]).tolist() == list(range(17, 33))
    floors = layout.untrained()
    assert len(floors) == 4 and all(
        set(scores) == Ped2Rules.test and len(scores["Test001"]) == 3 for scores in floors.values()
    )


def test_real_set(shared_data, tmp_path):
    """Frames and labels in all three countings, and the first floor, from the frames."""
    layout = open_set(shared_data / "ped2", "motion", cache_dir=str(tmp_path))
    videos = [layout.truth(e, -(-layout.frames(e.name) // 16)) for e in layout.entries("test")]
    total = lambda labels: (
        sum(map(len, labels.values())),
        sum(int(y.sum()) for y in labels.values()),
    )
    headline = {
        e.name: np.zeros(t.num_frames, np.uint8) for e, t in zip(layout.entries("test"), videos)
    }
    for (_name, labels), truth in zip(headline.items(), videos):
        for start, end in truth.spans:
            labels[start:end] = 1
    truths = layout.other_truths()
    assert total(headline) == (3200, 904)
    assert total(truths["snippets counted down"]) == (2912, 837) and total(
        truths["the set's own labels and lengths"]
    ) == (3000, 860)
    spec = flow_spec(layout.folder, "test", 8, 0, 0)
    magnitude = lambda name: np.stack(list(video_flow(layout.video(name), spec)))[..., 2].astype(
        np.float16
    )
    # of the 18 test videos; the layout's own cache would hold all 28
    with ThreadPoolExecutor(2) as pool:
        units = {
            name: snippets.floor_scores(m, 1, 1)
            for name, m in zip(headline, pool.map(magnitude, headline))
        }
    model = [scored(name, np.zeros(len(y)), y) for name, y in headline.items()]
    named = beside(model, {FLOORS[0][0]: units}, truths)["named"]
    first = "floor/flow, largest 16 x 16 window"
    assert named[first] == pytest.approx(0.9947, abs=2e-4) and named[
        f"{first}, snippets counted down"
    ] == pytest.approx(0.9948, abs=2e-4)
