"""The model against what stands beside it, by paired tests over videos."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gfvad.base.types import ScoredVideo
from gfvad.measure import paired, results


def videos_and_floor(videos=30, frames=60, seed=0, strength=1.0, floor=0.3):
    """Videos with scores that know the labels by `strength`, and a floor that knows them less."""
    rng = np.random.default_rng(seed)
    found, other = [], {}
    for i in range(videos):
        y = ((rng.random(frames) < 0.4) * (i % 2)).astype(np.uint8)
        score, none = rng.normal(size=frames) + strength * y, np.zeros((0, 2), np.int64)
        found.append(ScoredVideo(f"v{i}", score, y, int(y.any()), (), none, (), 1, 25.0))
        other[f"v{i}"] = rng.normal(size=frames) + floor * y
    return found, other


def test_values_are_those_of_scikit_learn_and_resamples_are_paired():
    videos, other = videos_and_floor()
    found = paired.against(videos, paired.Beside({"floor/other": other}), 300)
    (row,) = found.rows
    labels = np.concatenate([v.labels for v in videos])
    mine = roc_auc_score(labels, np.concatenate([v.scores for v in videos]))
    theirs = roc_auc_score(labels, np.concatenate([other[v.name] for v in videos]))
    assert row["value"] == pytest.approx(theirs) and row["difference"] == pytest.approx(
        mine - theirs
    )
    assert row["p"] < 0.05 and row["ci95"][0] > 0 and row["kind"] == paired.FLOOR
    # by hand, on the same draws
    from gfvad.measure import bootstrap

    present = np.array([[(v.labels == k).any() for k in (0, 1)] for v in videos])
    drawn = bootstrap.draw(present, 300, 0)
    for r in (0, 7, 299):
        names = np.repeat(np.arange(len(videos)), drawn[r].astype(int))
        y = np.concatenate([videos[i].labels for i in names])
        a = roc_auc_score(y, np.concatenate([videos[i].scores for i in names]))
        b = roc_auc_score(y, np.concatenate([other[videos[i].name] for i in names]))
        assert found.resampled[paired.MODEL][r] == pytest.approx(a, abs=2e-3)
        assert found.resampled["floor/other"][r] == pytest.approx(b, abs=2e-3)


def test_whole_clips_are_compared_by_their_peaks():
    rng, none = np.random.default_rng(3), np.zeros((0, 2), np.int64)
    videos, other = [], {}
    for i in range(24):
        label = i % 2
        y, score = np.full(30, label, np.uint8), rng.normal(size=30) + 2 * label
        videos.append(ScoredVideo(f"v{i}", score, y, label, (), none, (), 1, 25.0))
        other[f"v{i}"] = rng.normal(size=33)  # what lies beyond the labels counts nowhere
        other[f"v{i}"][30:] = 99 * (1 - label)
    found = paired.against(videos, paired.Beside({"floor/other": other}), 200)
    (row,), labels = found.rows, [v.label for v in videos]
    mine = roc_auc_score(labels, [v.scores.max() for v in videos])
    theirs = roc_auc_score(labels, [other[v.name][:30].max() for v in videos])
    assert row["statistic"] == "auc_video" and row["value"] == pytest.approx(theirs)
    assert row["difference"] == pytest.approx(mine - theirs) and row["drawn"] == 24
    assert "by their peaks" in paired.table(found.rows)["title"]
    # four clips are drawn whole: there is nothing inside one to cut
    few = paired.against(videos[:4], paired.Beside({"floor/other": other}), 20)
    assert (few.rows[0]["drawn"], few.rows[0]["of"]) == (4, "videos")


def test_rows_of_runs_of_before_tell_of_frames():
    videos, other = videos_and_floor()
    rows = paired.against(videos, paired.Beside({"floor/other": other}), 20).rows
    assert rows[0]["statistic"] == "auc"
    old = [{k: v for k, v in row.items() if k != "statistic"} for row in rows]
    assert paired.table(old) == paired.table(rows) and "frame AUC" in paired.table(old)["title"]


def test_a_copy_of_the_model_differs_by_nothing():
    videos, _ = videos_and_floor()
    copy = {v.name: v.scores for v in videos}
    (row,) = paired.against(videos, paired.Beside(singles={"same": copy}), 100).rows
    assert row["difference"] == 0 and row["p"] == 1 and row["ci95"] == [0, 0]


def test_without_resamples_or_videos_there_is_no_p():
    videos, other = videos_and_floor(videos=4)
    found = paired.against(videos, paired.Beside({"floor/other": other}), 0)
    assert found.rows[0]["p"] is None and found.rows[0]["ci95"] is None and not found.resampled
    assert "p -" in paired.lines(found.rows)[0]
    assert paired.against([], paired.Beside({"floor/other": other}), 10) == paired.Tested([], {})
    assert paired.against(videos, paired.Beside(), 10) == paired.Tested([], {})


def test_the_best_of_each_kind_is_named_first():
    videos, weak = videos_and_floor(floor=0.1)
    _, good = videos_and_floor(floor=0.5)
    beside = paired.Beside({"floor/weak": weak, "floor/good": good}, {"this model, a alone": weak})
    rows = paired.against(videos, beside, 50).rows
    assert [r["against"] for r in rows] == ["floor/good", "floor/weak", "this model, a alone"]
    said = paired.lines(rows)
    assert said[0].startswith("against the best floor, good ")
    assert said[1].startswith("against the best single set, a alone ")


def test_seeds_are_joined_on_the_same_draws(tmp_path):
    runs = []
    for seed in range(3):
        videos, _ = videos_and_floor(seed=0, strength=1.0)
        noise = np.random.default_rng(seed)
        videos = [
            v._replace(scores=v.scores + 0.1 * noise.normal(size=len(v.scores))) for v in videos
        ]
        _, other = videos_and_floor(seed=0)
        tested = paired.against(videos, paired.Beside({"floor/other": other}), 200)
        folder = tmp_path / str(seed)
        folder.mkdir()
        results.write_scores(folder / paired.FILE, tested.resampled)
        runs.append(({"paired": tested.rows}, folder))
    (row,) = paired.over_seeds(runs)
    assert row["difference"] == pytest.approx(
        np.mean([r["paired"][0]["difference"] for r, _ in runs])
    )
    alone = [r["paired"][0]["ci95"] for r, _ in runs]
    assert min(a for a, _ in alone) - 1e-3 <= row["ci95"][0] <= max(a for a, _ in alone) + 1e-3
    (tmp_path / "1" / paired.FILE).unlink()
    assert paired.over_seeds(runs) == []


def test_of_few_videos_pieces_are_drawn():
    videos, other = videos_and_floor(videos=2, frames=400, strength=2.0)
    found = paired.against(videos, paired.Beside({"floor/other": other}), 100)
    (row,) = found.rows
    assert (row["drawn"], row["of"]) == (20, "pieces") and row["p"] < 0.05
    labels = np.concatenate([v.labels for v in videos])
    theirs = roc_auc_score(labels, np.concatenate([other[v.name] for v in videos]))
    assert row["value"] == pytest.approx(theirs)
    assert "20 pieces" in paired.lines(found.rows)[0]
    whole = [paired.Drawn(v.name, 0, v.labels) for v in videos]
    parts = paired.pieces_of(whole)
    assert [p.first for p in parts] == [*range(0, 400, 40)] * 2
    assert sum(len(p.labels) for p in parts) == 800
