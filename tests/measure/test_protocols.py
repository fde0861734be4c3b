"""The protocol matrix against plain numpy and scikit-learn."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import metrics as sk

from gfvad.base.types import DataError, ScoredVideo
from gfvad.measure import protocols

CFG = SimpleNamespace(ema=(0.9,), gaussian=(5.0,), bootstrap=0)


def make_videos(n=10, seed=0, unit_frames=16):
    """n videos of 16-frame units; odd ones abnormal, of class 'riot' or 'fight'."""
    rng = np.random.default_rng(seed)
    videos = []
    for i in range(n):
        units = int(rng.integers(12, 30))
        spans = np.array([[20, 90]] if i % 2 else np.zeros((0, 2)), np.int64)
        labels = np.zeros(units * unit_frames, np.uint8)
        labels[20:90] = i % 2
        scores = np.repeat(np.round(rng.random(units), 2), unit_frames) * 0.7 + 0.3 * labels
        classes = (("riot", "fight")[i // 2 % 2],) if i % 2 else ()
        videos.append(
            ScoredVideo(f"v{i}", scores, labels, i % 2, classes, spans, classes, unit_frames, 24.0)
        )
    return videos


def value(records, metric, aggregation="micro", normalisation="none", smoothing="none"):
    wanted = {
        "metric": metric,
        "aggregation": aggregation,
        "normalisation": normalisation,
        "smoothing": smoothing,
    }
    found = [r for r in records if all(r[k] == v for k, v in wanted.items())]
    assert len(found) == 1
    return found[0]["value"]


def pooled(videos, change=lambda x: x):
    return np.concatenate([change(v.scores) for v in videos]), np.concatenate(
        [v.labels for v in videos]
    )


def ema_by_hand(x, decay=0.9):
    out = [x[0]]
    for value in x[1:]:
        out.append(decay * out[-1] + (1 - decay) * value)
    return np.array(out)


def gaussian_by_hand(x, sigma=5.0):
    """Truncated at 4 sigma, ends mirrored with the end frame repeated."""
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(x, reach, mode="symmetric")
    return np.array(
        [np.dot(padded[t : t + 2 * reach + 1], kernel / kernel.sum()) for t in range(len(x))]
    )


def min_max_by_hand(x):
    return (x - min(x)) / (max(x) - min(x))


def test_micro_under_every_transform():
    videos = make_videos()
    records = protocols.protocol_matrix(videos, CFG, (0.2, 0.5))
    change = {
        ("none", "none"): lambda x: x,
        ("none", "ema0.9"): ema_by_hand,
        ("none", "gaussian5"): gaussian_by_hand,
        ("minmax", "none"): min_max_by_hand,
        ("minmax", "ema0.9"): lambda x: ema_by_hand(min_max_by_hand(x)),
        ("minmax", "gaussian5"): lambda x: gaussian_by_hand(min_max_by_hand(x)),
        ("train", "none"): lambda x: (x - 0.2) / 0.5,
        ("train", "gaussian5"): lambda x: gaussian_by_hand((x - 0.2) / 0.5),
    }
    for (normalisation, smoothing), f in change.items():
        scores, labels = pooled(videos, lambda x: np.round(f(x), 11))  # noqa: B023
        expected = {
            "auc": sk.roc_auc_score(labels, scores),
            "ap": sk.average_precision_score(labels, scores),
        }
        for metric, known in expected.items():
            assert value(records, metric, "micro", normalisation, smoothing) == pytest.approx(
                known, abs=1e-9
            )


def test_macro_is_the_mean_over_padded_videos():
    videos = make_videos()
    records = protocols.protocol_matrix(videos, CFG)
    expected = [sk.roc_auc_score(np.r_[0, v.labels, 1], np.r_[-9, v.scores, 9]) for v in videos]
    assert expected[0] == 1.0  # a normal video
    assert value(records, "auc", "macro") == pytest.approx(np.mean(expected), abs=1e-12)
    # a map of its own for each video changes no ranking within a video
    for smoothing in ("none", "ema0.9", "gaussian5"):
        same = [value(records, "auc", "macro", n, smoothing) for n in ("none", "minmax")]
        assert same[0] == pytest.approx(same[1], abs=1e-9)


def test_extras():
    videos = make_videos()
    records = protocols.protocol_matrix(videos, CFG)
    scores, labels = pooled([v for v in videos if v.label])
    assert value(records, "auc_abnormal") == pytest.approx(
        sk.roc_auc_score(labels, scores), abs=1e-12
    )
    assert value(records, "auc_video") == pytest.approx(
        sk.roc_auc_score([v.label for v in videos], [v.scores.max() for v in videos]), abs=1e-12
    )
    scores, _ = pooled([v for v in videos if not v.label])
    assert value(records, "far@0.5") == np.mean(scores >= 0.5)
    # no, EMA, Gaussian smoothing
    assert [r["n_videos"] for r in records if r["metric"] == "far@0.5"] == [5, 5, 5]
    scores, labels = pooled([v for v in videos if v.classes in ((), ("riot",))])
    assert value(records, "class_ap/riot") == pytest.approx(
        sk.average_precision_score(labels, scores), abs=1e-12
    )
    assert {f"map@{i}" for i in (0.1, 0.2, 0.3, 0.4, 0.5, "avg")} <= {r["metric"] for r in records}


def test_class_ap_leaves_out_the_frames_of_other_classes():
    labels = np.array([0, 1, 1, 0, 1, 1], np.uint8)
    spans = np.array([[1, 3], [4, 6]])
    video = ScoredVideo("v", np.arange(6.0), labels, 1, ("a", "b"), spans, ("a", "b"), 1, 0.0)
    runs = protocols.class_runs(video, "a")
    assert np.repeat(runs.scores, runs.weights).tolist() == [0, 1, 2, 3] and np.repeat(
        runs.labels, runs.weights
    ).tolist() == [0, 1, 1, 0]
    # a span of unknown class counts for each of the video's
    unknown = protocols.class_runs(video._replace(span_classes=("", "b")), "a")
    assert (unknown.labels * unknown.weights).sum() == 2


def test_false_alarms_only_where_half_means_something():
    touching = [v._replace(scores=np.r_[0.0, 1.0, v.scores[2:]]) for v in make_videos()]
    found = [
        r["smoothing"]
        for r in protocols.protocol_matrix(touching, CFG)
        if r["metric"].startswith("far")
    ]
    assert found == ["none", "ema0.9", "gaussian5"]  # 0 and 1 are within
    videos = [v._replace(scores=3 * v.scores) for v in make_videos()]
    assert not [r for r in protocols.protocol_matrix(videos, CFG) if r["metric"].startswith("far")]


def test_constant_scores_stay_at_chance_under_every_smoothing():
    videos = [v._replace(scores=np.full(len(v.scores), 0.1 + 0.2)) for v in make_videos()]
    for record in protocols.protocol_matrix(videos, CFG, (0.1, 0.3)):
        if record["metric"] == "auc" and record["aggregation"] == "micro":
            assert record["value"] == 0.5, record


def test_records_headline_and_intervals():
    videos = make_videos(16)
    cfg = SimpleNamespace(ema=(0.5, 0.9), gaussian=(), bootstrap=100)
    records = protocols.protocol_matrix(videos, cfg, seed=4)
    assert protocols.smoothing_names(cfg) == {
        "none": ("none", 0.0),
        "ema0.5": ("ema", 0.5),
        "ema0.9": ("ema", 0.9),
    }
    keys = {
        "metric",
        "aggregation",
        "normalisation",
        "smoothing",
        "checkpoint",
        "value",
        "ci95",
        "n_videos",
        "n_frames",
    }
    assert all(set(r) == keys and type(r["value"]) in (float, type(None)) for r in records)
    assert len(
        {(r["metric"], r["aggregation"], r["normalisation"], r["smoothing"]) for r in records}
    ) == len(records)
    head = protocols.headline(records, "auc")
    assert head is records[0] and head["n_frames"] == sum(len(v.labels) for v in videos)
    assert all(
        r["ci95"][0] <= r["value"] <= r["ci95"][1]
        for r in records
        if r["ci95"] and r["metric"] in ("auc", "far@0.5")
    )
    assert all(r["ci95"] for r in records if not r["metric"].startswith("map"))
    assert records == protocols.protocol_matrix(videos, cfg, seed=4)


def test_headline_is_never_chosen_on_the_test_split():
    records = [
        {**protocols.HEADLINE, "metric": "ap", "checkpoint": c, "value": 0.5}
        for c in ("best-on-test", "best", "last")
    ]
    assert protocols.headline(records, "ap")["checkpoint"] == "last"
    # --checkpoint=best: what was evaluated
    assert protocols.headline(records[:2], "ap")["checkpoint"] == "best"
    assert (
        protocols.headline(records[:1], "ap") is None and protocols.headline(records, "auc") is None
    )


def test_one_class_gives_null():
    normal = [v for v in make_videos() if not v.label]
    records = protocols.protocol_matrix(normal, SimpleNamespace(ema=(), gaussian=(), bootstrap=20))
    # 1 whatever was scored
    assert value(records, "auc") is None and not [r for r in records if r["aggregation"] == "macro"]
    assert all(r["ci95"] is None for r in records if r["value"] is None)
    assert not [r for r in records if r["metric"].startswith(("map", "class", "auc_abnormal"))]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda v: [], "no scored video"),
        (lambda v: [v[0], v[0]], "scored twice"),
        (lambda v: [v[0]._replace(labels=v[0].labels[:-1])], "one label a frame"),
        (lambda v: [v[0]._replace(labels=np.zeros(0, np.uint8))], "can be scored"),
        (
            lambda v: [
                v[0],
                v[1]._replace(
                    scores=np.where(np.arange(len(v[1].scores)) == 3, np.nan, v[1].scores)
                ),
            ],
            "'v1': 1 of",
        ),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(DataError, match=message):
        protocols.protocol_matrix(change(make_videos()), CFG)


def test_training_statistics_of_a_constant_or_broken_model():
    assert protocols.protocol_matrix(make_videos(), CFG, (0.5, 0.0)) == protocols.protocol_matrix(
        make_videos(), CFG
    )
    with pytest.raises(DataError, match="std nan"):
        protocols.protocol_matrix(make_videos(), CFG, (0.5, float("nan")))


def test_what_ranks_alike_is_as_computed_apart(monkeypatch):
    videos, cfg = make_videos(12), SimpleNamespace(ema=(0.9,), gaussian=(5.0,), bootstrap=50)
    found = protocols.protocol_matrix(videos, cfg, (0.2, 0.5))
    monkeypatch.setattr(protocols, "RANK_AS_NONE", set())
    apart = protocols.protocol_matrix(videos, cfg, (0.2, 0.5))
    for a, b in zip(found, apart, strict=True):
        assert a["value"] == pytest.approx(b["value"], abs=1e-9)
        assert {**a, "value": 0, "ci95": 0} == {**b, "value": 0, "ci95": 0}
        assert a["ci95"] is b["ci95"] is None or a["ci95"] == pytest.approx(b["ci95"], abs=1e-9)
    names = {(r["aggregation"], r["normalisation"]) for r in found}
    assert len(names) == 6  # every protocol has its records
