"""Folds of videos: each is tested once, near-duplicates together, classes in their shares; and the
folds of UCF-Crime's training videos."""

import itertools
import json
import re
from types import SimpleNamespace

import feature_folders as ff
import numpy as np
import pytest

from gfvad.base.types import ConfigError, DataError
from gfvad.data import glances
from gfvad.data.features import layouts
from gfvad.data.features.layouts.folds import ALIKE, SHARED, deal, near_duplicates
from gfvad.data.features.layouts.ucf_folds import read_spans

FOLDS = 3


def test_near_duplicates_are_what_pairs_join():
    """Against plain loops: cosine of centred means, or sentences in common, carried on from pair
    to pair."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(30, 5))
    means[7] = means[3] + 0.05
    means[9] = means[7] + 0.05
    told = [[f"{i} a", f"{i} b", f"{i} c"] for i in range(30)]
    told[20] = ["12 a", "12 b", "20 c"]  # two of three sentences of 12
    told[21] = ["13 a", "21 b", "21 c"]  # one of three
    told[22] = ["14 a"]  # one alone is too common
    centred = means - means.mean(0)
    cosine = lambda a, b: a @ b / np.sqrt((a @ a) * (b @ b))
    group = list(range(30))
    for i, j in itertools.product(range(30), range(30)):
        common = len(set(told[i]) & set(told[j]))
        said = common >= max(2, SHARED * min(len(told[i]), len(told[j])))
        if i < j and (cosine(centred[i], centred[j]) > ALIKE or said):
            group = [group[i] if g == group[j] else g for g in group]
    found = near_duplicates(means, told)
    same = lambda labels: np.asarray(labels)[:, None] == np.asarray(labels)
    np.testing.assert_array_equal(same(found), same(group))
    assert found[3] == found[7] == found[9] and found[12] == found[20] and found[13] != found[21]
    np.testing.assert_array_equal(near_duplicates(means[:1], [[]]), [0])


@pytest.mark.parametrize("seed", range(3))
def test_folds_hold_their_share_of_every_class_and_groups_whole(seed):
    rng = np.random.default_rng(seed)
    names, strata = [f"v{i}" for i in range(60)], rng.choice(["a", "b", "c"], 60).tolist()
    groups = np.arange(60)
    groups[10:13] = 10
    groups[40:45] = 40
    found = deal(names, strata, groups, 5)
    assert set(found) == set(range(5))
    for group in set(groups.tolist()):
        assert len(set(found[groups == group])) == 1
    for kind in "abc":
        held = np.bincount(found[np.array(strata) == kind], minlength=5)
        assert np.ptp(held) <= 5  # the largest group, at most
    np.testing.assert_array_equal(found, deal(names, strata, groups, 5))
    apart = deal(names, strata, np.arange(60), 5)
    for kind in "abc":  # without groups the shares differ by one
        assert np.ptp(np.bincount(apart[np.array(strata) == kind], minlength=5)) <= 1


@pytest.mark.parametrize("folds", [0, 1, 4])
def test_as_many_folds_as_there_can_be(folds):
    with pytest.raises(ConfigError, match=f"data.folds = {folds}: expected 2 to 3"):
        deal(["a", "b", "c"], ["x"] * 3, np.arange(3), folds)


# ---- UCF-Crime


@pytest.fixture
def root(tmp_path):
    """Twelve videos, of which two are alike, one has no spans, and one no length."""
    folder, names = tmp_path / "ucf", []
    names += [f"{kind}{i:03}_x264" for kind in ("Abuse", "Arson") for i in range(1, 4)]
    names += [f"Normal_Videos{i:03}_x264" for i in range(1, 7)]
    x = ff.features(12, 8, 6, dtype=np.float16)
    x[1] = x[0] + np.float16(0.01)
    folder.mkdir()
    np.savez(folder / "i3d_logits_train.npz", x=x, name=names)
    ff.write_captions(folder / "captions.json", **{n: 10.0 for n in names if "Arson003" not in n})
    told = json.loads((folder / "captions.json").read_text())
    for name, own in told.items():  # of each video its own
        own["sentences"] = [f"{name}: {sentence}" for sentence in own["sentences"]]
    (folder / "captions.json").write_text(json.dumps(told))
    spans = [f"{n},30,59" for n in names[:6] if "Abuse003" not in n]
    spans += ["Abuse001_x264,200,300", "Abuse001_x264,50,80"]
    ff.write_lines(folder / "train_spans.csv", "name,first_frame,last_frame", *spans)
    return folder


def opened(root, fold, folds=FOLDS):
    return layouts.open_layout(ff.config("ucf_folds", root, "i3d_logits", fold=fold, folds=folds))


def test_every_video_with_a_ground_truth_is_tested_once(root):
    """And never beside a near-duplicate, or a video of its own in training."""
    tested, alike = [], {"Abuse001_x264", "Abuse002_x264"}
    for fold in range(FOLDS):
        layout = opened(root, fold)
        train, test = ({e.name for e in layout.entries(part)} for part in ("train", "test"))
        assert not train & test and len(alike & train) in (0, 2)
        assert {"Abuse003_x264", "Arson003_x264"} <= train  # nothing to judge them by
        assert all(sum(e.label for e in layout.entries(p)) > 0 for p in ("train", "test"))
        tested += sorted(test)
    assert len(tested) == len(set(tested)) == 10


def test_glances_of_tested_videos_never_enter(root, tmp_path):
    """Each fold reads those of its own training videos, whatever the file holds."""
    abnormal = [f"{kind}{i:03}_x264" for kind in ("Abuse", "Arson") for i in (1, 2)]
    path = ff.write_lines(tmp_path / "g.csv", "name,frame", *(f"{n},45" for n in abnormal))
    for fold in range(FOLDS):
        layout = opened(root, fold)
        entries = layout.entries("train")
        metas = [layout.load(entry)._replace(features={}) for entry in entries]
        names = [entry.name for entry in entries]
        records = SimpleNamespace(
            split="train", names=names, meta=metas.__getitem__, lengths=[8] * len(names)
        )
        found = glances.of_training(path, records, range(len(names)))
        tested = {entry.name for entry in layout.entries("test")} & set(abnormal)
        assert tested and {names[i] for i in found.units} == set(abnormal) - tested
        # frame 45 of 300, in eight units
        assert all(units.tolist() == [1] for units in found.units.values())
        assert f"{len(tested)} of 4 videos with glances are of no video here" in found.notes[1]


def test_spans_are_of_test_videos_alone(root):
    for fold in range(FOLDS):
        layout = opened(root, fold)
        for entry in layout.entries("train"):
            video = layout.load(entry)
            assert len(video.spans) == 0 and video.features["i3d_logits"].shape == (1, 8, 6)
        for entry in layout.entries("test"):
            video = layout.load(entry)
            expected = [[30, 60]] if entry.label else []
            if entry.name == "Abuse001_x264":
                expected = [[30, 81], [200, 300]]  # joined, and cut at the end of the video
            assert video.spans.tolist() == expected and video.num_frames == 300


def test_what_is_wrong_is_said_by_name(root):
    for fold in (-1, 3):
        message = f"data.fold = {fold} of config.data.folds = 3: expected a fold from 0 to 2"
        with pytest.raises(ConfigError, match=re.escape(message)):
            opened(root, fold)
    ff.write_lines(root / "train_spans.csv", "name,first_frame,last_frame", "Abuse001_x264,9,3")
    with pytest.raises(DataError, match=r"line 2: frames '9' to '3' of Abuse001_x264; expected"):
        opened(root, 0)
    (root / "captions.json").unlink()
    with pytest.raises(DataError, match=r"no captions.json; expected timed sentences with the"):
        opened(root, 0)


def test_spans_that_touch_are_one(tmp_path):
    path = ff.write_lines(
        tmp_path / "train_spans.csv",
        *("name,first_frame,last_frame", "a,5,9", "b,0,0", "a,10,12", "a,20,21", "a,6,7"),
    )
    found = read_spans(path)
    assert found["a"].tolist() == [[5, 13], [20, 22]] and found["b"].tolist() == [[0, 1]]
