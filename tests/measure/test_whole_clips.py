"""Clips that are wholly of one class: what is left out, what comes first, and at which
threshold."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gfvad.base.types import ScoredVideo
from gfvad.measure import calibration, paired, protocols, results, tables, whole_clips
from gfvad.tasks import job
from gfvad.tasks.task import Scored

CFG = SimpleNamespace(ema=(), gaussian=(5.0,), bootstrap=50)
META = {
    "dataset": "own",
    "split": "test",
    "ground_truth_frames": 320,
    "seed": 0,
    "config_hash": "0a1b2c3d",
    "device": "cpu x 1",
    "wall_seconds": 1.0,
    "metric": "auc",
}
ALARM = (0.6, "95% of 20 normal videos held out of training stay below")


def clips(count=10, mixed=0):
    """Clips of 32 frames, every second one abnormal as a whole; the first `mixed` abnormal ones
    in their first half only."""
    rng = np.random.default_rng(0)
    videos = []
    for i in range(count):
        frames = 16 if i % 2 and i < 2 * mixed else 32
        labels = (np.arange(32) < frames * (i % 2)).astype(np.uint8)
        spans = np.array([[0, frames]] * (i % 2), np.int64).reshape(-1, 2)
        scores = np.repeat(np.round(rng.random(2) * 0.7 + 0.25 * (i % 2), 2), 16)
        videos.append(
            ScoredVideo(f"c{i}", scores, labels, i % 2, (), spans, ("",) * (i % 2), 16, 25.0)
        )
    return videos


def tree_of(videos, alarm=ALARM):
    records = protocols.protocol_matrix(videos, CFG, (0.5, 0.2)) + whole_clips.records(
        videos, alarm, "last", 50, 0
    )
    return results.build_results(records, META)


def test_lines_that_say_nothing_are_left_out():
    records = tree_of(clips())["records"]
    assert {r["aggregation"] for r in records} == {"micro"} and {
        r["normalisation"] for r in records
    } == {"none", "train"}
    assert {r["metric"] for r in records} == {
        "auc",
        "ap",
        "pr_trapezoid",
        "eer",
        "far@0.5",
        "auc_video",
        "brier",
        "ece",
        *whole_clips.AT_THRESHOLD,
    }
    for text in (tables.as_text(tree_of(clips())), tables.markdown(tree_of(clips()))):
        assert (
            "macro  " not in text
            and "min-max/video" not in text
            and "mAP@IoU" not in text
            and "| macro" not in text
        )


def test_one_video_with_both_kinds_of_frames_keeps_everything():
    records = tree_of(clips(mixed=1))["records"]
    assert {"macro", "micro"} == {r["aggregation"] for r in records} and "minmax" in {
        r["normalisation"] for r in records
    }
    assert {"map@avg", "auc_abnormal"} <= {r["metric"] for r in records} and not set(
        whole_clips.AT_THRESHOLD
    ) & {r["metric"] for r in records}
    assert "macro" in tables.as_text(
        tree_of(clips(mixed=1))
    ) and "whole clips" not in tables.as_text(tree_of(clips(mixed=1)))


@pytest.mark.parametrize("threshold", [0.0, 0.6, 2.0, "peak"])
def test_values_by_hand(threshold):
    videos = clips()
    peaks, labels = np.array([v.scores.max() for v in videos]), np.array([v.label for v in videos])
    # one clip lies on it: an alarm
    threshold = float(np.median(peaks[labels == 1])) if threshold == "peak" else threshold
    found = {
        r["metric"]: r
        for r in tree_of(videos, (threshold, "given"))["records"]
        if r["aggregation"] == "micro" and r["smoothing"] == "none"
    }
    assert found["auc_video"]["value"] == pytest.approx(roc_auc_score(labels, peaks))
    for metric, label in whole_clips.AT_THRESHOLD.items():
        record = found[metric]
        assert (
            record["value"] == np.mean(peaks[labels == label] >= threshold)
            and record["n_videos"] == 5
            and record["n_frames"] == 160
        )
        assert (
            record["threshold"] == threshold
            and 0 <= record["ci95"][0] <= record["value"] <= record["ci95"][1] <= 1
        )
        # five clips say little, also where all of them agree
        assert record["ci95"][1] - record["ci95"][0] > 0.1


def test_clips_come_first():
    tree = tree_of(clips())
    text = tables.as_text(tree).splitlines()
    assert (
        text[0].startswith("HEADLINE  own test: clip AUC, whole videos by their peaks 0.")
        and "recall 0." in text[0]
        and "false alarms 0." in text[0]
    )
    assert any(line.strip() == f"alarm threshold 0.6 ({ALARM[1]})" for line in text)
    assert any(line.strip().startswith("frames: AUC 0.") for line in text)
    assert [s.title for s in tables.sections(tree)][
        0
    ] == "own test: whole clips, at the run's alarm threshold"
    assert [row[0] for row in tables.sections(tree)[0].rows] == [
        tables.title(m) for m in ("auc_video", *whole_clips.AT_THRESHOLD)
    ]
    beside = next(s for s in tables.sections(tree) if "besides" in s.title)
    assert not any("clip" in row[0] or "peaks" in row[0] for row in beside.rows)  # not twice
    assert max(map(len, text)) <= tables.WIDTH
    normal = [v for v in clips() if not v.label]  # nothing to find at all
    assert [r["metric"] for r in whole_clips.records(normal, ALARM, "last", 0, 0)] == [
        "clip_false_alarms"
    ]


@pytest.mark.parametrize(
    "step, expected", [(7, 0.6), (8, calibration.DEFAULT), (-1, calibration.DEFAULT)]
)
def test_a_run_uses_its_own_alarm_threshold(step, expected, tmp_path, monkeypatch):
    """The calibrated one of the checkpoint that was scored; the default, by its reason, for
    weights that were not calibrated."""
    (tmp_path / calibration.CALIBRATION).write_text(
        json.dumps({"step": 7, "threshold": 0.6, "rule": "by hand"})
    )
    monkeypatch.setattr(job, "facts", lambda run, videos, seconds: META | {"wall_seconds": seconds})
    run = SimpleNamespace(
        config=SimpleNamespace(eval=CFG, seed=0),
        workdir=tmp_path,
        features=lambda i: {},
        records=list,
        about=lambda videos: {},
        beside=lambda videos: paired.Beside(),
        splits={"test": None},
        content=dict,
    )
    tree = job.write_run(run, [Scored("last", clips(), (0.5, 0.2), step)], lambda: 1.0)
    found = [r for r in tree["records"] if r["metric"] in whole_clips.AT_THRESHOLD]
    assert [r["threshold"] for r in found] == [expected] * 2 and (
        "by hand" in found[0]["threshold_rule"]
    ) == (step == 7)
    assert (
        results.read_results(tmp_path / "results.json") == tree
        and "whole clips" in (tmp_path / "results.md").read_text()
    )
    if step == -1:
        assert "-1" not in found[0]["threshold_rule"]
