"""Pixel, region and track metrics against definitions spelled out in loops at full resolution;
limits; real masks of Ped2."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from gfvad.base.types import DataError
from gfvad.measure import map_cells, pixel
from gfvad.measure.map_cells import MappedVideo
from gfvad.measure.metrics import equal_error_rate, roc_auc


def small(seed, n=3):
    """Random videos of uneven cells, ties in the maps, several regions a frame, frames without
    truth."""
    rng = np.random.default_rng(seed)
    videos = []
    for i in range(n):
        frames, h, w = int(rng.integers(3, 7)), int(rng.integers(2, 6)), int(rng.integers(3, 6))
        high, wide = h * 2 + int(rng.integers(0, 3)), w * 2 + int(rng.integers(0, 3))
        masks = gaussian_filter(rng.standard_normal((frames, high, wide)), (0.5, 1, 1)) > 0.25
        masks[rng.random(frames) < 0.4] = False
        maps = np.round(rng.random((frames, h, w)), 1)
        videos.append(MappedVideo(f"v{i}", maps, masks))
    return videos


def enlarge(video, resize):
    """[T, H, W] by the stated rule, one pixel at a time."""
    (frames, h, w), (high, wide) = video.maps.shape, video.masks.shape[1:]
    out = np.zeros((frames, high, wide))
    for y in range(high):
        for x in range(wide):
            if resize == "nearest":
                out[:, y, x] = video.maps[
                    :, math.floor((y + 0.5) * h / high), math.floor((x + 0.5) * w / wide)
                ]
                continue
            v, u = (
                min(max((y + 0.5) * h / high - 0.5, 0), h - 1),
                min(max((x + 0.5) * w / wide - 0.5, 0), w - 1),
            )
            a, b = min(int(v), h - 2), min(int(u), w - 2)
            left = video.maps[:, [a, a + 1], b] + (u - b) * (
                video.maps[:, [a, a + 1], b + 1] - video.maps[:, [a, a + 1], b]
            )
            out[:, y, x] = left[:, 0] + (v - a) * (left[:, 1] - left[:, 0])
    return out


def components(mask):
    """8-connected components of [H, W] as sets of pixels, by flood fill."""
    left, found = set(map(tuple, np.argwhere(mask).tolist())), []
    while left:
        todo, part = [left.pop()], set()
        while todo:
            y, x = todo.pop()
            part.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            todo += near
        found.append(part)
    return found


def truth_of(videos):
    """([(video, frame, pixels)] of all true regions, track of each) with tracks joined until
    nothing changes."""
    regions = [
        (i, t, r)
        for i, v in enumerate(videos)
        for t in range(len(v.masks))
        for r in components(v.masks[t])
    ]
    track = list(range(len(regions)))
    changed = True
    while changed:
        changed = False
        for a, (va, ta, ra) in enumerate(regions):
            for b, (vb, tb, rb) in enumerate(regions):
                if va == vb and abs(ta - tb) == 1 and ra & rb and track[a] != track[b]:
                    track[a] = track[b] = min(track[a], track[b])
                    changed = True
    return regions, track


def brute_criteria(videos, maps, cuts):
    """(RBDC, TBDC), then both interpolated, from sets of pixels."""
    regions, track = truth_of(videos)
    frames = sum(len(v.maps) for v in videos)
    points = []
    for cut in cuts:
        false, hit = 0, set()
        for i, m in enumerate(maps):
            for t in range(len(m)):
                own = [(k, r) for k, (v, f, r) in enumerate(regions) if (v, f) == (i, t)]
                for part in components(m[t] >= cut):
                    matches = {k for k, r in own if len(r & part) / len(r | part) >= 0.1}
                    hit |= matches
                    false += not matches
        shares = [
            np.mean([k in hit for k in range(len(regions)) if track[k] == j]) for j in set(track)
        ]
        points.append(
            (false / frames, len(hit) / len(regions), np.mean([s >= 0.1 for s in shares]))
        )
    return [
        area([(p[0], p[i]) for p in points]) for area in (brute_steps, brute_area) for i in (1, 2)
    ]


def brute_steps(points):
    """Area under the best rate with at most so many false regions, by a fine sum."""
    x, points = (np.arange(200_000) + 0.5) / 200_000, sorted(points)
    best = np.maximum.accumulate([0.0, *(rate for _, rate in points)])
    return best[np.searchsorted([p[0] for p in points], x, "right")].mean()


def brute_area(points):
    """Area under the lines that join unbeaten points, by a fine sum."""
    best = [(0.0, 0.0)] + sorted(
        {
            p
            for p in points
            if p[1] > 0 and not any((q[0] <= p[0] and q[1] >= p[1] and q != p) for q in points)
        }
    )
    x = (np.arange(200_000) + 0.5) / 200_000
    return np.interp(x, *zip(*best)).mean()


def brute_frames(videos, full):
    """(AUC, EER) of the pixel-level criterion, cut by cut from its words."""
    rates = []
    for cut in [np.inf, *np.unique(np.concatenate([m.ravel() for m in full]))[::-1]]:
        tp = [
            (m[t] >= cut)[v.masks[t]].mean() >= 0.4 - 1e-12
            for m, v in zip(full, videos)
            for t in range(len(m))
            if v.masks[t].any()
        ]
        fp = [
            (m[t] >= cut).any()
            for m, v in zip(full, videos)
            for t in range(len(m))
            if not v.masks[t].any()
        ]
        rates.append((np.mean(fp), np.mean(tp)))
    fp, tp = np.array(rates).T
    excess, first = np.unique(fp + tp - 1, return_index=True)  # rises; equal points are one
    return np.trapezoid(tp, fp), np.interp(0, excess, fp[first])


@pytest.mark.parametrize("resize", map_cells.RESIZES)
@pytest.mark.parametrize("seed", range(4))
def test_against_definitions(seed, resize):
    videos = small(seed)
    # bilinear values are the module's own here, so that thresholds meet them to the last bit;
    # test_cells_and_enlargement checks them
    full = [
        enlarge(v, "nearest")
        if resize == "nearest"
        else map_cells.bilinear(v.maps, *v.masks.shape[1:])
        for v in videos
    ]
    labels = np.concatenate([v.masks.ravel() for v in videos])
    assert pixel.pixel_auc(videos, resize) == pytest.approx(
        roc_auc_score(labels, np.concatenate([m.ravel() for m in full])), abs=1e-12
    )
    assert pixel.pixel_level_criterion(videos, resize) == pytest.approx(
        brute_frames(videos, full), abs=1e-12
    )
    cuts = pixel.thresholds([v.maps for v in videos], 12)
    found = {r["metric"]: r["value"] for r in pixel.records(videos, resize=resize, count=12)}
    expected = brute_criteria(videos, full, cuts)
    assert [
        found[m] for m in ("rbdc", "tbdc", "rbdc_interpolated", "tbdc_interpolated")
    ] == pytest.approx(expected, abs=2e-5)
    assert pixel.rbdc_tbdc(videos, resize, 12) == (found["rbdc"], found["tbdc"])
    assert (
        found["rbdc"] <= found["rbdc_interpolated"] and found["tbdc"] <= found["tbdc_interpolated"]
    )


@pytest.mark.parametrize("seed", range(3))
def test_cells_and_enlargement(seed):
    for v in small(seed, n=2):
        # the same map at full resolution
        same = map_cells.MappedVideo(v.name, enlarge(v, "nearest"), v.masks)
        coarse, fine = map_cells.cells(v), map_cells.cells(same)
        cuts = np.unique(v.maps)[::-1]
        np.testing.assert_array_equal(
            pixel.region_counts(coarse, cuts), pixel.region_counts(fine, cuts)
        )
        assert pixel.pixel_auc_of([coarse]) == pytest.approx(
            pixel.pixel_auc_of([fine]), nan_ok=True
        )
        np.testing.assert_allclose(
            map_cells.bilinear(v.maps, *v.masks.shape[1:]), enlarge(v, "bilinear"), atol=1e-12
        )
        assert coarse.pixels.sum() == v.masks[0].size
    flat = map_cells.bilinear(np.full((1, 3, 4), 0.1, np.float32), 7, 9)
    assert flat.dtype == np.float32 and (flat == np.float32(0.1)).all()


def blocks(frames=12, high=40, wide=60):
    """One moving square from frame 4 on."""
    masks = np.zeros((frames, high, wide), bool)
    for t in range(4, frames):
        masks[t, 8:20, 3 * t : 3 * t + 12] = True
    return masks


def test_limits():
    masks = blocks()
    perfect = MappedVideo("a", masks.astype(np.float32), masks)
    assert (
        pixel.pixel_auc([perfect]) == 1
        and pixel.pixel_level_criterion([perfect]) == (1, 0)
        and pixel.rbdc_tbdc([perfect]) == (1, 1)
    )
    coarse = masks.reshape(12, 10, 4, 15, 4).mean((2, 4))  # part of each cell that is abnormal
    assert pixel.rbdc_tbdc([MappedVideo("a", coarse, masks)]) == (1, 1)
    constant = MappedVideo("a", np.zeros((12, 10, 15)), masks)
    assert pixel.pixel_auc([constant]) == 0.5 and pixel.pixel_level_criterion([constant]) == (
        0.5,
        0.5,
    )
    assert pixel.rbdc_tbdc([constant]) == (0, 0)  # whole frames overlap the square by 0.06
    wrong = MappedVideo("a", 1 - coarse, masks)
    assert pixel.pixel_auc([wrong]) < 0.01 and pixel.rbdc_tbdc([wrong]) == (0, 0)
    rng = np.random.default_rng(0)
    noise = [MappedVideo(str(i), rng.random((12, 10, 15)), masks) for i in range(20)]
    assert pixel.pixel_auc(noise) == pytest.approx(0.5, abs=0.01)
    # a normal frame's maximum is high
    assert pixel.pixel_level_criterion(noise)[0] < 0.05 and pixel.rbdc_tbdc(noise)[0] < 0.1
    normal = MappedVideo("b", np.zeros((3, 4, 5)), np.zeros((3, 8, 10), bool))
    assert all(
        math.isnan(v)
        for v in (
            pixel.pixel_auc([normal]),
            *pixel.pixel_level_criterion([normal]),
            *pixel.rbdc_tbdc([normal]),
        )
    )
    rows = pixel.records([normal], resamples=5)
    assert [r["value"] for r in rows] == [None] * 7 and [r["ci95"] for r in rows] == [None] * 7
    # no normal frame, no normal pixel
    full = MappedVideo("c", rng.random((3, 4, 5)), np.ones((3, 8, 10), bool))
    assert math.isnan(pixel.pixel_auc([full])) and math.isnan(
        pixel.pixel_level_criterion([full])[0]
    )


@pytest.mark.parametrize(
    "pixels, found, detected",
    [
        (5, 2, True),
        (10, 4, True),
        (35, 14, True),
        (5, 1, False),
        (10, 3, False),
        (7, 2, False),
        (7, 3, True),
    ],
)
def test_forty_per_cent_of_the_pixels_is_enough(pixels, found, detected):
    """Exactly 40 % counts (Mahadevan et al. 2010: at least); one pixel fewer does not."""
    masks = np.zeros((2, 1, pixels), bool)
    masks[0] = True  # an abnormal and a normal frame
    maps = np.zeros((2, 1, pixels))
    maps[0, 0, :found], maps[1] = 1.0, 0.5
    runs = pixel.criterion_scores(map_cells.cells(MappedVideo("a", maps, masks)))
    assert runs.scores.tolist() == [1.0 if detected else 0.0, 0.5] and runs.labels.tolist() == [
        1,
        0,
    ]
    assert pixel.pixel_level_criterion([MappedVideo("a", maps, masks)])[0] == float(detected)


def test_order_scale_and_parts_change_nothing():
    videos = small(7, n=4)
    values = [r["value"] for r in pixel.records(videos)]
    assert [r["value"] for r in pixel.records(videos[::-1])] == pytest.approx(values)
    stretched = [v._replace(maps=np.exp(3 * v.maps)) for v in videos]
    assert [r["value"] for r in pixel.records(stretched)] == pytest.approx(values)
    mirrored = [
        v._replace(maps=v.maps[:, ::-1, ::-1], masks=v.masks[:, ::-1, ::-1]) for v in blocks_pair()
    ]
    assert [r["value"] for r in pixel.records(mirrored)] == pytest.approx(
        [r["value"] for r in pixel.records(blocks_pair())]
    )


def blocks_pair(count=2, seed=0):
    """Realistic maps: blurred truth of weak strength in smooth noise, on 8-pixel cells."""
    rng = np.random.default_rng(seed)
    videos = []
    for i in range(count):
        masks = blocks(40, 80, 160)
        maps = gaussian_filter(rng.standard_normal((40, 10, 20)), (2, 1, 1)) * 3
        maps += gaussian_filter(
            masks.reshape(40, 10, 8, 20, 8).mean((2, 4)), (1, 1, 1)
        ) * rng.uniform(1, 5)
        videos.append(MappedVideo(str(i), maps.astype(np.float32), masks))
    return videos


def test_twice_the_thresholds_change_little():
    videos = blocks_pair(8)
    cuts = pixel.thresholds([v.maps for v in videos])
    assert len(cuts) >= 200 and (np.diff(cuts) < 0).all()
    assert cuts[0] == max(v.maps.max() for v in videos) and cuts[-1] == min(
        v.maps.min() for v in videos
    )
    once, twice = pixel.rbdc_tbdc(videos), pixel.rbdc_tbdc(videos, count=2 * pixel.THRESHOLDS)
    assert 0.2 < once[0] < 0.95  # neither limit
    np.testing.assert_allclose(once, twice, atol=0.002)


def test_regions_and_tracks():
    masks = np.zeros((4, 10, 20), bool)
    # two objects; the first comes back after a pause
    masks[0:2, 1:4, 1:4] = masks[0:2, 5:8, 10:14] = masks[3, 1:4, 1:4] = True
    masks[0, 4, 4] = True  # touches the first by a corner
    c = map_cells.cells(MappedVideo("a", np.zeros((4, 5, 10)), masks))
    assert sorted(c.area.tolist()) == [9, 9, 10, 12, 12] and len(set(c.track)) == 3
    # a bridge between both
    masks[1] = masks[0] | (np.arange(20) < 14) & (np.arange(10) == 6)[:, None]
    masks[1, 3:6, 3] = True
    c = map_cells.cells(MappedVideo("a", np.zeros((4, 5, 10)), masks))
    assert len(set(c.track[c.area < 30])) == 2  # joined, and the one after the pause
    # one detection may find two regions, and is then not false; IoU of exactly beta counts
    masks = np.zeros((1, 10, 10), bool)
    masks[0, 0, :] = masks[0, 9, :] = True
    assert pixel.region_counts(
        map_cells.cells(MappedVideo("a", np.ones((1, 5, 5)), masks)), np.array([1.0])
    ).tolist() == [[0, 2, 2]]


def published(detections, frames, regions):
    """Area as the field's published programs take it: detections from the highest score down,
    each a hit or a false region."""
    false = np.r_[0, np.cumsum([not hit for hit in detections])] / frames
    rate = np.r_[0, np.cumsum(detections)] / regions
    end = np.flatnonzero(false <= 1)[-1] + 1
    return np.trapezoid(np.r_[rate[:end], rate[end - 1]], np.r_[false[:end], 1.0])


@pytest.mark.parametrize("seed", range(4))
def test_area_is_that_of_published_programs(seed):
    """Walked detection by detection, the curve only goes right or up, so that their trapezoids
    are steps."""
    rng = np.random.default_rng(seed)
    hits = rng.random(60) < 0.5
    x, y = np.cumsum(~hits) / 20, np.cumsum(hits) / 40
    assert pixel.area_to_one(x, y) == pytest.approx(published(hits, 20, 40), abs=1e-12)


def test_area_to_one():
    assert pixel.area_to_one(np.array([0.0]), np.array([1.0])) == 1
    assert pixel.area_to_one(np.array([0.5, 3.0]), np.array([0.5, 1.0])) == pytest.approx(0.25)
    # beaten points, as merged regions of low thresholds give them, change nothing
    assert pixel.area_to_one(
        np.array([0.5, 0.7, 3.0, 0.9]), np.array([0.5, 0.1, 1.0, 0.0])
    ) == pytest.approx(0.25)
    assert pixel.area_to_one(np.array([0.25, 0.25]), np.array([0.5, 0.8])) == pytest.approx(0.6)
    assert (
        pixel.area_to_one(np.array([2.0]), np.array([1.0]))
        == 0
        == pixel.area_to_one(np.array([1.0]), np.array([1.0]))
    )


@pytest.mark.parametrize("frames, tracks", [(10, 1), (11, 0)])
def test_a_tenth_of_a_track_is_enough(frames, tracks):
    """Exactly alpha of a track's regions detects it."""
    masks = np.ones((frames, 4, 4), bool)
    maps = np.zeros((frames, 4, 4))
    maps[3] = 1.0
    found = pixel.region_counts(map_cells.cells(MappedVideo("a", maps, masks)), np.array([1.0]))
    assert found.tolist() == [[0, 1, tracks]]


def test_area_interpolated():
    assert pixel.area_interpolated(np.array([0.0]), np.array([1.0])) == 1
    assert pixel.area_interpolated(np.array([0.5, 3.0]), np.array([0.5, 1.0])) == pytest.approx(
        0.125 + 0.25 + 0.5 * 0.1 / 2
    )
    assert pixel.area_interpolated(
        np.array([0.5, 0.7, 3.0, 0.9]), np.array([0.5, 0.1, 1.0, 0.0])
    ) == pytest.approx(0.4)
    assert pixel.area_interpolated(np.array([0.25, 0.25]), np.array([0.5, 0.8])) == pytest.approx(
        0.1 + 0.6
    )
    assert pixel.area_interpolated(np.array([2.0]), np.array([1.0])) == pytest.approx(0.25)


def test_records_and_errors():
    videos = blocks_pair(4)
    rows = pixel.records(videos, "best", resamples=50)
    assert [r["metric"] for r in rows] == [
        "pixel_auc",
        "pixel_criterion_auc",
        "pixel_criterion_eer",
        *pixel.CRITERIA,
    ]
    for r in rows:
        assert (
            r["checkpoint"] == "best"
            and r["aggregation"] == "micro"
            and r["n_videos"] == 4
            and r["n_frames"] == 160
        )
        assert r["ci95"] is None or r["ci95"][0] <= r["value"] <= r["ci95"][1]
    assert [r["ci95"] is None for r in rows] == [True] + [False] * 6
    frames = [pixel.criterion_scores(map_cells.cells(v)) for v in videos]
    pooled = [np.concatenate(f) for f in zip(*frames)]
    assert rows[1]["value"] == roc_auc(*pooled) and rows[2]["value"] == equal_error_rate(*pooled)
    good = videos[0]
    for bad, text in [
        ([], "at least one"),
        ([good, good], "twice"),
        ([good._replace(maps=good.maps[:3])], r"maps \(3, 10, 20\) and masks \(40, 80, 160\)"),
        ([good._replace(maps=np.zeros((40, 81, 20)))], "h <= H"),
        ([good._replace(maps=np.where(good.maps > 1, np.nan, good.maps))], "not finite"),
    ]:
        with pytest.raises(DataError, match=text):
            pixel.records(bad)
    with pytest.raises(DataError, match="nearest, bilinear"):
        pixel.pixel_auc(videos, "cubic")


def test_real_masks(shared_data):
    """Ped2: every abnormal frame has a region, a map made from the masks is perfect, and a
    smoothed noise is not."""
    packed = np.load(shared_data / "ped2" / "test_masks_packed.npz")
    videos, rng = [], np.random.default_rng(0)
    for name in packed.files:
        masks = np.unpackbits(packed[name], axis=-1).astype(bool)
        videos.append(
            MappedVideo(
                name, masks.reshape(len(masks), 30, 8, 45, 8).mean((2, 4), dtype=np.float32), masks
            )
        )
    parts = [map_cells.cells(v) for v in videos]
    assert (
        sum(len(np.unique(c.cell // c.pixels.size)) for c in parts)
        == sum(v.masks.any((1, 2)).sum() for v in videos)
        == 1648
    )
    assert sum(len(v.maps) for v in videos) == 2010 and sum(len(c.area) for c in parts) == 2411
    values = {r["metric"]: r["value"] for r in pixel.records(videos, count=200)}
    assert (
        values["pixel_auc"] > 0.999
        and values["pixel_criterion_auc"] == 1
        and values["rbdc"] > 0.99
        and values["tbdc"] == 1
    )
    noise = [
        v._replace(maps=gaussian_filter(rng.random(v.maps.shape, np.float32), (0, 1, 1)))
        for v in videos[:4]
    ]
    assert pixel.rbdc_tbdc(noise, count=200)[0] < 0.05
