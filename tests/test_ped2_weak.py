"""Ped2, weakly supervised split: features of snippets against plain numpy, the layout on a tiny folder, the real set where it is at hand."""
import shutil

import numpy as np
import ped2_folder
import pytest

from configs import ped2_weak
from gfvad.data import layouts, records
from gfvad.data.video import snippets
from gfvad.eval.beside import beside
from gfvad.types import DataError, ScoredVideo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return ped2_folder.write(tmp_path_factory.mktemp("ped2") / "set")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def config(root, cache):
    c = ped2_weak.get_config().data
    c.root, c.cache_dir, c.text_encoder = str(root), str(cache), "hash"
    return c


def test_means_ranks_and_boxes_agree_with_numpy():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(35, 3))
    np.testing.assert_allclose(snippets.mean(x), [x[:16].mean(0), x[16:32].mean(0), x[32:].mean(0)], rtol=1e-6)
    maps = rng.normal(size=(4, 5, 6))
    np.testing.assert_array_equal(snippets.ranked(maps, (1, 3)), [[sorted(m.ravel())[-1], sorted(m.ravel())[-3]] for m in maps])
    cells = rng.normal(size=(5, 6))
    expected = [[cells[i : i + 2, j : j + 2].mean() for j in range(5)] for i in range(4)]
    np.testing.assert_allclose(snippets.boxes(cells, 2), expected, rtol=1e-12)
    assert snippets.boxes(cells, 9).shape == (1, 2) or snippets.boxes(cells, 9).size == 1


def test_angles_are_bounded_and_their_cosine_is_that_of_the_difference():
    low, high = 0.5, 4.0
    x = np.array([[0.0], [0.5], [np.sqrt(2.0)], [4.0], [9.0]])
    found = snippets.angles(x, (low, high))
    angle = snippets.SPAN * np.array([0, 0, 0.5, 1, 1])  # sqrt(2) is half way in logarithms
    np.testing.assert_allclose(found, np.stack([np.cos(angle), np.sin(angle)], 1), atol=1e-12)
    np.testing.assert_allclose(found @ found.T, np.cos(angle[:, None] - angle), atol=1e-12)


def test_orientations_of_edges():
    """A vertical edge is of the first bin (its gradient is horizontal), a horizontal one of the middle; strengths are changes a pixel."""
    picture = np.zeros((16, 16), np.float32)
    picture[:, 8:] = 1
    found = snippets.oriented(picture, 8)
    assert found.shape == (snippets.ORIENTATIONS, 2, 2) and found[0].sum() > 0 and found[1:].sum() == 0
    turned = snippets.oriented(np.ascontiguousarray(picture.T), 8)
    assert turned[snippets.ORIENTATIONS // 2].sum() == pytest.approx(found[0].sum())
    assert snippets.figure_statistics(np.zeros((32, 32), bool), 8).sum() == 0


def test_layout_reads_the_split(folder, cache, tmp_path):
    layout = layouts.open_layout(config(folder, cache))
    assert [len(layout.entries(split)) for split in ("train", "test")] == [10, 18]
    assert [sum(e.label for e in layout.entries(split)) for split in ("train", "test")] == [6, 6]
    opened = records.open_records(records.prepare(layout, tmp_path / "records"), "test", ("motion", "appearance", "text"))
    video = opened[opened.names.index("Test001")]
    assert {m: x.shape for m, x in video.features.items()} == {"motion": (1, 2, 8), "appearance": (1, 2, 42), "text": (1, 2, opened.dims["text"])}
    assert video.num_frames == 32 and video.unit_frames == 16  # 20 frames, counted up
    assert video.spans.tolist() == [[6, 15]]  # one frame late, as published
    assert all(np.isfinite(x).all() for x in video.features.values())
    floor = layout.untrained()
    assert len(floor) == 4 and all(set(scores) == set(opened.names) for scores in floor.values())


def test_what_is_missing_is_named(folder, cache, tmp_path):
    whole = tmp_path / "set"
    shutil.copytree(folder, whole)
    (whole / "captions_gpt4o_test.jsonl").unlink()
    with pytest.raises(DataError, match="captions_gpt4o_test.jsonl: not found"):
        layouts.open_layout(config(whole, cache))
    (whole / "test_spans.txt").rename(whole / "spans.txt")
    with pytest.raises(DataError, match="test_spans.txt"):
        layouts.open_layout(config(whole, cache))
    shutil.rmtree(whole / "testing" / "frames" / "12")
    with pytest.raises(DataError, match="11 videos.*expected the 12 videos of Ped2"):
        layouts.open_layout(config(whole, cache))
    with pytest.raises(DataError, match="not found; expected frames"):
        layouts.open_layout(config(tmp_path / "nothing", cache))


def test_floors_stand_beside_the_model_under_every_ground_truth():
    y = np.array([0, 0, 1, 1], np.uint8)
    video = ScoredVideo("v", np.array([0.1, 0.2, 0.3, 0.4]), y, 1, (), np.array([[2, 4]]), (), 2, 0.0)
    found = beside([video], {"flow": {"v": np.array([0.9, 0.1])}}, {"shorter": {"v": y[:3]}})["named"]
    assert found == {"this model, shorter": 1.0, "floor/flow": 0.0, "floor/flow, shorter": 0.0}


def test_real_set_has_the_published_ground_truth(shared_data, cache):
    """3,200 frames, 904 abnormal, counted up; 2,912 counted down. No feature is computed."""
    root = shared_data / "ped2"
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    c = config(root, cache)
    layout = layouts.open_layout(c)
    truths = [layout.truth(e, -(-layout.frames(e.name) // 16)) for e in layout.entries("test")]
    assert sum(t.num_frames for t in truths) == 3200
    assert sum(int(end - start) for t in truths for start, end in t.spans) == 904
    down = layout.other_truths()["snippets counted down"]
    assert sum(map(len, down.values())) == 2912
