"""The terms of the predictive score: windows, calibration and evidence against plain loops."""

from types import SimpleNamespace

import numpy as np
import pytest

from gfvad.tasks.prediction import score_terms
from gfvad.tasks.prediction.picture_bank import SIZE, PictureBank
from gfvad.tasks.prediction.score_terms import Calibration, Readings

GRID, TOKENS, WIDTH = (6, 8), (3, 4), 5
BANK = PictureBank(
    np.random.default_rng(9).integers(0, 256, (20, *SIZE), np.uint8), np.arange(20) % 3
)


def config(**changes):
    return SimpleNamespace(
        **{
            "terms": score_terms.TERMS,
            "spatial": 3,
            "temporal": 9,
            "text_frames": 5,
            "causal": False,
            "ridge": 1e-3,
        }
        | changes
    )


def readings(frames, seed=0, **changes):
    """Random readings of one video, all terms among them; `changes` scale a map."""
    rng = np.random.default_rng(seed)
    maps = {
        name: rng.gamma(2.0, size=(frames, *GRID)) * changes.get(name, 1.0)
        for name in ("appearance", "flow", "speed")
    }
    maps["pace"] = rng.standard_normal((frames, *GRID))
    maps["relation"] = rng.standard_normal((frames, *TOKENS, 4)) * changes.get("relation", 1.0)
    maps["pictures"] = BANK.pictures[rng.integers(0, 20, frames)] // changes.get("bank", 2)
    return Readings(
        maps,
        rng.standard_normal((frames, WIDTH)) * changes.get("semantic", 1.0),
        rng.random(frames),
    )


def mirrored(i, n):
    """Place i of a row of n that is mirrored at its ends: ... 1 0 0 1 ... n-1 n-1 ..."""
    i %= 2 * n
    return min(i, 2 * n - 1 - i)


def inside(i, n):
    return min(max(i, 0), n - 1)


def window(t, frames, causal):
    return (
        range(t - frames + 1, t + 1) if causal else range(t - frames // 2, t - frames // 2 + frames)
    )


def median_by_hand(x, frames, causal):
    """[T, ...]; of an even number the upper of the two in the middle."""
    place = inside if causal else mirrored
    return np.stack(
        [
            np.sort(x[[place(i, len(x)) for i in window(t, frames, causal)]], axis=0)[frames // 2]
            for t in range(len(x))
        ]
    )


def mean_by_hand(x, frames, causal):
    return np.stack(
        [
            np.mean(x[[inside(i, len(x)) for i in window(t, frames, causal)]], axis=0)
            for t in range(len(x))
        ]
    )


def cells_by_hand(x, side):
    out = np.zeros(x.shape)
    for y in range(x.shape[1]):
        for z in range(x.shape[2]):
            rows = [inside(i, x.shape[1]) for i in window(y, side, False)]
            columns = [inside(i, x.shape[2]) for i in window(z, side, False)]
            out[:, y, z] = np.mean([x[:, i, j] for i in rows for j in columns], axis=0)
    return out


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("length", [1, 6, 20])
def test_windows_in_time(length, frames, causal):
    x = np.random.default_rng(length + frames).standard_normal((length, 2, 3))
    np.testing.assert_array_equal(
        score_terms.time_median(x, frames, causal), median_by_hand(x, frames, causal)
    )
    np.testing.assert_allclose(
        score_terms.time_mean(x, frames, causal),
        mean_by_hand(x, frames, causal),
        rtol=0,
        atol=1e-12,
    )
    np.testing.assert_allclose(
        score_terms.time_mean(x[:, 0], frames, causal),
        mean_by_hand(x[:, 0], frames, causal),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize("frames", [2, 4, 9])
@pytest.mark.parametrize("now", [0, 7, 18])
def test_causal_windows_see_no_future(frames, now):
    x = np.random.default_rng(0).standard_normal((20, 2, 3))
    other = x.copy()
    other[now + 1 :] += 100.0
    for change in (score_terms.time_median, score_terms.time_mean):
        np.testing.assert_array_equal(
            change(x, frames, True)[: now + 1], change(other, frames, True)[: now + 1]
        )


def test_causal_scores_see_no_future():
    """The whole way to a score, with other readings after a frame."""
    cfg, now = config(causal=True), 15
    one, other = readings(30, 1), readings(30, 2)
    join = lambda a, b: np.concatenate([a[: now + 1], b[now + 1 :]])
    mixed = Readings(
        {n: join(x, other.maps[n]) for n, x in one.maps.items()},
        join(one.semantic, other.semantic),
        join(one.text, other.text),
    )
    calibration = score_terms.fit([readings(40, 3)], [readings(40, 4)], cfg, BANK)
    first, second = (score_terms.frame_values(r, calibration, cfg) for r in (one, mixed))
    for name in score_terms.TERMS:
        np.testing.assert_array_equal(first[name][: now + 1], second[name][: now + 1])
        assert (first[name][now + 1 :] != second[name][now + 1 :]).any()


@pytest.mark.parametrize("side", [1, 2, 3, 5])
def test_cell_mean(side):
    x = np.random.default_rng(side).standard_normal((3, 6, 4))
    np.testing.assert_allclose(
        score_terms.cell_mean(x, side), cells_by_hand(x, side), rtol=0, atol=1e-12
    )


def test_normal_speed():
    """A line through the medians of moving cells, weighted by the root of their number, from
    rows that have enough of them."""
    rng = np.random.default_rng(0)
    speed = rng.gamma(3.0, size=(100, 7, 9)) * (0.2 + 0.15 * np.arange(7))[:, None]
    speed[:, 0] *= 0.01  # too few cells move in the first row
    rows, medians, weights = [], [], []
    for i in range(7):
        moving = [v for frame in speed for v in frame[i] if v > score_terms.MOVING]
        if len(moving) >= score_terms.LEAST_CELLS:
            rows, medians, weights = (
                [*rows, i],
                [*medians, np.median(moving)],
                [*weights, len(moving) ** 0.5],
            )
    assert 0 not in rows and len(rows) >= 4
    # least squares of weighted residuals, by the normal equations
    design, w = np.stack([np.array(rows), np.ones(len(rows))], 1), np.diag(np.square(weights))
    slope, start = np.linalg.solve(design.T @ w @ design, design.T @ w @ np.array(medians))
    expected = [max(slope * i + start, 0.1) for i in range(7)]
    np.testing.assert_allclose(score_terms.normal_speed(speed), expected, rtol=1e-5)
    # nothing moves
    np.testing.assert_array_equal(score_terms.normal_speed(0.01 * speed), np.ones(7))


@pytest.mark.parametrize("causal", [False, True])
def test_frame_values(causal):
    cfg = config(causal=causal)
    training, video = [readings(25, 1), readings(30, 2)], readings(22, 5)
    calibration = score_terms.fit(training, [readings(26, 3)], cfg, BANK)
    found = score_terms.frame_values(video, calibration, cfg)
    assert list(found) == list(score_terms.TERMS)
    units = {
        "appearance": np.sqrt,
        "flow": np.sqrt,
        "pace": np.copy,
        "speed": lambda x: x / calibration.speed[None, :, None],
    }
    for name, unit in units.items():
        x = unit(video.maps[name])
        expected = cells_by_hand(median_by_hand(x, 9, causal), 3).reshape(22, -1).max(1)
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)
    rows = np.concatenate([r.maps["relation"] for r in training])
    relation = np.zeros((22, *TOKENS))
    for y in range(TOKENS[0]):
        for x in range(TOKENS[1]):
            for k in range(4):
                mean, std = rows[:, y, x, k].mean(), rows[:, y, x, k].std() + 1e-3
                relation[:, y, x] += np.abs(video.maps["relation"][:, y, x, k] - mean) / std / 4
    places = BANK.novelty(video.maps["pictures"]).astype(float)
    assert places.shape == (22, 4, 8)
    newest = np.sort(median_by_hand(places, 9, causal).reshape(22, -1), 1)[:, -16:].mean(1)
    np.testing.assert_allclose(found["bank"], newest, rtol=1e-5)
    np.testing.assert_allclose(
        found["relation"], median_by_hand(relation, 9, causal).reshape(22, -1).mean(1), rtol=1e-6
    )
    residuals = np.concatenate([r.semantic for r in training])
    mean = residuals.mean(0)
    covariance = sum(np.outer(r - mean, r - mean) for r in residuals) / (
        len(residuals) - 1
    ) + cfg.ridge * np.eye(WIDTH)
    shifted = mean_by_hand(video.semantic - mean, 5, causal)
    np.testing.assert_allclose(
        found["semantic"], [np.sqrt(r @ np.linalg.inv(covariance) @ r) for r in shifted], rtol=1e-6
    )


def test_instant_values_have_no_windows_in_time():
    cfg, video = config(), readings(12, 5)
    calibration = score_terms.fit([readings(25, 1)], [readings(26, 3)], cfg, BANK)
    whole = score_terms.frame_values(video, calibration, cfg, instant=True)
    for t in (0, 7):
        now = slice(t, t + 1)
        maps = {n: x[now] for n, x in video.maps.items()}
        frame = Readings(maps, video.semantic[now], video.text[now])
        alone = score_terms.frame_values(frame, calibration, cfg)
        for name in score_terms.TERMS:
            exact = 1e-6 if name == "bank" else 1e-9  # the bank compares in float32
            np.testing.assert_allclose(whole[name][t], alone[name][0], rtol=exact)


def test_only_terms_that_are_asked_for_and_there():
    video = readings(12)._replace(semantic=None)
    cfg = config(terms=("semantic", "speed", "appearance"))
    calibration = score_terms.fit([video], [video], cfg, BANK)
    values = score_terms.frame_values(video, calibration, cfg)
    assert calibration.semantic is None and list(values) == list(score_terms.MAP_TERMS)
    assert list(score_terms.calibrated(values, calibration, cfg.terms)) == ["speed", "appearance"]
    bare = Readings({"appearance": video.maps["appearance"]}, None, None)
    calibration = score_terms.fit([bare], [bare], config())
    assert calibration.relation is None and list(calibration.mean) == ["appearance", "frame"]


def test_fit_uses_only_what_it_says():
    """Places and spreads of a term's own unit from training videos alone, mean and std of frame
    values from held-out ones alone."""
    cfg, training, held = (
        config(),
        [readings(100, 1), readings(60, 2)],
        [readings(25, 3), readings(30, 4)],
    )
    found = score_terms.fit(training, held, cfg, BANK)
    other = score_terms.fit(
        training, [readings(40, 7, speed=9.0, relation=9.0, semantic=9.0)], cfg, BANK
    )
    np.testing.assert_array_equal(found.speed, other.speed)
    for one, two in ((found.relation, other.relation), (found.semantic, other.semantic)):
        assert all(np.array_equal(a, b) for a, b in zip(one, two))
    assert all(found.mean[n] != other.mean[n] for n in score_terms.TERMS)
    moved = score_terms.fit(
        [readings(100, 1, speed=2.0, relation=2.0, semantic=2.0), training[1]], held, cfg, BANK
    )
    assert not np.array_equal(moved.speed, found.speed) and all(
        found.mean[n] == moved.mean[n] for n in ("appearance", "pace", "flow")
    )
    joined = {
        # no training video has taught the bank: each is new to it
        n: np.concatenate(
            [
                score_terms.frame_values(r, found, cfg)[n]
                for r in (held + training if n == "bank" else held)
            ]
        )
        for n in score_terms.TERMS
    }
    for name, x in joined.items():
        mean = sum(x) / len(x)
        np.testing.assert_allclose(found.mean[name], mean, rtol=1e-9)
        np.testing.assert_allclose(
            found.std[name], (sum((x - mean) ** 2) / len(x)) ** 0.5 + 1e-6, rtol=1e-9
        )
    swapped = score_terms.fit(training, held[::-1], cfg, BANK)
    assert all(abs(found.mean[n] - swapped.mean[n]) < 1e-6 for n in score_terms.TERMS)


def test_evidence():
    """Strictly increasing, far below the normal and far above it; about log(1 + z) there."""
    x = np.concatenate([-np.geomspace(600, 1e-3, 2000), [0.0], np.geomspace(1e-3, 1e9, 4000)])
    found = score_terms.evidence(3.0 + 2.0 * x, 3.0, 2.0)
    assert (
        found.dtype == np.float64
        and (np.diff(found) > 0).all()
        and (found > 0).all()
        and np.isfinite(found).all()
    )
    np.testing.assert_allclose(score_terms.evidence([5.0], 3.0, 2.0), np.log(1 + np.log(1 + np.e)))
    np.testing.assert_allclose(found[x > 40], np.log1p(x[x > 40]))
    assert (
        np.diff(score_terms.evidence(np.linspace(0, 9, 50, dtype=np.float32), 3.0, 2.0)) > 0
    ).all()


def test_combine_and_calibrated():
    calibration = Calibration(
        np.ones(1), None, None, {"pace": 1.0, "flow": 2.0}, {"pace": 0.5, "flow": 4.0}
    )
    values = {"pace": np.array([0.0, 1.0, 9.0]), "flow": np.array([2.0, 0.0, 1.0])}
    found = score_terms.calibrated(values, calibration)
    np.testing.assert_array_equal(found["pace"], score_terms.evidence(values["pace"], 1.0, 0.5))
    np.testing.assert_allclose(
        score_terms.combine(found, {"pace": 0.5, "flow": 2.0}),
        0.5 * found["pace"] + 2.0 * found["flow"],
    )


@pytest.mark.parametrize("causal", [False, True])
def test_heat(causal):
    """Maps of evidence by cell, without relation, and their weighted sum; the largest cell is
    the frame's evidence."""
    cfg = config(causal=causal)
    weights = dict(zip(score_terms.TERMS, (1.0, 0.5, 0.0, 2.0, 0.25, 3.0, 1.5)))
    calibration, video = (
        score_terms.fit([readings(25, 1)], [readings(26, 3)], cfg, BANK),
        readings(15, 5),
    )
    found = score_terms.heat(video, calibration, weights, cfg)
    placed = ("appearance", "pace", "flow", "speed")
    assert set(found) == {*placed, "total"} and all(x.shape == (15, *GRID) for x in found.values())
    np.testing.assert_allclose(
        found["total"], sum(weights[n] * found[n] for n in placed), rtol=1e-12
    )
    without = score_terms.heat(
        video, calibration, {n: w for n, w in weights.items() if n != "flow"}, cfg
    )
    # beside speed it counts as much as speed
    np.testing.assert_array_equal(without["flow"], found["flow"])
    np.testing.assert_allclose(
        without["total"], found["total"] + weights["speed"] * found["flow"], rtol=1e-12
    )
    frames = score_terms.calibrated(score_terms.frame_values(video, calibration, cfg), calibration)
    for name in ("appearance", "pace", "flow", "speed"):
        np.testing.assert_allclose(found[name].max((1, 2)), frames[name], rtol=1e-9)
    # the middles of 6 rows of cells lie in the patches' rows 0 1 1 2 3 3
    patches = median_by_hand(BANK.novelty(video.maps["pictures"]), 9, causal)[:, [0, 1, 1, 2, 3, 3]]
    expected = score_terms.calibrated({"bank": patches}, calibration)["bank"]
    alone = score_terms.heat(video, calibration, {"pace": 0.0, "bank": 2.0}, cfg)
    np.testing.assert_allclose(alone["bank"], expected, rtol=1e-5)
    np.testing.assert_allclose(alone["total"], 2.0 * expected, rtol=1e-5)
