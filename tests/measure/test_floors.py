"""Floors without training, and what a report says beside the headline: against plain loops, and
on the real frames of Ped2."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from gfvad.base.types import ScoredVideo
from gfvad.data.frames.cache import Cache
from gfvad.data.frames.flow import open_flow
from gfvad.data.frames.truth import find_truth
from gfvad.data.frames.video_folders import open_layout
from gfvad.measure import flow_floors, tables
from gfvad.measure.metrics import roc_auc
from gfvad.tasks.prediction import report as clip_report

# measured: micro AUC, no normalisation, no smoothing
PED2 = dict(zip((name for name, *_ in flow_floors.FLOORS), (0.9474, 0.9680, 0.9855, 0.9881)))


def mirrored(i, n):
    i %= 2 * n
    return min(i, 2 * n - 1 - i)


def floor_by_hand(cells, frames, side):
    """[T, a, b] -> [T, a - 1, b - 1], one value at a time."""
    length, rows, columns = len(cells), cells.shape[1] - 1, cells.shape[2] - 1
    windows, median, out = (np.zeros((length, rows, columns)) for _ in range(3))
    every = [(t, y, x) for t in range(length) for y in range(rows) for x in range(columns)]
    for t, y, x in every:
        windows[t, y, x] = sum(cells[t, y + i, x + j] for i in (0, 1) for j in (0, 1)) / 4
    for t, y, x in every:
        median[t, y, x] = sorted(
            windows[mirrored(t + k - frames // 2, length), y, x] for k in range(frames)
        )[frames // 2]
    for t, y, x in every:
        around = [
            (mirrored(y + i - side // 2, rows), mirrored(x + j - side // 2, columns))
            for i in range(side)
            for j in range(side)
        ]
        out[t, y, x] = sum(median[t, i, j] for i, j in around) / side**2
    return out


@pytest.mark.parametrize("length", [1, 14])
@pytest.mark.parametrize("frames, side", [floor[1:] for floor in flow_floors.FLOORS])
def test_floor(length, frames, side):
    cells = np.random.default_rng(length).gamma(2.0, size=(length, 4, 6)).astype(np.float16)
    found = flow_floors.flow_floor(cells, frames, side)
    assert found.shape == (length, 3, 5) and found.dtype == np.float32
    np.testing.assert_allclose(
        found, floor_by_hand(cells.astype(np.float64), frames, side), rtol=0, atol=2e-6
    )


def report(scores, labels):
    """As much of a report as the comparisons need."""
    return SimpleNamespace(
        truth=SimpleNamespace(labels=labels),
        data=SimpleNamespace(names=[f"v{i}" for i in range(len(scores))]),
    )


def test_floors_of_ped2(shared_data, tmp_path):
    """The four floors of the specification, from the frames."""
    root = shared_data / "ped2"
    folder = open_layout("frames", root)
    flow = open_flow(folder, "test", Cache(tmp_path, say=lambda text: None))
    truth = find_truth(root, folder.videos("test"), flow.lengths, spans="test_spans.txt")
    magnitude = [np.asarray(flow.video(i)[..., 2], np.float32) for i in range(len(flow.names))]
    assert sum(map(len, magnitude)) == 2010 and sum(int(y.sum()) for y in truth.labels) == 1648
    for name, frames, side in flow_floors.FLOORS:
        scores = [flow_floors.flow_floor(m, frames, side).max((1, 2)) for m in magnitude]
        assert clip_report.Report.micro_auc(report(scores, truth.labels), scores) == pytest.approx(
            PED2[name], abs=2.5e-4
        ), name


def test_micro_auc():
    rng = np.random.default_rng(0)
    scores, labels = (
        [rng.random(n) for n in (7, 12)],
        [(rng.random(n) < 0.5).astype(np.uint8) for n in (7, 12)],
    )
    pooled, y = np.concatenate(scores), np.concatenate(labels)
    pairs = [(a > b) + 0.5 * (a == b) for a in pooled[y == 1] for b in pooled[y == 0]]
    assert clip_report.Report.micro_auc(report(scores, labels), scores) == pytest.approx(
        np.mean(pairs)
    )


def test_paper_scores():
    """Each term min-max a video, smoothed, then added: not the other way round."""
    rng = np.random.default_rng(1)
    one, other = ([rng.gamma(2.0, size=n) for n in (20, 31)] for _ in range(2))
    found = clip_report.paper_scores([(0.8, one), (0.2, other)])
    assert [x.shape for x in found] == [(20,), (31,)]
    for i, scores in enumerate(found):
        expected = np.zeros(len(scores))
        for weight, x in ((0.8, one[i]), (0.2, other[i])):
            shaped = np.array([(value - min(x)) / (max(x) - min(x)) for value in x])
            expected += weight * gaussian_filter1d(shaped, 5.0, mode="reflect")
        np.testing.assert_allclose(scores, expected, rtol=1e-12)
    # a constant term says nothing
    np.testing.assert_array_equal(
        clip_report.paper_scores([(1.0, [np.full(9, 3.0)])])[0], np.zeros(9)
    )


def scored(name, scores, labels):
    labels = np.asarray(labels, np.uint8)
    return ScoredVideo(
        name,
        np.asarray(scores, np.float64),
        labels,
        int(labels.any()),
        (),
        np.zeros((0, 2), np.int64),
        (),
        1,
        0.0,
    )


def test_pairs_lost():
    """By comparing every abnormal frame with every normal one; ties are not lost."""
    rng = np.random.default_rng(2)
    videos = [
        scored(f"v{i}", np.round(rng.random(n), 1), rng.random(n) < share)
        for i, (n, share) in enumerate(((9, 0.5), (14, 0.3), (5, 2.0), (4, 0.0)))
    ]
    every = [(s, y) for v in videos for s, y in zip(v.scores, v.labels)]
    normal, abnormal = (np.sort([s for s, y in every if y == k]) for k in (0, 1))
    lost = 0
    for video in videos:
        missed, alarmed = clip_report.pairs_lost(video, normal, abnormal)
        for t, (s, y) in enumerate(zip(video.scores, video.labels)):
            assert missed[t] == (sum(other > s for other, k in every if k == 0) if y else 0)
            assert alarmed[t] == (0 if y else sum(other < s for other, k in every if k == 1))
        lost += missed.sum() - alarmed.sum()
    assert lost == 0  # every lost pair has two sides


def test_misses():
    """A row a video: its share of all lost pairs and its worst frames, counted from 1."""
    videos = [
        scored("a", [0.9, 0.1, 0.5], [0, 1, 0]),
        scored("b", [0.3, 0.2], [1, 1]),
        scored("c", [0.0], [0]),
    ]
    # lost: (a2, a1), (a2, a3), (b1, a1), (b1, a3), (b2, a1), (b2, a3)
    rows = clip_report.misses(videos)
    assert rows == [
        ["a", "1", "2", "0.0000", "33.3 %", "2", "100.0 %", "1, 3"],
        ["b", "2", "0", "-", "66.7 %", "1, 2", "0.0 %", "-"],
        ["c", "0", "1", "-", "0.0 %", "-", "0.0 %", "-"],
    ]
    perfect = [scored("d", [0.1, 0.9], [0, 1])]
    assert clip_report.misses(perfect) == [["d", "1", "1", "1.0000", "0.0 %", "-", "0.0 %", "-"]]


def test_flow_magnitudes():
    """The third part of the flow; none without flow."""
    cells = np.arange(2 * 3 * 3 * 4, dtype=np.float16).reshape(2, 3, 4, 3)

    class Data:
        flow = SimpleNamespace(video=lambda i: cells + i)

        def __len__(self):
            return 2

    on, off = (SimpleNamespace(score=SimpleNamespace(floors=flag)) for flag in (True, False))
    found = clip_report.Report.flow_magnitudes(SimpleNamespace(data=Data(), config=on))
    assert len(found) == 2 and found[1].dtype == np.float32
    np.testing.assert_array_equal(found[1], (cells + 1)[..., 2])
    assert (
        clip_report.Report.flow_magnitudes(
            SimpleNamespace(data=SimpleNamespace(flow=None), config=on)
        )
        == []
    )
    assert clip_report.Report.flow_magnitudes(SimpleNamespace(data=Data(), config=off)) == []


def test_floor_pixels_have_the_cells_of_the_flow():
    """Window positions are one fewer than cells: the last row and column are repeated, so that
    maps cover the frame."""
    magnitude = np.random.default_rng(3).gamma(2.0, size=(6, 4, 5)).astype(np.float32)
    seen = []
    fake = SimpleNamespace(
        flow_magnitudes=lambda: [magnitude],
        of_pixels=lambda maps: seen.append(maps[0]) or [{"metric": "rbdc", "value": 0.5}],
    )
    fake.flow_floors = partial(clip_report.Report.flow_floors, fake)
    found = clip_report.Report.floor_pixels(fake)
    assert found == {f"floor, rbdc/{name}": 0.5 for name, *_ in flow_floors.FLOORS} and len(
        seen
    ) == len(flow_floors.FLOORS)
    for maps, (_, frames, side) in zip(seen, flow_floors.FLOORS):
        assert maps.shape == magnitude.shape
        np.testing.assert_array_equal(
            maps[:, :-1, :-1], flow_floors.flow_floor(magnitude, frames, side)
        )
        np.testing.assert_array_equal(maps[:, -1], maps[:, -2])
        np.testing.assert_array_equal(maps[:, :, -1], maps[:, :, -2])


def test_lost_pairs_and_auc_agree():
    """1 - AUC is the share of lost pairs where no scores are equal."""
    rng = np.random.default_rng(4)
    videos = [scored(f"v{i}", rng.random(20), rng.random(20) < 0.4) for i in range(3)]
    scores, labels = (
        np.concatenate([v.scores for v in videos]),
        np.concatenate([v.labels for v in videos]).astype(bool),
    )
    lost = sum(
        clip_report.pairs_lost(v, np.sort(scores[~labels]), np.sort(scores[labels]))[0].sum()
        for v in videos
    )
    assert 1 - roc_auc(scores, labels) == pytest.approx(lost / (labels.sum() * (~labels).sum()))


@pytest.mark.parametrize(
    "named, said",
    [
        ({"floor/length": 0.6}, ""),
        (
            {"floor/length": 0.8, "floor/centre": 0.75},
            "BELOW ITS FLOOR: length alone has AUC 0.8000",
        ),
        ({"floor/length": 0.6, "floor/length, snippets counted down": 0.9}, ""),
        ({"floor/flow, median of 5 frames": 0.9}, "BELOW ITS FLOOR: flow, median of 5 frames"),
        ({"floor/length": None}, ""),
        ({"this model, alone": 0.9}, ""),
        ({}, ""),
    ],
)
def test_a_model_below_its_floor_says_so_first(named, said):
    head = {"metric": "auc", "value": 0.7}
    found = tables.below_floor({"headline": head, "named": named})
    assert found.startswith(said) and bool(found) == bool(said)


def test_the_better_one_comes_with_its_command():
    head = {"metric": "auc", "value": 0.7}
    commands = {"floor/length": "train with --config.x=1"}
    tree = {"headline": head, "named": {"floor/length": 0.8}, "floor_commands": commands}
    assert tables.below_floor(tree).endswith("this model 0.7000; train with --config.x=1")
    assert not tables.below_floor({**tree, "headline": {"metric": "ap", "value": 0.1}})
