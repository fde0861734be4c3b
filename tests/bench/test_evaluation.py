"""`gfvad bench evaluation` on a set small enough for a test."""

import numpy as np

from gfvad.bench import evaluation
from gfvad.measure import protocols


def test_every_part_is_measured(capsys):
    small = ["--videos=12", "--frames=6000", "--resamples=10", "--growth=50"]
    assert evaluation.run(small) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:10] for line in lines[-2:]] == ["everything", "proposals "]
    assert all(line.endswith("MB") for line in lines)


def test_simulated_videos_can_be_evaluated():
    videos = evaluation.simulate(12, 6000)
    protocols.check_scored(videos)
    assert sum(len(v.scores) for v in videos) >= 6000
    assert all(v.labels.any() == v.label for v in videos)
    assert np.mean([v.label for v in videos]) > 0.5
