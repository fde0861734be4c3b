"""Latency-aware AP against its definition, event by event."""

import numpy as np
import pytest
from scored import random_videos, scored

from gfvad.measure import latency
from gfvad.measure.frames import spans_of
from gfvad.measure.metrics import average_precision


def by_hand(videos):
    """Threshold by threshold, event by event."""
    events = [v.scores[a:b] for v in videos for a, b in spans_of(v.labels)]
    scores = np.concatenate([v.scores for v in videos])
    labels = np.concatenate([v.labels for v in videos])
    area = before = 0.0
    for threshold in sorted(set(scores), reverse=True):
        shares = []
        for event in events:
            raised = np.flatnonzero(event >= threshold)
            shares.append(1 - raised[0] / len(event) if len(raised) else 0.0)
        recall, precision = np.mean(shares), labels[scores >= threshold].mean()
        area, before = area + (recall - before) * precision, recall
    return area


@pytest.mark.parametrize("seed", range(4))
def test_definition(seed):
    videos = random_videos(seed=seed)
    value, interval = latency.latency_ap(videos)
    assert value == pytest.approx(by_hand(videos), abs=1e-12) and interval is None


def test_limits():
    labels = np.repeat([0, 1, 0], [10, 10, 10])
    of = lambda scores, y=labels: latency.latency_ap([scored("a", scores, y)])[0]
    assert of(labels) == 1.0  # found at once, nothing else raised
    assert of(np.ones(30)) == pytest.approx(1 / 3)  # found at once, by raising everything
    late = np.zeros(30)
    late[15:20] = 1  # half of the event is over: the other half counts with precision 1
    assert of(late) == pytest.approx(0.5 + 0.5 / 3)
    assert np.isnan(of(labels, np.ones(30))) and np.isnan(of(labels, np.zeros(30)))


def test_early_is_better_and_frames_do_not_say_so():
    """Two scores of the same frame AP; the one that finds the first half is worth more."""
    labels = np.repeat([0, 1, 0], [10, 10, 10])
    early, late = np.zeros(30), np.zeros(30)
    early[10:15], late[15:20] = 1, 1
    assert average_precision(early, labels) == average_precision(late, labels)
    both = [latency.latency_ap([scored("a", x, labels)])[0] for x in (early, late)]
    assert both[0] == 1.0 and both[0] > both[1]


def test_properties():
    videos = random_videos(8, seed=5)
    value = latency.latency_ap(videos)[0]
    stretched = [v._replace(scores=np.exp(3 * v.scores) - 7) for v in videos]
    assert latency.latency_ap(stretched)[0] == pytest.approx(value, abs=1e-12)
    assert latency.latency_ap(videos[::-1])[0] == pytest.approx(value, abs=1e-12)
    # every event weighs alike: a longer one, stretched with its scores, changes precision alone
    assert 0 < value < 1


def test_interval_holds_the_value_and_bins_do_not_move_it(monkeypatch):
    videos = random_videos(12, seed=2, decimals=6)
    value, exact = latency.latency_ap(videos, 200)
    assert exact[0] <= value <= exact[1]
    monkeypatch.setattr(latency, "BINS", 64)
    again, coarse = latency.latency_ap(videos, 200)
    assert again == value and np.allclose(exact, coarse, atol=0.01)
    # one resample by hand: the videos that are drawn, as often as they are drawn
    drawn = latency.bootstrap.draw(latency._kinds(videos), 1, 0)[0].astype(int)
    monkeypatch.setattr(latency, "BINS", 10**6)
    monkeypatch.setattr(latency.bootstrap, "interval", lambda value, values, drawn: values)
    _, (resampled,) = latency.latency_ap(videos, 1)
    repeated = [v for v, times in zip(videos, drawn) for _ in range(times)]
    assert resampled == pytest.approx(by_hand(repeated), abs=1e-12)
