"""Synthetic events in normal video: where they are, what they leave alone, and that they follow
the random numbers alone."""

import cv2
import numpy as np
import pytest

from gfvad.data.frames import event_kinds, perturb
from gfvad.data.frames.perturb import FIRST, FOREIGN, GAP, LENGTHS

SIZE = (40, 60)


def lively(frames, channels=1, seed=0, size=SIZE):
    """uint8 [T, H, W, C]: a texture that drifts, so that every pixel changes with every frame."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(
        rng.integers(0, 255, (size[0], size[1] + 2 * frames), np.uint8), (3, 3), 0
    )
    video = np.stack([texture[:, 2 * t : 2 * t + size[1]] for t in range(frames)])
    return np.repeat(video[..., None], channels, -1)


def said(frames):
    return [f"People walk, minute {t}." for t in range(frames)]


def events(labels):
    """[(first, end)] of runs of ones."""
    edges = np.flatnonzero(np.diff(np.r_[0, labels.astype(int), 0]))
    return edges.reshape(-1, 2).tolist()


@pytest.mark.parametrize("seed", range(8))
def test_labels_mark_the_events(seed):
    """Frames outside of events are the video's own to the bit; each event changes it, nearly all
    along."""
    frames = lively(200, channels=1 + 2 * (seed % 2), seed=seed)
    kept = frames.copy()
    found = perturb.perturb(frames, said(200), np.random.default_rng(seed))
    np.testing.assert_array_equal(frames, kept)  # a copy was changed
    assert (
        found.frames.shape == frames.shape
        and found.frames.dtype == np.uint8
        and found.labels.shape == (200,)
        and set(found.labels) == {0, 1}
    )
    changed = (found.frames != frames).any((1, 2, 3))
    assert not changed[found.labels == 0].any()
    spans = events(found.labels)
    assert spans and FIRST <= spans[0][0] <= GAP
    for i, (first, end) in enumerate(spans):
        assert changed[first:end].mean() > 0.8
        assert LENGTHS[0] <= end - first <= LENGTHS[1]
        assert i == 0 or first - spans[i - 1][1] == GAP


@pytest.mark.parametrize("seed", range(8))
def test_texts_change_within_events_only(seed):
    texts = said(200)
    found = perturb.perturb(lively(200), texts, np.random.default_rng(seed))
    assert texts == said(200) and len(found.texts) == 200
    differ = np.array([one != two for one, two in zip(found.texts, texts)])
    assert not differ[found.labels == 0].any()
    for first, end in events(found.labels):
        assert differ[first:end].all() or not differ[first:end].any()
        if differ[first]:
            added = {
                new.removesuffix(old) for new, old in zip(found.texts[first:end], texts[first:end])
            }
            assert len(added) == 1 and added <= {f"{clause.capitalize()}. " for clause in FOREIGN}


def test_words_and_kinds_all_occur():
    """Over many draws: events with and without words, of all kinds, in every part of the video."""
    worded, kinds, marked = [], set(), np.zeros(120)
    for seed in range(40):
        frames = lively(120)
        found = perturb.perturb(frames, said(120), np.random.default_rng(seed))
        first, end = events(found.labels)[0]
        worded.append(found.texts[first] != said(120)[first])
        kinds |= set(found.kinds) - {""}
        assert len(set(found.kinds[first:end])) == 1
        marked += found.labels
    assert (
        24 < sum(worded) < 40
        and kinds == set(perturb.KINDS)
        and (marked[GAP:] > 0).all()
        and not marked[:FIRST].any()
    )


def test_deterministic_by_rng():
    frames, texts = lively(150), said(150)
    one, two, other = (
        perturb.perturb(frames, texts, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one.frames, two.frames)
    np.testing.assert_array_equal(one.labels, two.labels)
    assert one.texts == two.texts and not np.array_equal(one.frames, other.frames)


@pytest.mark.parametrize("frames", [1, 2, FIRST + LENGTHS[0]])
def test_short_videos_stay_as_they_are(frames):
    video = lively(frames)
    for seed in range(10):
        found = perturb.perturb(video, said(frames), np.random.default_rng(seed))
        np.testing.assert_array_equal(found.frames, video)
        assert not found.labels.any() and found.texts == said(frames)


def test_longer_videos_have_an_event():
    for seed in range(20):
        assert (
            perturb.perturb(
                lively(GAP + LENGTHS[0] + 1), None, np.random.default_rng(seed)
            ).labels.sum()
            >= LENGTHS[0]
        )


def test_without_texts():
    assert perturb.perturb(lively(80), None, np.random.default_rng(0)).texts is None


@pytest.mark.parametrize("size", [(2, 2), (4, 5), (3, 200)])
def test_tiny_frames(size):
    video = np.random.default_rng(0).integers(0, 255, (90, *size, 1), np.uint8)
    for seed in range(6):
        found = perturb.perturb(video, None, np.random.default_rng(seed))
        assert found.frames.shape == video.shape and found.labels.any()


def test_play_faster():
    """A region of a third a side shows later frames of its own place, 2 to 3.5 times as fast,
    turning round at the video's end."""
    # each frame tells its number
    frames = np.arange(100, dtype=np.uint8)[:, None, None, None] * np.ones((1, *SIZE, 1), np.uint8)
    for start, seed in ((5, 0), (5, 1), (70, 2)):
        out = frames.copy()
        event_kinds.play_faster(out, frames, start, 30, np.random.default_rng(seed))
        changed = (out != frames).any((0, 3))
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        assert (len(rows), len(columns)) == (SIZE[0] // 3, SIZE[1] // 3) and changed.sum() == len(
            rows
        ) * len(columns)
        shown = out[start : start + 30, rows[0], columns[0], 0].astype(int)
        assert (
            shown[0] == start
            and (out[: start + 1] == frames[: start + 1]).all()
            and (out[start + 30 :] == frames[start + 30 :]).all()
        )
        steps = np.diff(shown)
        # one step may be cut by the turn
        assert (np.abs(steps) <= 4).all() and np.abs(steps).sum() >= 1.9 * len(steps)
        assert (steps < 0).any() == (start == 70)


def test_cross_picture():
    """A piece moves by 0.5 to 1 % of the width a frame; the rest of each frame is the video's
    own."""
    frames = np.zeros((60, *SIZE, 1), np.uint8)
    frames[::2, 10:30, 20:40] = 200  # flickers: the liveliest place is in here
    still = np.zeros_like(frames)
    for seed in range(4):
        out = still.copy()
        event_kinds.cross_picture(out, frames, 10, 40, np.random.default_rng(seed))
        assert not out[:10].any() and not out[50:].any()
        places = [np.flatnonzero(frame.any((0, 2))) for frame in out[10:50]]
        heights = {tuple(np.flatnonzero(frame.any((1, 2)))) for frame in out[10:50]}
        if any(len(p) == 0 for p in places):
            continue  # the piece was taken from a dark frame
        assert len(heights) == 1
        step = np.diff([p[0] for p in places])
        inner = np.abs(step[np.abs(step) <= 2])  # larger ones: it came in again at the other side
        assert (
            len(inner) >= len(step) - 2
            and 0.005 * SIZE[1] - 0.1 <= inner.mean() <= 0.01 * SIZE[1] + 0.1
        )


def test_liveliest():
    """Of the places tried the one with the most change: a place that moves beats one that does
    not."""
    frames = np.zeros((30, *SIZE, 1), np.uint8)
    frames[::2, :, 30:] = 255
    frames[5::10] = 255 - frames[5::10]
    hits = [
        event_kinds.liveliest(frames, 0, 30, (10, 10), np.random.default_rng(seed))
        for seed in range(20)
    ]
    change = np.abs(np.diff(frames[0:30:5].astype(int), axis=0)).mean((0, 3))
    for seed, (top, left) in enumerate(hits):
        rng = np.random.default_rng(seed)
        tried = [
            (int(rng.integers(0, SIZE[0] - 9)), int(rng.integers(0, SIZE[1] - 9)))
            for _ in range(event_kinds.TRIES)
        ]
        assert (top, left) in tried
        sums = {
            p: sum(change[p[0] + i, p[1] + j] for i in range(10) for j in range(10)) for p in tried
        }
        assert sums[top, left] == pytest.approx(max(sums.values()))
