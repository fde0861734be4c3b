"""Proposals and mAP@IoU: an oracle, a plain-loop average precision, limit cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvad.base.types import DataError, ScoredVideo
from gfvad.measure import localisation


def video(name, scores, spans=(), classes=(), span_classes=None):
    spans = np.array(spans, np.int64).reshape(-1, 2)
    labels = np.zeros(len(scores), np.uint8)
    for start, end in spans:
        labels[start:end] = 1
    span_classes = ("",) * len(spans) if span_classes is None else span_classes
    return ScoredVideo(
        name,
        np.asarray(scores, np.float64),
        labels,
        int(len(spans) > 0),
        classes,
        spans,
        span_classes,
        1,
        0.0,
    )


def events(seed=0, n=8, length=200):
    """n videos, every second with one or two events, scored by their labels."""
    rng = np.random.default_rng(seed)
    videos = []
    for i in range(n):
        starts = (
            np.sort(rng.choice(np.arange(5, length - 45, 60), rng.integers(1, 3), replace=False))
            if i % 2
            else []
        )
        spans = [(s, s + int(rng.integers(10, 40))) for s in starts]
        v = video(f"v{i}", np.zeros(length), spans)
        videos.append(v._replace(scores=v.labels.astype(np.float64)))
    return videos


def by_hand_iou(a, b):
    frames = set(range(*a)), set(range(*b))
    return len(frames[0] & frames[1]) / len(frames[0] | frames[1])


spans_strategy = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 12)).map(lambda p: (p[0], p[0] + p[1])),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(spans_strategy, spans_strategy)
def test_iou(a, b):
    found = localisation.iou_matrix(np.array(a), np.array(b))
    assert found == pytest.approx(np.array([[by_hand_iou(x, y) for y in b] for x in a]), abs=1e-12)


def test_oracle_scores_get_everything():
    assert localisation.mean_average_precision(events()) == dict.fromkeys(localisation.IOUS, 1.0)


def test_wrong_and_shifted_scores():
    videos = events(1)
    inverted = localisation.mean_average_precision(
        [v._replace(scores=1 - v.scores) for v in videos]
    )
    assert max(inverted.values()) < 0.3
    # shifted by 40 % of an event of 20 frames: IoU 12 / 28 = 0.43
    one = video("v", np.r_[np.zeros(48), np.ones(20), np.zeros(32)], [(40, 60)])
    assert localisation.mean_average_precision([one]) == {
        0.1: 1.0,
        0.2: 1.0,
        0.3: 1.0,
        0.4: 1.0,
        0.5: 0.0,
    }


def test_scale_of_the_scores_does_not_matter():
    rng = np.random.default_rng(3)
    videos = [v._replace(scores=v.scores + rng.random(200)) for v in events(2)]
    plain = localisation.mean_average_precision(videos)
    assert localisation.mean_average_precision(
        [v._replace(scores=8 * v.scores - 4) for v in videos]
    ) == pytest.approx(plain, abs=1e-12)


def test_proposals():
    scores = np.zeros(40)
    scores[10:20] = 0.9
    spans, confidence = localisation.proposals(scores, 0.0)
    assert spans.tolist() == [[10, 20]] and confidence == pytest.approx([0.9])
    # constant: the whole video, against the set's lowest score
    spans, confidence = localisation.proposals(np.full(12, 0.7), 0.1)
    assert spans.tolist() == [[0, 12]] and confidence == pytest.approx([0.6])
    assert localisation.proposals(np.zeros(0), 0.0)[0].shape == (0, 2)


def test_suppression_keeps_the_most_confident():
    spans = np.array([[0, 10], [1, 10], [9, 20], [30, 40]])
    kept, confidence = localisation.suppress(spans, np.array([0.5, 0.8, 0.7, 0.1]))
    assert kept.tolist() == [[1, 10], [9, 20], [30, 40]] and confidence.tolist() == [0.8, 0.7, 0.1]


def test_overlaps_exactly_at_their_limits():
    """Suppression drops what overlaps by more than its limit; a detection takes a span from its
    limit on."""
    spans = np.array([[0, 10], [0, 5], [0, 6]])  # IoU with the first: 0.5 and 0.6
    assert localisation.suppress(spans, np.array([0.9, 0.8, 0.7]))[0].tolist() == [[0, 10], [0, 5]]
    found, truth = [(np.array([[0, 5]]), np.array([0.9]))], [np.array([[0, 10]])]
    assert (
        localisation.detection_ap(found, truth, 0.5) == 1.0
        and localisation.detection_ap(found, truth, 0.51) == 0.0
    )


@pytest.mark.parametrize("at, outer", [(4, (0.2 + 0.6) / 2), (0, 0.6), (8, 0.2)])
def test_the_margin_of_a_short_run_is_one_frame(at, outer):
    """A quarter of one frame would be none; at an end of the video one side is left."""
    scores = np.full(9, 0.4)
    scores[max(at - 1, 0)], scores[min(at + 1, 8)], scores[at] = 0.2, 0.6, 0.95
    spans, confidence = localisation.proposals(scores, 0.0)
    assert [at, at + 1] in spans.tolist()
    assert confidence[spans.tolist().index([at, at + 1])] == pytest.approx(0.95 - outer)


def by_hand_ap(detections, n_true):
    """detections: (confidence, hit), all confidences different."""
    hits, total = 0, 0.0
    for rank, (_, hit) in enumerate(sorted(detections, reverse=True), 1):
        hits += hit
        total += hit * hits / rank
    return total / n_true


def test_average_precision_by_hand():
    truth = [np.array([[0, 10], [50, 60]]), np.zeros((0, 2), np.int64), np.array([[5, 25]])]
    found = [
        # the second finds its span taken
        (np.array([[0, 9], [1, 10], [48, 62]]), np.array([0.95, 0.90, 0.30])),
        (np.array([[0, 40]]), np.array([0.60])),
        (np.array([[100, 120], [5, 20]]), np.array([0.50, 0.40])),
    ]
    expected = by_hand_ap([(0.95, 1), (0.90, 0), (0.30, 1), (0.60, 0), (0.50, 0), (0.40, 1)], 3)
    assert localisation.detection_ap(found, truth, 0.5) == pytest.approx(expected, abs=1e-12)
    missed = localisation.detection_ap(
        [found[0], found[1], (np.zeros((0, 2), np.int64), np.zeros(0))], truth, 0.5
    )
    assert missed == pytest.approx(
        by_hand_ap([(0.95, 1), (0.90, 0), (0.30, 1), (0.60, 0)], 3), abs=1e-12
    )


def test_per_class():
    a = video("a", np.zeros(100), [(10, 30), (60, 80)], ("fight", "fire"), ("fight", "fire"))
    # unknown: counts for the video's class
    b = video("b", np.zeros(100), [(20, 50)], ("fire",), ("",))
    normal = video("n", np.zeros(100))
    fight, fire = np.zeros((3, 100)), np.zeros((3, 100))
    fight[0, 10:30] = fire[0, 60:80] = fire[1, 20:50] = 1
    right = localisation.mean_average_precision(
        [a, b, normal], class_scores={"fight": list(fight), "fire": list(fire)}
    )
    swapped = localisation.mean_average_precision(
        [a, b, normal], class_scores={"fight": list(fire), "fire": list(fight)}
    )
    assert set(right.values()) == {1.0} and max(swapped.values()) < 0.5
    assert (
        localisation.mean_average_precision(
            [a, normal], class_scores={"fight": list(fight[:2]), "unseen": list(fight[:2])}
        )[0.5]
        == 1.0
    )
    with pytest.raises(DataError, match="one array a video"):
        localisation.mean_average_precision([a, b], class_scores={"fight": list(fight)})


def test_undefined_and_overlong_spans():
    assert all(
        np.isnan(v) for v in localisation.mean_average_precision([video("n", np.zeros(9))]).values()
    )
    # annotations run on behind the last whole unit
    overlong = video("v", np.r_[np.zeros(10), np.ones(10)], [(10, 99)])
    assert localisation.mean_average_precision([overlong])[0.5] == 1.0


def suppress_by_all(spans, confidence):
    """As it was before: every span against all that are kept, which grows with the square."""
    kept = []
    for i in np.argsort(-confidence, kind="stable"):
        met = localisation.iou_matrix(spans[i : i + 1], spans[kept]) if kept else np.zeros(1)
        if met.max() <= localisation.NMS_IOU:
            kept.append(int(i))
    return spans[kept], confidence[kept]


def hits_by_all(spans, true, iou):
    """As it was before: every proposal against every true span."""
    overlap, hits = localisation.iou_matrix(spans, true), np.zeros(len(spans), bool)
    for i in range(len(spans) if len(true) else 0):
        best = int(np.argmax(overlap[i]))
        if overlap[i, best] >= iou:
            hits[i] = True
            overlap[:, best] = -1.0
    return hits


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([8, 60, 3000]))
def test_suppression_and_hits_are_those_of_all_pairs(seed, length):
    """Spans that need not be nested, repeated and empty ones, ties; true spans that overlap."""
    rng = np.random.default_rng(seed)
    some = lambda n: np.sort(rng.integers(0, length, (n, 2)) // rng.integers(1, 4, (n, 1)), axis=1)
    spans, confidence = some(80), np.round(rng.random(80), 1)
    found, expected = (f(spans, confidence) for f in (localisation.suppress, suppress_by_all))
    assert (found[0] == expected[0]).all() and (found[1] == expected[1]).all()
    true = some(int(rng.integers(0, 12)))
    true = true[true[:, 1] > true[:, 0]]
    pairs = localisation.overlapping(found[0], true)
    for iou in localisation.IOUS:
        hits = localisation.hits_of(pairs, len(found[0]), iou)
        assert (hits == hits_by_all(found[0], true, iou)).all()


def test_suppression_of_a_noisy_score():
    """Proposals of all levels, as they come from a score without structure."""
    scores = np.repeat(np.random.default_rng(0).random(400), 3)
    levels = [localisation.spans_of(scores >= level) for level in localisation.LEVELS]
    spans = np.unique(np.concatenate(levels), axis=0)
    confidence = np.random.default_rng(1).random(len(spans))
    found, expected = (f(spans, confidence) for f in (localisation.suppress, suppress_by_all))
    assert (found[0] == expected[0]).all() and len(found[0]) < len(spans)
