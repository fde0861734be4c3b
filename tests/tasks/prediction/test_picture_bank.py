"""Novelty of the places of pictures against a float64 oracle, its symmetries and its limits."""

import cv2
import numpy as np
import pytest

from gfvad.tasks.prediction import picture_bank
from gfvad.tasks.prediction.picture_bank import SIZE, PictureBank

ROWS, COLUMNS = picture_bank.GRID


def pictures(count, seed=0):
    """Smooth random pictures."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(0, 256, (count, *SIZE), np.uint8)
    return np.stack([cv2.GaussianBlur(x, (5, 5), 0) for x in rough])


def cells(x):
    """Means of 2 x 2 pixels."""
    return x.reshape(SIZE[0] // 2, 2, SIZE[1] // 2, 2).mean((1, 3))


def features(picture, row, column):
    """(16 grey cells, 32 of texture) of a patch, float64."""
    x = picture.astype(np.float64) / 255
    logs = np.log(x + 0.05)
    across, down = np.zeros(SIZE), np.zeros(SIZE)
    across[:, :-1] = np.abs(logs[:, 1:] - logs[:, :-1])
    down[:-1] = np.abs(logs[1:] - logs[:-1])
    part = lambda y: cells(y)[4 * row : 4 * row + 4, 4 * column : 4 * column + 4].ravel()
    return part(x), np.concatenate([np.sqrt(part(across)), np.sqrt(part(down))])


def oracle(picture, known, row, column):
    bank = [features(k, row, column) for k in known]
    found = features(picture, row, column)
    total = np.zeros(len(known))
    for m in (0, 1):
        rows = np.array([b[m] for b in bank])
        spread = np.sqrt(rows.var(0).mean()) + 1e-3
        total += ((rows - found[m]) ** 2).mean(1) / spread**2
    relation = np.sort(1 / (1 + total / 0.2**2))[::-1]
    return -np.log(relation[:4].mean())


def test_novelty_by_hand():
    known, seen = pictures(12), pictures(3, 1)
    found = PictureBank(known, np.zeros(12)).novelty(seen)
    assert found.shape == (3, ROWS, COLUMNS) and found.dtype == np.float32
    for t, row, column in ((0, 0, 0), (1, 3, 7), (2, 2, 4)):
        np.testing.assert_allclose(
            found[t, row, column], oracle(seen[t], known, row, column), rtol=1e-4
        )


def test_what_is_known_is_not_new():
    known = pictures(12)
    bank = PictureBank(np.repeat(known, 4, 0), np.zeros(48))
    assert np.abs(bank.novelty(known)).max() < 1e-3
    assert bank.novelty(pictures(12, 1)).min() > 0.1


def test_a_training_video_is_compared_with_the_others():
    known, videos = pictures(16), np.repeat([3, 5], 8)
    bank, rest = PictureBank(known, videos), known[videos == 5]
    # scaled as the whole bank is
    own = bank.novelty(known[:8], own=3)
    assert own.min() > 0.1 and (bank.novelty(known[:8]) <= own + 1e-6).all()
    np.testing.assert_allclose(bank.novelty(rest, own=3), bank.novelty(rest, own=3))
    # the only video has no others
    alone = PictureBank(known, np.zeros(16))
    np.testing.assert_array_equal(alone.novelty(known, own=0), alone.novelty(known))


def test_places_are_compared_with_their_own():
    """A change in one patch is new there, and in neighbours by their edges alone."""
    known = pictures(20)
    changed = known[:1].copy()
    changed[0, 8:16, 16:24] = 255 - changed[0, 8:16, 16:24]
    before, after = (PictureBank(known, np.zeros(20)).novelty(x)[0] for x in (known[:1], changed))
    apart = np.argwhere(np.abs(after - before) > 1e-5)
    assert [1, 2] in apart.tolist() and all(abs(r - 1) + abs(c - 2) <= 1 for r, c in apart)


def test_nearest_whole_picture():
    known, seen = pictures(12), pictures(5, 1)
    found = PictureBank(known, np.zeros(12)).nearest(seen)
    small = lambda x: np.stack([cells(y / 255.0).ravel() for y in x])
    expected = [np.sqrt(((small(known) - y) ** 2).mean(1).min()) for y in small(seen)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert PictureBank(known, np.zeros(12)).nearest(known).max() < 1e-6


@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures(channels):
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 128, channels), np.uint8)
    found = picture_bank.small_pictures(frames)
    assert found.shape == (2, *SIZE) and found.dtype == np.uint8
    if channels == 1:
        mean = frames[..., 0].reshape(2, 32, 2, 64, 2).mean((2, 4))
        assert np.abs(found - mean).max() <= 1


def test_newest_half_of_the_places():
    places = np.arange(64.0).reshape(2, 4, 8)
    np.testing.assert_array_equal(picture_bank.newest(places), [23.5, 55.5])
