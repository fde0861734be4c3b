"""MSAD as descriptions at two scales: units, folds, ground truth, and what is wrong with a file."""

import json

import feature_folders as ff
import numpy as np
import pytest

from gfvad.base.types import ConfigError, DataError
from gfvad.data.features.layouts import open_layout
from gfvad.data.features.layouts.msad_text import FPS, UNITS, class_of, described
from gfvad.data.text import assignment_weights
from gfvad.encoders.registry import open_sentences


def opened(root, fold=0, *modalities):
    return open_layout(
        ff.config("msad_text", root, *(modalities or ("coarse", "fine")), folds=5, fold=fold)
    )


def test_every_video_is_tested_once_by_a_model_of_the_others(tmp_path):
    root = ff.msad(tmp_path / "msad")
    tested = []
    for fold in range(5):
        layout = opened(root, fold)
        own = {e.name for e in layout.entries("test")}
        assert len(own) == 2 and {e.label for e in layout.entries("test")} == {0, 1}
        assert own | {e.name for e in layout.entries("train")} == set(layout.fold_of)
        assert not own & {e.name for e in layout.entries("train")}
        tested += own
    assert len(tested) == len(set(tested)) == 10
    assert {class_of(name) for name in tested} == {"Fire", "MSAD_normal_testing"}


def test_a_unit_has_the_mean_of_the_sentences_told_at_its_time(tmp_path):
    root = ff.msad(tmp_path / "msad")
    layout = opened(root)
    entry = next(e for e in layout.entries("test") if e.label)
    video, encoder = layout.load(entry), open_sentences("hash")
    told = json.loads((root / "captions_coarse_dev.json").read_text())[entry.name]
    frames = video.num_frames
    sentences = [s for e in told for s in e["text"].replace(". ", ".|").split("|")]
    times = [(e["first_frame"] / FPS, (e["last_frame"] + 1) / FPS) for e in told]
    spans = np.array([times[0], times[0], times[1]])
    edges = np.linspace(0, frames / FPS, UNITS + 1)
    weights = assignment_weights(np.stack([edges[:-1], edges[1:]], 1), spans, "nearest")
    wanted = weights @ encoder.encode(sentences)
    np.testing.assert_allclose(video.features["coarse"][0], wanted, atol=1e-6)
    assert video.features["fine"].shape == (1, UNITS, encoder.width)
    labels = np.load(root / "frame_labels_dev.npz")[entry.name]
    assert frames == len(labels)
    np.testing.assert_array_equal(video.spans, [[frames // 2, frames]])
    # a training video says no more than its label
    assert all(not len(layout.load(e).spans) for e in layout.entries("train"))


def test_videos_that_tell_the_same_stay_together(tmp_path):
    root = ff.msad(tmp_path / "msad")
    for scale in ("coarse", "fine"):
        path = root / f"captions_{scale}_dev.json"
        content = json.loads(path.read_text())
        content["Fire_1"] = content["Fire_3"][:1] + content["Fire_3"]
        path.write_text(json.dumps(content))
    layout = opened(root)
    assert layout.fold_of["Fire_1"] == layout.fold_of["Fire_3"]


def test_folds_are_the_same_for_either_scale(tmp_path):
    root = ff.msad(tmp_path / "msad")
    path = root / "captions_fine_dev.json"
    content = json.loads(path.read_text())
    content["Fire_1"] = content["Fire_3"][:1] + content["Fire_3"]
    path.write_text(json.dumps(content))
    both = opened(root).fold_of
    assert both["Fire_1"] == both["Fire_3"]
    assert opened(root, 0, "coarse").fold_of == both == opened(root, 0, "fine").fold_of


def test_the_fingerprint_knows_the_descriptions_and_how_they_are_read(tmp_path):
    root = ff.msad(tmp_path / "msad")
    before = opened(root).fingerprint()
    assert opened(root).fingerprint() == before != opened(root, 1).fingerprint()
    path = root / "captions_fine_dev.json"
    path.write_text(path.read_text().replace("quiet", "silent"))
    assert opened(root).fingerprint() != before


@pytest.mark.parametrize(
    "told, said",
    [
        ([{"first_frame": 5, "last_frame": 2, "text": "A."}], "description 0"),
        ([{"first_frame": 0, "last_frame": 2}], "description 0"),
        ([{"first_frame": -1, "last_frame": 2, "text": "A."}], "description 0"),
        (["a sentence"], "description 0"),
        ({"first_frame": 0}, "expected a list"),
    ],
)
def test_a_damaged_description_is_named(tmp_path, told, said):
    path = tmp_path / "captions_fine_dev.json"
    path.write_text(json.dumps({"Fire_1": told}))
    with pytest.raises(DataError, match=f"captions_fine_dev.json.*Fire_1.*{said}"):
        described(path, {"Fire_1": 30})


def test_what_is_missing_is_said(tmp_path):
    root = ff.msad(tmp_path / "msad")
    with pytest.raises(ConfigError, match=r"data\.fold = 7 of config\.data\.folds = 5"):
        opened(root, 7)
    path = root / "captions_fine_dev.json"
    content = json.loads(path.read_text())
    del content["Fire_1"]
    path.write_text(json.dumps(content))
    fold = opened(root).fold_of["Fire_1"]
    with pytest.raises(DataError, match="no descriptions in captions_fine_dev.json"):
        opened(root, fold).entries("test")
    path.unlink()
    with pytest.raises(DataError, match="captions_fine_dev.json"):
        opened(root)
    (root / "frame_labels_dev.npz").unlink()
    with pytest.raises(DataError, match="frame_labels_dev.npz"):
        opened(root)
