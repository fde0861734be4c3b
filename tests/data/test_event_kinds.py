"""Kinds of synthetic events: what each changes, and what it leaves alone."""

import cv2
import numpy as np
import pytest

from gfvad.data.frames import event_kinds, perturb
from gfvad.settings import prediction

SIZE, FRAMES, START, LENGTH = (48, 72), 120, 20, 40


def lively(seed=0):
    """uint8 [T, H, W, 1]: a texture that drifts."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(30, 200, (SIZE[0], SIZE[1] + 2 * FRAMES), np.uint8)
    texture = cv2.GaussianBlur(rough, (3, 3), 0)
    return np.stack([texture[:, 2 * t : 2 * t + SIZE[1]] for t in range(FRAMES)])[..., None]


def changed(kind, seed=0):
    frames = lively()
    out = frames.copy()
    event_kinds.KINDS[kind](out, frames, START, LENGTH, np.random.default_rng(seed))
    return frames, out


@pytest.mark.parametrize("kind", list(event_kinds.KINDS))
def test_only_the_event_is_changed(kind):
    for seed in range(4):
        frames, out = changed(kind, seed)
        inside = slice(START, START + LENGTH)
        np.testing.assert_array_equal(frames, lively())
        assert out.shape == frames.shape and out.dtype == np.uint8
        np.testing.assert_array_equal(
            np.delete(out, np.r_[inside], 0), np.delete(frames, np.r_[inside], 0)
        )
        assert perturb.visible(out[inside], frames[inside])


def test_what_is_left_stands_still():
    frames, out = changed("left")
    apart = (out[START : START + LENGTH] != frames[START : START + LENGTH]).any((0, 3))
    rows, columns = np.flatnonzero(apart.any(1)), np.flatnonzero(apart.any(0))
    middle = out[START : START + LENGTH, rows.mean().astype(int), columns.mean().astype(int), 0]
    assert len(set(middle.tolist())) == 1
    assert apart.mean() < 0.15


def test_backwards_is_the_same_region_turned():
    frames, out = changed("reversed")
    part = slice(START, START + LENGTH)
    region = (out[part] != frames[part]).any((0, 3))
    np.testing.assert_array_equal(out[part][:, region], frames[part][::-1][:, region])


def test_slow_begins_where_the_video_is():
    frames, out = changed("slow")
    np.testing.assert_array_equal(out[START], frames[START])
    region = (out[START : START + LENGTH] != frames[START : START + LENGTH]).any((0, 3))
    step = lambda x: np.abs(np.diff(x[START : START + LENGTH, region].astype(int), axis=0)).mean()
    assert step(out) < 0.7 * step(frames)


def test_lights_change_the_whole_picture_by_one_factor():
    for seed in range(6):
        frames, out = changed("lights", seed)
        t = START + 20
        ratio = out[t].astype(float) / frames[t]
        whole = np.median(ratio)
        assert 0.35 < whole < 0.75 or 1.35 < whole < 2.6
        unclipped = out[t] < 255
        np.testing.assert_allclose(ratio[unclipped], whole, atol=0.03)


def test_place_shows_what_happens_elsewhere():
    frames, out = changed("place")
    t = START + 10
    region = (out[t] != frames[t]).any(-1)
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    assert len(rows) <= SIZE[0] // 3 and len(columns) <= SIZE[1] // 3
    y, x = rows.mean().astype(int) - 3, columns.mean().astype(int) - 3
    piece = out[t, y : y + 6, x : x + 6].astype(np.float32)
    found = cv2.matchTemplate(frames[t].astype(np.float32), piece, cv2.TM_SQDIFF)
    assert found.min() < 0.5  # the very pixels, but for rounding, somewhere else
    assert tuple(np.unravel_index(found.argmin(), found.shape)) != (y, x)


def test_an_event_that_nobody_sees_is_none():
    still = np.full((FRAMES, *SIZE, 1), 90, np.uint8)
    for kinds in (("pace", "slow", "reversed"), ("left",)):
        found = perturb.perturb(still, None, np.random.default_rng(0), kinds)
        assert not found.labels.any() and set(found.kinds) == {""}
    # another kind takes its place
    found = perturb.perturb(still, None, np.random.default_rng(0), ("pace", "lights"))
    assert found.labels.any() and set(found.kinds) == {"", "lights"}


def test_settings_name_the_kinds():
    assert set(prediction.EVENTS) == set(event_kinds.KINDS)
