"""Features of boxes against a loop in numpy, and what they must not depend on."""

import numpy as np
import pytest

from gfvad.data.objects.features import SETS, track_sums, window_bounds
from gfvad.data.objects.tracks import Tracks, checked


def some_tracks(seed=0, people=3, frames=30):
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(people):
        x, y, h = rng.uniform(50, 400), rng.uniform(50, 300), rng.uniform(40, 90)
        for frame in range(frames):
            if rng.random() < 0.8:
                x, y = x + rng.normal(2, 1), y + rng.normal(0, 1)
                rows.append([frame, person, x, y, x + h * rng.uniform(0.3, 0.5), y + h])
    return checked("here", np.array(rows))


def velocity(tracks: Tracks, span: int, reach: int) -> np.ndarray:
    """Box by box."""
    middle, height = (tracks.box[:, :2] + tracks.box[:, 2:]) / 2, np.diff(tracks.box[:, 1::2])[:, 0]
    near = lambda i, r: np.flatnonzero(
        (tracks.person == tracks.person[i]) & (abs(tracks.frame - tracks.frame[i]) <= r)
    )
    steps = []
    for i in range(len(tracks.frame)):
        a, b = near(i, span)[[0, -1]]
        time = max(tracks.frame[b] - tracks.frame[a], 1)
        steps.append(
            (middle[b] - middle[a]) / time / np.mean([height[a], height[b], height[i]]) * 24
        )
    return np.array([np.mean([steps[j] for j in near(i, reach)], 0) for i in range(len(steps))])


@pytest.mark.parametrize("span, reach", [(1, 0), (4, 2), (16, 8)])
def test_velocity_is_that_of_the_loop(span, reach):
    tracks = some_tracks()
    expected = velocity(tracks, span, reach)
    np.testing.assert_allclose(SETS["velocity"](tracks, span, reach), expected, atol=1e-9)


def test_sums_over_windows_are_those_of_loops_and_look_back_alone_where_asked():
    tracks = some_tracks()
    values = np.random.default_rng(1).standard_normal((len(tracks.frame), 2))
    for past in (False, True):
        found = track_sums(values, window_bounds(tracks, 5, past))
        for i in range(len(values)):
            gap = tracks.frame - tracks.frame[i]
            near = (tracks.person == tracks.person[i]) & (abs(gap) <= 5) & ((gap <= 0) | (not past))
            np.testing.assert_allclose(found[i], values[near].sum(0), atol=1e-9)


@pytest.mark.parametrize("name", sorted(SETS))
def test_people_do_not_change_each_other(name):
    tracks = some_tracks()
    mine = tracks.person == 1
    alone = Tracks(tracks.frame[mine], tracks.person[mine], tracks.box[mine])
    found = SETS[name](tracks, 4, 2)[mine]
    np.testing.assert_allclose(SETS[name](alone, 4, 2), found, rtol=1e-9, atol=1e-9)


def test_velocity_and_aspect_do_not_depend_on_the_distance_of_the_camera():
    tracks = some_tracks()
    near = tracks._replace(box=tracks.box * 3)
    for name in ("velocity", "aspect"):
        np.testing.assert_allclose(SETS[name](near, 4, 2), SETS[name](tracks, 4, 2), atol=1e-9)
    assert np.allclose(SETS["size"](near, 4, 2) - SETS["size"](tracks, 4, 2), np.log(3))
