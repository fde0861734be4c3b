"""Features of snippets from frames, against plain loops in float64; their limits, and what makes
them fit to rank."""

import numpy as np
import pytest

from gfvad.data.frames import snippets
from gfvad.measure import flow_floors


def angles_by_hand(x, low, high):
    """[K] strengths -> [2 K], one at a time."""
    out = []
    for value in x:
        part = (np.log(max(value, low)) - np.log(low)) / (np.log(high) - np.log(low))
        out += [np.cos(np.pi / 4 * min(part, 1.0)), np.sin(np.pi / 4 * min(part, 1.0))]
    return np.array(out)


def means_by_hand(rows):
    return np.stack(
        [sum(rows[a : a + 16]) / len(rows[a : a + 16]) for a in range(0, len(rows), 16)]
    )


@pytest.mark.parametrize("frames", [1, 16, 17, 39])
def test_motion(frames):
    cells = np.abs(np.random.default_rng(frames).normal(1.5, 1.5, (frames, 5, 7, 3))).astype(
        np.float16
    )
    found = snippets.motion_features(cells)
    assert found.shape == (-(-frames // 16), snippets.MOTION) and found.dtype == np.float32
    speed = flow_floors.flow_floor(cells[..., 2], 5, 1).astype(np.float64)
    rows = []
    for frame in speed:
        ordered = sorted(frame.ravel(), reverse=True)
        rows.append(angles_by_hand([ordered[rank - 1] for rank in (1, 2, 4, 8)], 0.5, 4.0))
    np.testing.assert_allclose(found, means_by_hand(rows), atol=1e-6)


def picture_by_hand(figure, cell):
    """bool [H, W] -> [PICTURE], window by window, pixel by pixel."""
    x = figure.astype(np.float64)
    a, b = x.shape[0] // cell, x.shape[1] // cell

    def windows(pixels, side):
        h, w = min(side, a), min(side, b)
        return sorted(
            (
                pixels[i * cell : (i + h) * cell, j * cell : (j + w) * cell].mean()
                for i in range(a - h + 1)
                for j in range(b - w + 1)
            ),
            reverse=True,
        )

    sizes = []
    for side in (2, 4, 8):
        ordered = windows(x, side)
        sizes += [ordered[min(rank, len(ordered)) - 1] for rank in (1, 2, 4, 8)]
    padded = np.pad(x, 1, mode="reflect")
    strength = np.zeros((9, *x.shape))
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            around = padded[i : i + 3, j : j + 3]
            dx = ((around[:, 2] - around[:, 0]) * [1, 2, 1]).sum() / 8
            dy = ((around[2] - around[0]) * [1, 2, 1]).sum() / 8
            strength[int(np.mod(np.arctan2(dy, dx), np.pi) / np.pi * 9) % 9, i, j] = np.hypot(
                dx, dy
            )
    return np.array([*sizes, *(windows(part, 4)[0] for part in strength)])


@pytest.mark.parametrize("size", [(16, 24), (40, 48)])
def test_figure_statistics(size):
    figure = np.random.default_rng(size[0]).random(size) < 0.3
    found = snippets.figure_statistics(figure, 4)
    assert found.shape == (snippets.PICTURE,)
    np.testing.assert_allclose(found, picture_by_hand(figure, 4), atol=1e-6)


def test_pictures_are_held_against_the_background():
    rng = np.random.default_rng(0)
    still = rng.integers(60, 120, (32, 48)).astype(np.uint8)
    frames = np.repeat(still[None], 20, 0)
    for t in range(20):
        frames[t, 8:16, 2 * t : 2 * t + 8] = 200  # passes: in no pixel for half of the frames
    np.testing.assert_array_equal(snippets.background(frames), still)
    found = np.stack(list(snippets.picture_statistics(frames, 8)))
    assert found.shape == (20, snippets.PICTURE)
    figure = np.abs(frames[5].astype(float) - still) > 25.5
    np.testing.assert_allclose(found[5], picture_by_hand(figure, 8), atol=1e-6)
    empty = np.stack(list(snippets.picture_statistics(np.repeat(still[None], 3, 0), 8)))
    assert not empty.any() and np.isfinite(snippets.appearance_features(empty)).all()
    # contrast does not enter
    frames[frames == 200] = 255
    np.testing.assert_allclose(
        np.stack(list(snippets.picture_statistics(frames, 8)))[5], found[5], atol=0.1
    )


def test_appearance():
    pictures = np.random.default_rng(1).random((21, snippets.PICTURE)).astype(np.float32)
    found = snippets.appearance_features(pictures)
    assert found.shape == (2, snippets.APPEARANCE)
    rows = [
        np.concatenate([angles_by_hand(row[:12], 0.05, 1.0), angles_by_hand(row[12:], 0.005, 0.1)])
        for row in pictures
    ]
    np.testing.assert_allclose(found, means_by_hand(rows), atol=1e-6)


def test_angles_keep_order_length_and_ends():
    x = np.geomspace(0.01, 100, 200)[:, None]
    found = snippets.angles(x, (0.5, 4.0))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-12)
    inside = (x[:, 0] > 0.5) & (x[:, 0] < 4)
    assert (np.diff(found[inside, 1]) > 0).all()
    np.testing.assert_allclose(found[x[:, 0] < 0.5], [[1, 0]] * int((x < 0.5).sum()), atol=1e-12)
    np.testing.assert_allclose(
        found[x[:, 0] > 4], [[0.5**0.5] * 2] * int((x > 4).sum()), atol=1e-12
    )
    # the cosine of two is that of the difference of their logarithms
    a, b = snippets.angles(np.array([[1.0], [2.0]]), (0.5, 4.0))
    assert a @ b == pytest.approx(np.cos(np.pi / 4 / 3))
    assert np.isfinite(snippets.angles(np.zeros((1, 2)), (0.5, 4.0))).all()


def test_rank_beyond_the_windows_is_the_smallest():
    maps = np.arange(6.0).reshape(1, 2, 3)
    np.testing.assert_array_equal(snippets.ranked(maps, (1, 2, 6, 64)), [[5, 4, 0, 0]])


def test_floor_scores_are_means_over_the_frames_of_a_snippet():
    magnitude = np.random.default_rng(2).gamma(2.0, size=(20, 4, 6)).astype(np.float32)
    frames = flow_floors.flow_floor(magnitude, 5, 1).max((1, 2)).astype(np.float64)
    np.testing.assert_allclose(
        snippets.floor_scores(magnitude, 5, 1), [frames[:16].mean(), frames[16:].mean()], rtol=1e-6
    )
