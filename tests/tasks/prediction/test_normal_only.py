"""The predictive model without a labelled test part, and ground truth that is checked before
anything is decoded."""

import json
import shutil

import numpy as np
import pytest
import tiny_clips
import video_files
from tiny_clips import flags

from gfvad import main
from gfvad.base.types import DataError
from gfvad.data.frames import decode
from gfvad.data.frames.clip_data import set_folder
from gfvad.data.frames.truth import check_before_decoding
from gfvad.data.frames.video_folders import open_layout

QUICK = {"train__steps": 2, "score__perturbations": 1, "eval__figures": False}


@pytest.fixture(autouse=True, scope="module")
def _in_checkout(repository, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        patch.setenv("GFVAD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory):
    return tiny_clips.write_set(tmp_path_factory.mktemp("set") / "tiny", captions=False)


def launch(root, workdir, *more, command="train"):
    words = [command, "--config=normal_predictive", f"--config.data.root={root}"]
    return main.main([*words, f"--workdir={workdir}", *flags(**QUICK), *map(str, more)])


def results_of(workdir):
    return json.loads((workdir / "results.json").read_text())


@pytest.fixture(scope="module")
def alone(tiny_set, tmp_path_factory):
    """A run on a folder that holds nothing but normal videos."""
    root = tmp_path_factory.mktemp("normal") / "videos"
    shutil.copytree(tiny_set / "training/frames", root)
    workdir = root.parent / "run"
    assert launch(root, workdir) == 0
    return workdir


def test_a_folder_of_normal_video_is_enough(alone):
    results = results_of(alone)
    assert results["headline"]["value"] is None and not results["records"]
    assert set(results["weights"]) == {"appearance", "pace", "speed", "bank"}
    assert results["alarms"]["threshold"] > 0 and "held-out" in results["alarms"]["rule"]
    assert not (alone / "scores.npz").exists() and set(results["content"]) == {"train"}


def test_such_a_run_scores_and_is_evaluated_later(alone, tiny_set, tmp_path):
    words = ["score", f"--model={alone}", str(tiny_set / "testing/frames/01")]
    assert main.main([*words, f"--out={tmp_path / 'scores'}"]) == 0
    assert (tmp_path / "scores/scores.csv").exists()
    out = tmp_path / "evaluated"
    words = ["evaluate", f"--workdir={alone}", f"--data={tiny_set}", f"--output={out}"]
    assert main.main(words) == 0
    assert 0 <= results_of(out)["headline"]["value"] <= 1


def test_auto_evaluates_what_is_labelled(tiny_set, tmp_path):
    assert launch(tiny_set, tmp_path / "run") == 0
    assert results_of(tmp_path / "run")["headline"]["value"] is not None
    # what is measured is not replaced by nothing
    assert launch(tiny_set, tmp_path / "run", "--config.data.test=none", command="evaluate") == 2


def test_auto_says_what_is_wrong_in_a_test_part(tiny_set, tmp_path, capsys):
    shutil.copytree(tiny_set, tmp_path / "set")
    part = next(p for p in (tmp_path / "set").rglob("*") if p.is_dir() and p.name == "testing")
    below = part / "frames" if (part / "frames").is_dir() else part
    (below / "empty").mkdir()
    assert launch(tmp_path / "set", tmp_path / "run") == 2
    assert "empty" in capsys.readouterr().err


def test_labelled_is_refused_without_labels_before_any_work(tiny_set, tmp_path, capsys):
    root = tmp_path / "set"
    shutil.copytree(tiny_set, root)
    (root / "test_spans.txt").unlink()
    (root / "test_masks_packed.npz").unlink()
    assert launch(root, tmp_path / "run", "--config.data.test=labelled") == 2
    said = capsys.readouterr().err
    assert "config.data.spans" in said and "config.data.test=none" in said
    assert "frames/s" not in said and not (tmp_path / "run").exists()


def test_layout_of_a_folder_without_parts(tiny_set):
    cfg = tiny_clips.config(data__test="auto", data__layout="auto").data
    cfg.root = str(tiny_set / "training/frames")
    folder = set_folder(cfg)
    assert folder.layout == "normal" and len(folder.videos("train")) == len(tiny_clips.TRAIN)
    with pytest.raises(DataError, match="no test videos in layout 'normal'"):
        folder.videos("test")
    cfg.test = "labelled"
    assert set_folder(cfg).layout == "any"


@pytest.mark.parametrize(
    "line, said",
    [
        ("77 1 2", "unknown video '77'"),
        ("01 5", "expected `video first last`"),
        ("01 4 99", "1 to"),
    ],
)
def test_spans_of_video_files_are_read_before_decoding(tmp_path, line, said, monkeypatch):
    for split in ("training", "testing"):
        (tmp_path / split).mkdir()
        video_files.write_video(tmp_path / split / "01.mp4", 12)
    (tmp_path / "test_spans.txt").write_text(f"01 1 3\n{line}\n")
    folder = open_layout("auto", tmp_path)
    monkeypatch.setattr(decode, "read_frames", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(decode, "read_video", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match="test_spans.txt, line 2") as error:
        check_before_decoding(tmp_path, folder.videos("test"), folder.videos("train"))
    assert said in str(error.value)


def test_frames_of_files_that_state_them(tmp_path):
    path = video_files.write_video(tmp_path / "v.mp4", 12)
    video = open_layout("any", path).videos("test")[0]
    assert decode.exact_frames(video) == 12 == len(list(decode.read_frames(video, 1)))
    loose = open_layout("any", video_files.write_video(tmp_path / "v.avi", 12)).videos("test")[0]
    assert decode.exact_frames(loose) == 0 and np.isfinite(decode.frame_rate(loose))
