"""Features of patches against plain loops in float64, and what they must not depend on."""

import cv2
import numpy as np
import pytest

from gfvad.base.types import ConfigError
from gfvad.data.pictures.features import DARK, FAINT, SETS, SIDE, STILL, Grid, cells_of_grid, speed
from gfvad.data.pictures.videos import Flow
from gfvad.encoders import efficientnet

GRID = Grid(2, 3)
PLAIN = [name for name in SETS if name != "tokens"]  # needs no network
HEIGHT, WIDTH = 2 * SIDE * 2, 3 * SIDE * 3


def pictures(seed=0, count=4):
    return np.random.default_rng(seed).uniform(0.1, 0.9, (count, HEIGHT, WIDTH))


def by_hand(name, picture):
    """[patches][cells], cell by cell."""
    logs = np.log(picture + DARK)
    across, down = np.zeros_like(logs), np.zeros_like(logs)
    across[:, :-1] = abs(logs[:, 1:] - logs[:, :-1])
    down[:-1] = abs(logs[1:] - logs[:-1])
    h, w = HEIGHT // (GRID.rows * SIDE), WIDTH // (GRID.columns * SIDE)
    cell = lambda x, i, j: x[i * h : (i + 1) * h, j * w : (j + 1) * w].mean()
    every = [
        cell(picture, i, j) for i in range(GRID.rows * SIDE) for j in range(GRID.columns * SIDE)
    ]
    found = []
    for row in range(GRID.rows):
        for column in range(GRID.columns):
            inside = [(row * SIDE + i, column * SIDE + j) for i in range(SIDE) for j in range(SIDE)]
            grey = [cell(picture, i, j) for i, j in inside]
            if name == "grey":
                found.append(grey)
            elif name == "contrast":
                usual = np.median(every) + FAINT
                found.append([np.log((g + FAINT) / usual) for g in grey])
            else:
                found.append([np.sqrt(cell(x, i, j)) for x in (across, down) for i, j in inside])
    return np.array(found)


@pytest.mark.parametrize("name", PLAIN)
def test_features_are_those_of_plain_loops(name):
    found = SETS[name](pictures(), GRID)
    expected = np.stack([by_hand(name, p) for p in pictures()])
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("name", PLAIN)
def test_each_picture_is_described_by_itself_and_each_patch_in_its_place(name):
    one, other = pictures(0), pictures(1)
    both = SETS[name](np.concatenate([one, other]), GRID)
    np.testing.assert_array_equal(both[: len(one)], SETS[name](one, GRID))
    changed = one.copy()
    changed[:, : HEIGHT // 2, : WIDTH // 3] += 0.05  # the first patch
    differs = abs(SETS[name](changed, GRID) - SETS[name](one, GRID)).max((0, 2)) > 1e-9
    assert differs[0] and (name == "contrast" or not differs[-1])


def test_a_brighter_lamp_moves_grey_and_hardly_contrast_and_texture():
    dim = pictures() * 0.4 + 0.4
    bright = dim * 1.2
    moved = {n: abs(SETS[n](bright, GRID) - SETS[n](dim, GRID)).mean() for n in PLAIN}
    assert moved["grey"] > 0.1
    assert moved["contrast"] < 0.01 and moved["texture"] < 0.01


def test_patches_tile_the_picture():
    boxes = cells_of_grid(GRID, 240, 360)
    assert boxes.shape == (6, 4)
    assert boxes[0].tolist() == [0, 0, 120, 120] and boxes[-1].tolist() == [240, 120, 360, 240]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert area.sum() == 240 * 360


def test_speed_is_the_log_of_the_median_flow_over_about_a_second():
    shares = np.random.default_rng(0).uniform(0, 20, (40, 3))
    found = speed(shares, 10.0)
    assert found.shape == (40, 3, 1)
    for t in (6, 20, 33):  # 13 frames at ten a second
        expected = np.log(np.median(shares[t - 6 : t + 7], 0) + STILL)
        np.testing.assert_allclose(found[t, :, 0], expected)
    # a frame that lasts longer than that stands for itself
    np.testing.assert_allclose(speed(shares, 0.5)[..., 0], np.log(shares + STILL))


def test_flow_of_a_patch_is_in_percent_of_the_width_a_second():
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.uniform(0, 255, (64, 160)), (0, 0), 2)
    flow = Flow([Grid(1, 2)], 10.0)
    for t in range(4):
        still, moving = wide[:, :64], wide[:, 80 + 2 * t : 144 + 2 * t]
        flow.add(np.concatenate([still, moving], 1).astype(np.uint8))
    shares = flow.shares()
    assert shares.shape == (4, 2) and np.array_equal(shares[0], shares[1])
    # two pixels a frame of 128 are 15.6 % a second
    assert abs(shares[2, 1] - 15.6) < 3 and shares[2, 0] < 2
    assert Flow([Grid(1, 2)], 10.0).shares().shape == (1, 2)


def test_tokens_are_directions_of_the_means_of_a_networks_map(monkeypatch):
    found = np.random.default_rng(1).normal(size=(4, 14, 14, 6))
    seen = []
    monkeypatch.setattr(efficientnet, "network_map", lambda x: (seen.append(x), found)[1])
    made = SETS["tokens"](pictures(), Grid(2, 7))
    (shown,) = seen
    assert shown.shape == (4, 224, 224, 3) and shown.dtype == np.uint8
    assert (shown[..., 0] == shown[..., 2]).all()
    for i in range(14):
        row, column = divmod(i, 7)
        mean = found[:, row * 7 : row * 7 + 7, column * 2 : column * 2 + 2].mean((1, 2))
        expected = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
        np.testing.assert_allclose(made[:, i], expected, rtol=1e-12)
    with pytest.raises(ConfigError, match="tokens lie on 14 x 14"):
        SETS["tokens"](pictures(), Grid(3, 7))
