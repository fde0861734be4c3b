"""Pixel, region and track metrics of score maps [T, h, w] against masks [T, H, W]: where in the
frame was the anomaly found?

Resolution. Everything is measured in pixels of the mask. A map is brought there by one of two
rules, both with half-pixel centres:
  nearest    mask pixel (y, x) takes cell (floor((y + 0.5) h / H), floor((x + 0.5) w / W)). Nothing
             is enlarged: a cell counts for the pixels it covers, and as every cell covers some,
             8-connected cells are 8-connected pixels. Exact, and the default.
  bilinear   linear between the centres of cells, constant beyond the outermost. Costs H W / (h w)
             times as much.
Truth. A region is an 8-connected component of a frame's mask, specks of an annotation included.
Masks name no tracks, so a track is a
set of regions linked over consecutive frames of one video by at least one shared pixel, directly or
through others: objects whose masks touch or cross share a track, an object whose mask pauses for a
frame gets two.
Criteria. RBDC and TBDC are those of Ramachandra & Jones (WACV 2020, Street Scene) with thresholded
maps as the detector. Their areas are step-wise, as the field's published programs take them: a rate
is held until the next operating point. `rbdc_interpolated` and `tbdc_interpolated` join the same
points by straight lines (ours; a little higher, since thresholds leave gaps between points).
Regions are compared as sets of pixels. Published detectors of objects compare boxes, whose IoU
differs: name the rule beside a number. Undefined values (no region, no abnormal or no normal frame
or pixel) are NaN, and null in records.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gfvad.measure import bootstrap
from gfvad.measure.frames import Runs, compress
from gfvad.measure.map_cells import (
    Cells,
    MappedVideo,
    cells,
    check_maps,
    components,
    true_pixels,
    values,
)
from gfvad.measure.protocols import HEADLINE, Record, micro, record

PIXEL_SHARE = 0.4  # of a frame's abnormal pixels that have to be detected (Mahadevan et al. 2010)
ALPHA = 0.1  # share of a track's regions that have to be detected (Ramachandra & Jones 2020)
BETA = 0.1  # IoU from which a region is detected (the same)
THRESHOLDS = 400


def pixel_auc_of(parts: Sequence[Cells]) -> float:
    """Area under the ROC curve of all pixels of all frames pooled; exact, ties count half; NaN with
    one class.

    The pixel-level AUROC of anomaly segmentation (Bergmann et al. 2021, MVTec AD), all frames as
    one image; large objects and the mass of normal pixels dominate it. As P(abnormal pixel above
    normal one): the abnormal pixels of all videos are looked up among the sorted normal ones of one
    video after the other, so that bilinear maps of a whole set need not fit memory.
    """
    truth = [true_pixels(c) for c in parts]
    scores = np.concatenate([values(c).ravel()[where] for c, (where, _) in zip(parts, truth)])
    # [A] pixels; their products leave int64
    weights = np.concatenate([true for _, true in truth]).astype(np.float64)
    order = np.argsort(scores)
    scores, weights = scores[order], weights[order]
    below, normal = 0.0, 0
    for c, (where, true) in zip(parts, truth, strict=True):
        flat, other = values(c).ravel(), np.tile(c.pixels.ravel(), len(c.maps))
        other[where] -= true
        order = np.argsort(flat)
        flat, sums = flat[order], np.r_[0, np.cumsum(other[order])]
        # each abnormal pixel: normal pixels below it and half of those level with it
        both = sums[np.searchsorted(flat, scores)] + sums[np.searchsorted(flat, scores, "right")]
        below += float(weights @ both) / 2
        normal += int(sums[-1])
    return below / (float(weights.sum()) * normal) if normal and len(weights) else float("nan")


def criterion_scores(c: Cells, share: float = PIXEL_SHARE) -> Runs:
    """Frames as scores and labels whose ROC is that of the pixel-level criterion.

    An abnormal frame is a true positive at every threshold up to the score that `share` of its
    abnormal pixels reach, a normal one a false
    positive up to its maximum: these are the frames' scores, and no threshold has to be chosen.
    """
    frames, per_frame = len(c.maps), c.pixels.size
    flat = values(c).reshape(frames, -1)
    scores = flat.max(axis=1).astype(np.float64)
    where, true = true_pixels(c)
    edges = np.searchsorted(where, np.arange(frames + 1) * per_frame)
    labels = np.diff(edges) > 0
    for t in np.flatnonzero(labels):
        part = slice(edges[t], edges[t + 1])
        own, count = flat[t][where[part] - t * per_frame], true[part]
        order = np.argsort(-own)
        reached = np.cumsum(count[order])
        scores[t] = own[order][np.argmax(reached >= share * reached[-1] - 1e-9)]
    return compress(scores, labels)


def thresholds(maps: Sequence[np.ndarray], count: int = THRESHOLDS) -> np.ndarray:
    """[K] descending values of the maps to cut at, K <= count.

    Half are quantiles of each frame's maximum (they part the first alarms of frames, the range FPR
    <= 1 is about), half quantiles of all values pooled at shares above that rise geometrically from
    one value to all; the lowest and the highest value are among them.
    """
    tops = np.sort(np.concatenate([m.max(axis=(1, 2)) for m in maps]))[::-1]
    pooled = np.sort(np.concatenate([m.ravel() for m in maps]))[::-1]
    half = max(count // 2, 2)
    by_frame = tops[np.round(np.linspace(0, len(tops) - 1, half)).astype(np.int64)]
    by_value = pooled[np.round(np.geomspace(1, len(pooled), half)).astype(np.int64) - 1]
    return np.unique(np.r_[by_frame, by_value])[::-1]


def region_counts(
    c: Cells, cuts: np.ndarray, alpha: float = ALPHA, beta: float = BETA
) -> np.ndarray:
    """int64 [K, 3]: (false regions, true regions detected, tracks detected) of one video at each
    threshold (Ramachandra & Jones 2020).

    Detected regions are the 8-connected components of map >= threshold. A true region is detected
    where its IoU with one of them is at least beta; a track where at least alpha of its regions
    are. A detected region is false where its IoU with every true region of its frame is below beta;
    one may detect several true regions.
    """
    found = np.zeros((len(cuts), 3), np.int64)
    maps, of_track = values(c), np.bincount(c.track)
    pixels = np.broadcast_to(c.pixels, maps.shape).ravel() if np.ptp(c.pixels) else None
    for k, cut in enumerate(cuts):
        labels, n = components(maps >= cut)
        flat = labels.ravel()
        hit = flat[c.cell]  # [Z] detected region at each pair, 0 for none
        on = hit > 0
        number = hit[on] * np.int64(len(c.area)) + c.region[on]
        pairs, inverse = np.unique(number, return_inverse=True)
        shared = np.bincount(inverse, c.shared[on], len(pairs))
        one, true = np.divmod(pairs, max(len(c.area), 1))
        area = np.bincount(flat) * c.pixels.flat[0] if pixels is None else np.bincount(flat, pixels)
        matched = shared / (area[one] + c.area[true] - shared) >= beta
        regions = np.unique(true[matched])
        tracks = np.bincount(c.track[regions], minlength=len(of_track)) / of_track >= alpha
        found[k] = n - len(np.unique(one[matched])), len(regions), np.sum(tracks)
    return found


def unbeaten(false_rate: np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False regions a frame [K] and detection rate [K] -> the operating points that no other beats,
    [k] each, from (0, 0) upwards.

    Lower thresholds merge regions, so neither count is monotone. A point is beaten by a rate as
    high with no more false regions.
    """
    order = np.lexsort((-rate, false_rate))
    x, y = false_rate[order], rate[order]
    best = y > np.r_[0.0, np.maximum.accumulate(y)[:-1]]
    return np.r_[0.0, x[best]], np.r_[0.0, y[best]]


def area_to_one(false_rate: np.ndarray, rate: np.ndarray) -> float:
    """Step-wise area under detection rate [K] over false regions a frame [K] from 0 to 1
    (Ramachandra & Jones 2020); [0, 1].

    A rate holds from its operating point to the next, the last one below 1 up to 1: what programs
    that walk detection by detection give, whose curve only goes right or up.
    """
    x, y = unbeaten(false_rate, rate)
    inside = x < 1
    return float(np.sum(y[inside] * np.diff(np.r_[x[inside], 1.0])))


def area_interpolated(false_rate: np.ndarray, rate: np.ndarray) -> float:
    """The same with straight lines between operating points (ours): level after the last one,
    and cut at 1 on its line."""
    x, y = unbeaten(false_rate, rate)
    inside = x < 1
    return float(np.trapezoid(np.r_[y[inside], np.interp(1.0, x, y)], np.r_[x[inside], 1.0]))


CRITERIA = {  # metric -> (column of `region_counts`, its area)
    "rbdc": (1, area_to_one),
    "tbdc": (2, area_to_one),
    "rbdc_interpolated": (1, area_interpolated),
    "tbdc_interpolated": (2, area_interpolated),
}


def _criteria(
    parts: Sequence[Cells], count: int, resamples: int, seed: int
) -> dict[str, tuple[float, list[float] | None]]:
    """Metric of CRITERIA -> (value of all videos pooled, its 95 % interval over videos)."""
    sizes = [[len(c.maps), len(c.area), len(np.unique(c.track))] for c in parts]
    totals = np.array(sizes, np.float64)  # [V, 3]
    if not totals[:, 1].any():
        return dict.fromkeys(CRITERIA, (float("nan"), None))
    cuts = thresholds([c.maps for c in parts], count)
    found = np.stack([region_counts(c, cuts) for c in parts]).astype(np.float64)  # [V, K, 3]

    def areas(times: np.ndarray) -> list[float]:
        """[V] how often each video counts -> the areas."""
        rates = np.tensordot(times, found, 1) / (times @ totals)  # [K, 3]
        return [area(rates[:, 0], rates[:, i]) for i, area in CRITERIA.values()]

    # a resample needs a true region
    present = np.stack([np.ones(len(parts), bool), totals[:, 1] > 0], axis=1)
    drawn = bootstrap.draw(present, resamples, seed)
    spread = np.array([areas(times) for times in drawn]).reshape(-1, len(CRITERIA))
    values = areas(np.ones(len(parts)))
    return {
        n: (v, bootstrap.interval(v, spread[:, i], drawn))
        for i, (n, v) in enumerate(zip(CRITERIA, values))
    }


def pixel_auc(videos: Sequence[MappedVideo], resize: str = "nearest") -> float:
    """ROC AUC over all pixels, see `pixel_auc_of`. Raises as `check_maps`."""
    check_maps(videos, resize)
    return pixel_auc_of([cells(v, resize) for v in videos])


def pixel_level_criterion(
    videos: Sequence[MappedVideo], resize: str = "nearest"
) -> tuple[float, float]:
    """(AUC, EER) of frames under the pixel-level criterion (Mahadevan et al. 2010; Li et al. 2014).
    Raises as `check_maps`.

    An abnormal frame is a true positive where at least PIXEL_SHARE of its abnormal pixels are
    detected, a normal frame a false positive where any pixel is. False detections in abnormal
    frames cost nothing: a map that marks whole frames does as well as its frame scores.
    """
    check_maps(videos, resize)
    found = micro([criterion_scores(cells(v, resize)) for v in videos], 0, 0)
    return found["auc"][0], found["eer"][0]


def rbdc_tbdc(
    videos: Sequence[MappedVideo], resize: str = "nearest", count: int = THRESHOLDS
) -> tuple[float, float]:
    """(RBDC, TBDC) of `count` thresholds: areas of `area_to_one` over true regions and over
    tracks. Raises as `check_maps`."""
    check_maps(videos, resize)
    found = _criteria([cells(v, resize) for v in videos], count, 0, 0)
    return found["rbdc"][0], found["tbdc"][0]


def records(
    videos: Sequence[MappedVideo],
    checkpoint: str = "last",
    resize: str = "nearest",
    *,
    resamples: int = 0,
    seed: int = 0,
    count: int = THRESHOLDS,
) -> list[Record]:
    """Records (see protocols.py) of pixel_auc, pixel_criterion_auc, pixel_criterion_eer and each of
    CRITERIA; maps as they come.

    resamples, seed: of the intervals over videos, which pixel_auc goes without. Raises DataError as
    `check_maps`.
    """
    check_maps(videos, resize)
    parts = [cells(v, resize) for v in videos]
    frames = micro([criterion_scores(c) for c in parts], resamples, seed)
    found = {
        "pixel_auc": (pixel_auc_of(parts), None),
        "pixel_criterion_auc": frames["auc"],
        "pixel_criterion_eer": frames["eer"],
        **_criteria(parts, count, resamples, seed),
    }
    protocol = {**HEADLINE, "checkpoint": checkpoint}
    size = len(videos), sum(len(v.maps) for v in videos)
    return [record(protocol, m, v, ci, size) for m, (v, ci) in found.items()]
