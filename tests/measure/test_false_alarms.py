"""Thresholds by false alarms an hour."""

import numpy as np
import pytest

from gfvad.measure.false_alarms import Normal, events, for_rate, lowest


def noise(seed, videos=20, minutes=30, fps=5):
    rng = np.random.default_rng(seed)
    kernel = np.ones(8) / np.sqrt(8)
    draw = lambda: np.convolve(rng.standard_normal(minutes * 60 * fps), kernel, "same")
    return [Normal(draw(), fps) for _ in range(videos)]


def test_events_are_runs_joined_over_short_gaps():
    scores = Normal(np.array([0, 2, 3, 0, 2, 0, 0, 0, 5, 5.0]), 1.0)
    assert events(scores, 2, 0).tolist() == [3, 2, 5]
    assert events(scores, 2, 1).tolist() == [3, 5]
    assert events(scores, 9, 1).tolist() == []


@pytest.mark.parametrize("an_hour", [0.5, 2.0, 6.0])
def test_other_normal_video_gives_about_as_many_alarms_as_asked_for(an_hour):
    found = for_rate(noise(0), an_hour, 1.0)
    alarms = sum(len(events(v, found.threshold, 1.0)) for v in noise(1, videos=60))
    assert an_hour / 2 <= alarms / 30 <= an_hour * 2
    assert "false alarms an hour of 10 hours" in found.rule


def test_a_rate_that_the_video_is_too_short_for_is_read_off_the_tail_and_said_so():
    found = for_rate(noise(0, videos=8), 0.1, 1.0)
    assert "generalised Pareto" in found.rule
    alarms = sum(len(events(v, found.threshold, 1.0)) for v in noise(2, videos=200))
    assert 0.1 / 3 <= alarms / 100 <= 0.1 * 3


def test_no_video_is_refused_and_constant_scores_are_no_alarm():
    with pytest.raises(ValueError, match="no normal video"):
        for_rate([], 1.0, 1.0)
    still = Normal(np.zeros(1000), 5.0)
    found = for_rate([still], 1.0, 1.0)
    assert found.threshold > 0 and not len(events(still, found.threshold, 1.0))


def test_alarms_that_run_into_each_other_are_not_taken_for_few():
    """Far below, a video is one alarm: the threshold is still that of the highest peaks."""
    rng = np.random.default_rng(0)
    videos = [Normal(rng.uniform(0, 1, 36_000) + 5 * (np.arange(36_000) % 360 == 7), 10.0)] * 4
    # a hundred peaks an hour; below 1 each video is one alarm, four in four hours
    found = for_rate(videos, 4.0, 1.0)
    assert found.threshold > 5
    assert sum(len(events(v, found.threshold, 1.0)) for v in videos) <= 16
    assert lowest(np.arange(10.0), lambda u: u >= 3.5) == pytest.approx(3.5, abs=1e-6)
    assert lowest(np.arange(10.0), lambda u: u < 2 or u > 7) == pytest.approx(7, abs=1e-6)
