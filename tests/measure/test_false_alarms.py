"""Thresholds by false alarms an hour."""

import numpy as np
import pytest

from gfvad.measure.false_alarms import Normal, crossed, events, for_rate, lowest, spans


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
    assert spans(scores, 2, 0).tolist() == [[1, 3], [4, 5], [8, 10]]
    assert spans(scores, 2, 1).tolist() == [[1, 5], [8, 10]]
    assert spans(scores, 2, 3).tolist() == [[1, 10]] and spans(scores, 9, 1).shape == (0, 2)


@pytest.mark.parametrize("gap", [0, 3, 20])
def test_spans_are_those_of_a_walk_along_the_scores(gap):
    scores = np.random.default_rng(gap).normal(size=400)
    found, last = [], None
    for i in np.flatnonzero(scores >= 1):
        if last is None or i - last > gap + 1:
            found.append([i, i + 1])
        found[-1][1], last = i + 1, i
    assert spans(Normal(scores, 1.0), 1, gap).tolist() == found


def test_alarms_that_flicker_are_one_and_the_time_they_are_on_is_said():
    """Scores that go up and down round a threshold for ten minutes, once an hour."""
    rng, hour = np.random.default_rng(0), 3600
    videos = []
    for _ in range(16):
        scores = rng.uniform(0, 0.5, hour)
        scores[1000:1600:2] += rng.uniform(0, 2, 300)
        videos.append(Normal(scores, 1.0))
    flickering, joined = (crossed(videos, 2.0, gap) for gap in (1.0, 60.0))
    assert joined.alarms <= 32 and 0 < joined.share < 0.3
    assert for_rate(videos, 2.0, 60.0).threshold < for_rate(videos, 2.0, 1.0).threshold
    assert f"({joined.alarms} in 16 hours, on for" in str(joined) and flickering.hours == 16


@pytest.mark.parametrize("asked, most", [(1.0, 1 / 12), (4.0, 1 / 3), (60.0, 0.5)])
def test_alarms_that_never_end_are_not_taken_for_few(asked, most):
    """Restless scores, which are one alarm long before they are too many."""
    rng = np.random.default_rng(1)
    videos = [Normal(rng.uniform(0, 1, 3600) + (np.arange(3600) < 5), 1.0) for _ in range(8)]
    found = for_rate(videos, asked, 60.0)
    on = sum(int(np.diff(spans(v, found.threshold, 60.0)).sum()) for v in videos)
    assert 0 < on <= most * 8 * 3600
    # an hour that is on all the time does not set the threshold of the others
    odd = Normal(np.full(3600, 9.0) + 0.01 * rng.uniform(0, 1, 3600), 1.0)
    assert for_rate([*videos[:7], odd], asked, 60.0).threshold < 2


def test_a_tail_is_of_peaks_a_second_apart_whatever_the_gap():
    short = noise(3, videos=3, minutes=2)
    near, far = (for_rate(short, 1.0, gap) for gap in (1.0, 60.0))
    assert near == far and "generalised Pareto" in far.rule


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
