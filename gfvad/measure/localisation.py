"""Temporal localisation: proposals from frame scores, and mean average precision at temporal
overlaps.

Scheme (ours, from the parts in common use):
1. Proposals: a video's score is cut at LEVELS of its own range; each maximal run of frames at or
   above a level is a proposal. A constant score proposes the whole video. Levels are relative so
   that a score need not be calibrated to be cut; confidences are not.
2. Confidence: mean score inside less the mean score in the margins, a quarter of the run's length
   on either side (outer-inner contrast, AutoLoc, Shou et al. 2018, Eq. 4). A run without margins,
   the whole video, is held against the lowest score of the set instead.
3. Greedy non-maximum suppression within the video at IoU > NMS_IOU.
4. Detections of all videos, highest confidence first, each take the best still free true span of
   their video with IoU >= the threshold, or are false. The average precision is step-wise, ties in
   confidence share one threshold, and its recall counts every true span.
Class-agnostic where only an anomaly score exists: any abnormal span is a target (one "class"). With
scores per class, each class is evaluated on its own spans and the mean is taken over classes that
have a span.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gfvad.base.types import DataError, ScoredVideo
from gfvad.measure.frames import spans_of
from gfvad.measure.metrics import cumulative_counts

IOUS = (0.1, 0.2, 0.3, 0.4, 0.5)
LEVELS = tuple(i / 10 for i in range(1, 10))  # of the video's own range
NMS_IOU = 0.5  # a half or more: `suppress` looks near a span alone
MARGIN = 0.25  # of a run's length, on either side


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Half-open spans a [A, 2], b [S, 2] -> [A, S] intersection over union in time."""
    overlap = np.minimum(a[:, None, 1], b[None, :, 1]) - np.maximum(a[:, None, 0], b[None, :, 0])
    overlap = np.maximum(overlap, 0)
    union = (a[:, 1] - a[:, 0])[:, None] + (b[:, 1] - b[:, 0])[None] - overlap
    return overlap / np.maximum(union, 1)


def proposals(scores: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores [T] -> spans [A, 2] and confidences [A], suppressed, highest confidence first.
    floor: lowest score of the whole set."""
    if not len(scores):
        return np.zeros((0, 2), np.int64), np.zeros(0)
    low, high = float(scores.min()), float(scores.max())
    # the top level may be rounded above the maximum, which would propose nothing for it
    levels = [min(low + level * (high - low), high) for level in LEVELS]
    spans = np.unique(np.concatenate([spans_of(scores >= level) for level in levels]), axis=0)
    total = np.r_[0.0, np.cumsum(scores, dtype=np.float64)]
    start, end = spans.T
    length = end - start
    margin = np.maximum(1, np.round(MARGIN * length).astype(np.int64))
    left, right = np.maximum(start - margin, 0), np.minimum(end + margin, len(scores))
    outside = (right - left) - length  # [A] frames of the margins
    outer = total[right] - total[left] - (total[end] - total[start])
    outer = np.where(outside > 0, outer / np.maximum(outside, 1), floor)
    confidence = (total[end] - total[start]) / length - outer
    return suppress(spans, confidence)


def suppress(spans: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Greedy non-maximum suppression of spans [A, 2]: keeps the most confident, drops what
    overlaps it by more than NMS_IOU.

    A log A: spans that overlap by more than a half differ in length by less than twice, and in
    start by less than the shorter one's length. So what is kept lies in cells by length (powers of
    two) and start (multiples of that power), and a span meets the few cells near it alone. A cell
    holds only a few, for what is kept does not overlap by more than a half.
    """
    order = np.argsort(-confidence, kind="stable")
    kept: list[int] = []
    cells: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for i, (start, end) in zip(order.tolist(), spans[order].tolist()):
        length = end - start
        scale = length.bit_length() - 1  # 2^scale <= length; -1 for an empty span
        if scale < 0:
            kept.append(i)  # overlaps nothing
        elif not _meets(cells, start, end, scale):
            cells.setdefault((scale, start >> scale), []).append((start, end))
            kept.append(i)
    return spans[kept], confidence[kept]


def _meets(
    cells: dict[tuple[int, int], list[tuple[int, int]]], start: int, end: int, scale: int
) -> bool:
    """Whether a span of 2^scale frames or more, less than twice that, overlaps one of the cells by
    more than NMS_IOU."""
    length = end - start
    for near in range(max(scale - 1, 0), scale + 2):
        reach = min(length, 2 << near) - 1  # starts differ by less than the shorter length
        for cell in range((start - reach) >> near, ((start + reach) >> near) + 1):
            for left, right in cells.get((near, cell), ()):
                overlap = min(end, right) - max(start, left)
                if overlap > NMS_IOU * (max(end, right) - min(start, left)):
                    return True
    return False


def is_of_class(video: ScoredVideo, name: str) -> np.ndarray:
    """bool [S]: spans of class `name`. A span whose own class is unknown counts for every class
    of its video."""
    unknown = lambda c: name in video.classes and c not in video.classes
    return np.array([c == name or unknown(c) for c in video.span_classes], bool).reshape(-1)


def overlapping(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of half-open spans a [A, 2] and b [S, 2], all that share a frame among them: (index
    into a [Z] ascending, index into b [Z], intersection over union [Z]).

    Where the spans of b do not overlap each other, there are no other pairs.
    """
    order = np.argsort(b[:, 0], kind="stable")
    starts, reached = b[order, 0], np.maximum.accumulate(b[order, 1])
    first = np.searchsorted(reached, a[:, 0], "right")  # none before it reaches into the span
    count = np.maximum(np.searchsorted(starts, a[:, 1], "left") - first, 0)
    mine = np.repeat(np.arange(len(a)), count)
    place = np.arange(len(mine)) - np.repeat(np.cumsum(count) - count, count) + first[mine]
    other = order[place]
    (start, end), (left, right) = a[mine].T, b[other].T
    overlap = np.maximum(np.minimum(end, right) - np.maximum(start, left), 0)
    return mine, other, overlap / np.maximum(end - start + right - left - overlap, 1)


Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def hits_of(pairs: Pairs, count: int, iou: float) -> np.ndarray:
    """bool [A]: which of `count` proposals, highest confidence first, take a true span: the one
    they overlap most of those still free, by `iou` at least. pairs: as `overlapping`."""
    enough = pairs[2] >= iou
    mine, other, overlap = (x[enough] for x in pairs)
    hits, taken = np.zeros(count, bool), set()
    order = np.lexsort((other, -overlap, mine))
    for i, span in zip(mine[order].tolist(), other[order].tolist()):
        if not hits[i] and span not in taken:
            hits[i] = True
            taken.add(span)
    return hits


def detection_ap(
    found: Sequence[tuple[np.ndarray, np.ndarray]],
    truth: Sequence[np.ndarray],
    iou: float,
    pairs: Sequence[Pairs] | None = None,
) -> float:
    """Average precision of proposals against true spans [S_v, 2] a video at one overlap; NaN
    without a true span. pairs: `overlapping` of each video, where it is known."""
    n_true = sum(len(t) for t in truth)
    if not n_true:
        return float("nan")
    pairs = pairs or [overlapping(spans, t) for (spans, _), t in zip(found, truth, strict=True)]
    # videos do not share true spans
    hit = [hits_of(p, len(conf), iou) for p, (_, conf) in zip(pairs, found, strict=True)]
    confidence = np.concatenate([np.zeros(0), *(conf for _, conf in found)])
    counts = cumulative_counts(confidence, np.concatenate([np.zeros(0, bool), *hit]))
    steps, every = np.diff(np.r_[0, counts.positives]), counts.positives + counts.negatives
    return float(np.sum(steps * counts.positives / np.maximum(every, 1)) / n_true)


def mean_average_precision(
    videos: Sequence[ScoredVideo],
    ious: Sequence[float] = IOUS,
    class_scores: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> dict[float, float]:
    """mAP at each overlap, for V videos and their true spans.

    class_scores: class -> V arrays [T] of that class's frame scores; None uses the videos' anomaly
    scores, class-agnostic. NaN where no video has a span. Raises DataError where the number of
    score arrays is not V or a length differs.
    """
    # [S, 2]: annotations may run on
    cut = [np.minimum(np.asarray(v.spans, np.int64).reshape(-1, 2), len(v.scores)) for v in videos]
    tasks = [([v.scores for v in videos], cut)]
    if class_scores is not None:
        own = lambda name: [c[is_of_class(v, name)] for v, c in zip(videos, cut)]
        tasks = [(list(scores), own(name)) for name, scores in class_scores.items()]
    values: dict[float, list[float]] = {iou: [] for iou in ious}
    for scores, truth in tasks:
        if [len(s) for s in scores] != [len(v.scores) for v in videos]:
            raise DataError(
                f"class scores of {len(scores)} videos: expected one array a video ({len(videos)}),"
                " as long as its scores"
            )
        truth = [t[t[:, 1] > t[:, 0]] for t in truth]
        floor = min((float(s.min()) for s in scores if len(s)), default=0.0)
        found = [proposals(np.asarray(s, np.float64), floor) for s in scores]
        pairs = [overlapping(spans, t) for (spans, _), t in zip(found, truth, strict=True)]
        for iou in ious:
            values[iou].append(detection_ap(found, truth, iou, pairs))
    mean = lambda v: float("nan") if np.isnan(v).all() else float(np.nanmean(v))
    return {iou: mean(v) for iou, v in values.items()}
