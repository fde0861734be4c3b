"""Figures: files of the right size, what their titles and marks say, no change of matplotlib's
settings. Looks are judged by eye."""

import json

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gfvad.base.types import DataError, ScoredVideo
from gfvad.figures import curves, model

NAME = "xd_violence-simulated"


@pytest.fixture
def drawn(monkeypatch):
    """Collects figures as they are saved; checks afterwards that no setting of matplotlib has
    changed."""
    seen, original, before = [], Figure.savefig, dict(matplotlib.rcParams)

    def savefig(self, *args, **kwargs):
        seen.append(self)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    yield seen
    assert dict(matplotlib.rcParams) == before


def check_file(path, figure):
    with Image.open(path) as image:
        assert image.size[0] == 1000
    assert figure.get_suptitle().startswith(NAME)
    for axes in figure.axes:
        if axes.get_visible() and axes.get_title(loc="left"):
            assert axes.get_xlabel() or axes.get_ylabel()


def video(name, scores, spans, fps=24.0, unit_frames=16):
    labels = np.zeros(len(scores), np.uint8)
    for start, end in spans:
        labels[start:end] = 1
    where = np.array(spans, np.int64).reshape(-1, 2)
    return ScoredVideo(
        name,
        np.asarray(scores, float),
        labels,
        int(bool(spans)),
        (),
        where,
        ("",) * len(spans),
        unit_frames,
        fps,
    )


def test_learning_curves(tmp_path, drawn):
    norms = {
        "learning_rate": 1e-3,
        "gradient_norm": 0.1,
        "update_norm": 0.01,
        "usage/rgb": [0.5, 0.5],
    }
    rows = [
        {"step": s, "kind": "train", "loss": 1 / s, "loss/mil": 0.5 / s, **norms} for s in (1, 2, 3)
    ]
    rows += [
        {"step": 3, "kind": "validation", "loss": 0.4, "auc": 0.9, "ap": 0.8, "selection": 0.8}
    ]
    log = tmp_path / "metrics.jsonl"
    # a run that was killed while it wrote
    log.write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 4, "ki')
    path = curves.learning_curves(log, NAME, tmp_path / "figures" / "curves.png")
    check_file(path, drawn[0])
    labels = [[line.get_label() for line in axes.lines] for axes in drawn[0].axes]
    assert labels == [
        ["total, training", "classification, validation", "mil"],
        ["AUC, validation videos", "AP, validation videos"],
        ["learning rate"],
        ["gradient, before clipping", "update"],
    ]
    assert drawn[0].axes[3].get_yscale() == "log"
    curves.learning_curves(rows[:1], NAME, path)  # rows instead of a file; no validation yet
    assert "not in the log" in [t.get_text() for t in drawn[1].axes[1].texts]
    log.write_text('broken\n{"step": 1}\n')
    with pytest.raises(DataError, match="line 1, column 1: not usable JSON"):
        curves.learning_curves(log, NAME, path)


def test_timelines_pick_best_median_worst(tmp_path, drawn):
    rng = np.random.default_rng(0)
    videos = []
    for i, quality in enumerate([0.0, 3.0, 0.3, 1.0, 0.6]):
        labels = np.repeat([0, 0, 1, 1, 0], 40)
        scores = 1 / (1 + np.exp(-quality * (labels - 0.5) * 3 - 0.3 * rng.normal(size=200)))
        videos.append(video(f"v{i}", scores, [(80, 160)], fps=0.0 if i == 1 else 20.0))
    videos.append(video("normal", np.full(90, 0.1), []))
    picked = curves.pick(videos)
    assert [(label, v.name) for label, v, _ in picked] == [
        ("best", "v1"),
        ("median", "v4"),
        ("worst", "v0"),
    ]
    path = curves.score_timelines(videos, NAME, tmp_path / "t.png", 0.25)
    check_file(path, drawn[0])
    assert [axes.get_xlabel() for axes in drawn[0].axes] == [
        "time (frames)",
        "time (s)",
        "time (s)",
    ]
    assert [axes.get_xlim()[1] for axes in drawn[0].axes] == [200, 10, 10]
    shaded = drawn[0].axes[1].patches[0]
    assert shaded.get_x() == 4.0 and shaded.get_width() == 4.0  # frames 80 to 160 at 20 a second
    legend = [t.get_text() for t in drawn[0].axes[0].get_legend().get_texts()]
    assert sorted(legend) == ["score", "threshold 0.25", "true event"]


def test_timelines_without_events_or_labels(tmp_path, drawn):
    normal = [video(f"n{i}", np.full(50, i / 10), []) for i in range(2)]
    curves.score_timelines(normal, NAME, tmp_path / "n.png", 0.5)
    assert "by mean error" in drawn[0].get_suptitle() and len(drawn[0].axes) == 2
    with pytest.raises(DataError, match="no video with frame labels"):
        curves.score_timelines(
            [normal[0]._replace(labels=np.zeros(0, np.uint8))], NAME, tmp_path / "n.png", 0.5
        )


def test_event_window():
    starts = np.arange(31) * 16.0
    before, during = model.event_window(np.array([[10 * 16, 16 * 16]]), starts)
    assert (before, during) == (slice(4, 10), slice(10, 16))
    # as many units before as there are
    before, during = model.event_window(np.array([[3 * 16, 20 * 16]]), starts)
    assert (before, during) == (slice(0, 3), slice(3, 6))
    # not into the event before
    before, during = model.event_window(np.array([[32, 64], [8 * 16, 30 * 16]]), starts)
    assert (before, during) == (slice(4, 8), slice(8, 12))
    assert model.event_window(np.array([[0, 480]]), starts) is None
    assert model.event_window(np.zeros((0, 2), np.int64), starts) is None
    # behind the graph's last unit
    assert model.event_window(np.array([[900, 990]]), starts) is None


def test_fused_graph(tmp_path, drawn):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4))
    graph = x @ x.T
    marked = video("v", np.zeros(480), [(160, 256)])
    path = model.fused_graph(np.stack([graph, -graph]), marked, NAME, tmp_path / "g.png", channel=1)
    check_file(path, drawn[0])
    assert "channel 2 of 2" in drawn[0].get_suptitle()
    images = [axes.images[0] for axes in drawn[0].axes[:4]]
    assert np.allclose(images[0].get_array(), -graph) and np.allclose(
        images[1].get_array(), -graph[4:10, 4:10]
    )
    assert np.allclose(images[3].get_array(), -graph[10:16, 10:16] + graph[4:10, 4:10])
    assert (
        list(images[2].get_extent()[:2]) == pytest.approx([160 / 24, 256 / 24])
        and drawn[0].axes[2].get_xlabel() == "time (s)"
    )
    lines = sorted(
        float(line.get_xdata()[0])
        for line in drawn[0].axes[0].lines
        if line.get_xdata()[0] == line.get_xdata()[1]
    )
    assert lines == pytest.approx([160 / 24, 256 / 24])
    model.fused_graph(
        graph, video("n", np.zeros(480), [], fps=0.0, unit_frames=0), NAME, tmp_path / "g.png"
    )
    assert len(drawn[1].axes) == 2 and drawn[1].axes[0].get_xlabel() == "time (frames)"
    with pytest.raises(DataError, match="expected \\[N, N\\]"):
        model.fused_graph(graph[:3], marked, NAME, tmp_path / "g.png")


SHAPES = [
    ((5,), 1, 5),
    ((5, 4), 1, 20),
    ((3, 3, 3), 3, 27),
    ((4, 4, 4, 4), 6, 96),
    ((18, 18), 1, 0),
]


@pytest.mark.parametrize("shape, panels, cells", SHAPES)
def test_coefficients(tmp_path, drawn, shape, panels, cells):
    a = np.random.default_rng(0).normal(size=shape)
    names = tuple(f"m{i}" for i in range(len(shape)))
    check_file(model.coefficients(a, NAME, tmp_path / "a.png", names), drawn[0])
    shown = [axes for axes in drawn[0].axes if axes.get_visible() and axes.images]
    assert len(shown) == panels and sum(len(axes.texts) for axes in shown) == cells
    assert ("6 of 16 slices" in drawn[0].get_suptitle()) == (len(shape) == 4)
    if len(shape) == 2:
        assert np.allclose(shown[0].images[0].get_array(), a)  # rows: first graph
        assert shown[0].get_ylabel() == "power of m0" and shown[0].get_xlabel() == "power of m1"
    with pytest.raises(DataError, match="expected one a graph"):
        model.coefficients(a, NAME, tmp_path / "a.png", ("one", "two", "three", "four", "five"))


def test_coefficients_that_are_zero_and_small(tmp_path, drawn):
    model.coefficients(np.zeros((3, 3)), NAME, tmp_path / "a.png")
    assert {t.get_text() for t in drawn[0].axes[0].texts} == {"0.00"}
    model.coefficients(np.array([[0.0123, -1e-9]]), NAME, tmp_path / "a.png")
    assert [t.get_text() for t in drawn[1].axes[0].texts] == ["0.0123", "0.0000"]


def test_expert_usage(tmp_path, drawn):
    usage = {"rgb": np.array([0.5, 0.25, 0.25, 0.0]), "audio": np.full(63, 1 / 63)}
    check_file(model.expert_usage(usage, NAME, tmp_path / "e.png"), drawn[0])
    top, bottom = drawn[0].axes
    assert [bar.get_height() for bar in top.patches] == [
        50,
        25,
        25,
        0,
    ] and "1 dead" in top.get_title(loc="left")
    assert "63 experts, 0 dead" in bottom.get_title(loc="left")
    with pytest.raises(DataError, match="no modality"):
        model.expert_usage({}, NAME, tmp_path / "e.png")
