"""Which videos come from one source: by clustering, by names, by a column."""

import numpy as np
import pytest

from gfvad.base.types import ConfigError
from gfvad.data.features import sources
from gfvad.encoders.units import Unit
from gfvad.extraction import scenes


def test_clusters_are_scenes():
    rng = np.random.default_rng(0)
    scene = rng.normal(size=(6, 40))
    own = np.repeat(np.arange(6), [5, 1, 4, 7, 2, 3])
    order = rng.permutation(len(own))
    x = (scene[own] + 0.3 * rng.normal(size=(len(own), 40)))[order]
    found, expected = sources.cluster(x), sources.numbered(own[order].tolist())
    np.testing.assert_array_equal(found, expected)  # counted in the order of the videos
    # neither scale nor offset of a number matters
    scale, offset = rng.uniform(0.1, 9, 40), rng.normal(size=40)
    np.testing.assert_array_equal(sources.cluster(x * scale + offset), expected)


def test_scenes_that_are_not_known():
    assert sources.cluster(np.zeros((0, 3))).tolist() == []
    assert sources.cluster(np.ones((1, 3))).tolist() == [0]
    x = np.random.default_rng(1).normal(size=(5, 8))
    x[[1, 3]] = 0.0
    found = sources.cluster(x)
    assert found[1] != found[3] and {found[1], found[3]}.isdisjoint(found[[0, 2, 4]])
    assert sources.cluster(np.zeros((sources.MOST + 1, 2)))[-1] == sources.MOST


def test_names_and_columns():
    names = ["01_a", "02_b", "01_c", "odd"]
    assert sources.by_pattern(names, r"^(\d+)_").tolist() == [0, 1, 0, 2]
    assert sources.by_pattern(names, r"_[ab]").tolist() == [0, 1, 2, 3]
    for pattern, message in (("(", "no regular expression"), ("x+", "fits none of 4")):
        with pytest.raises(ConfigError, match=f"source_pattern = .*{message}"):
            sources.by_pattern(names, pattern)
    column = {"01_a": "hall", "01_c": "hall", "odd": ""}
    assert sources.by_column(names, column).tolist() == [0, 1, 0, 2]
    assert sources.by_column(names, {"other": "hall"}) is None


def test_scene_of_a_video():
    rng = np.random.default_rng(2)
    frame = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    scene, same, none = scenes.Scene(), scenes.Scene(), scenes.Scene()
    for k in range(5):
        # unit 3 is not looked at
        shown = rng.integers(0, 256, frame.shape, dtype=np.uint8) if k == 3 else frame
        scene.see(Unit(k, k, k + 1, shown[None], None, None))
    same.see(Unit(0, 0, 1, frame[None], None, None))
    np.testing.assert_allclose(
        scenes.read_scene(scene.text()), scenes.read_scene(same.text()), atol=1e-3
    )
    assert (
        none.text() == ""
        and scenes.read_scene("") is None
        and scenes.read_scene("no text!") is None
    )
    videos = {name: {"scene": scene.text()} for name in "ab"} | {"c": {}}
    assert scenes.sources(videos) == {"a": "scene 1", "b": "scene 1", "c": ""}
    videos["a"]["source"] = "hall"
    assert scenes.sources(videos) == {"a": "hall", "b": "", "c": ""}
