"""Synthetic events in held-out normal video: what the weights of the score's terms are chosen on,
so that no test label is needed.

Two kinds, in turn by chance; neither knows anything of what the test videos hold:
  pace     what moves in a ninth of the picture moves 2 to 3.5 times as fast for a while: as runners
           and riders do beside people who walk
  object   a piece of the video, enlarged and pulled wide, crosses the picture at the height where
           it was cut out
With either of them, four times out of five, the descriptions begin with a clause about something
that no normal description speaks of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

KINDS = ("pace", "object")
FOREIGN = (
    "a dog runs loose across the way",
    "thick smoke rises from a bin",
    "a person lies on the ground",
    "a tree has fallen over the path",
    "a ladder stands against a lamp post",
    "two people are fighting",
    "a large balloon floats over the crowd",
    "someone carries a long plank",
    "water floods the ground",
    "a horse is led along",
    "a flag is being waved",
    "a tent stands in the middle of the way",
)
WORDED = 0.8  # share of events that the descriptions speak of
LENGTHS = (25, 50)  # frames of an event
GAP = 25  # normal frames between events
FIRST = 5  # at least that many before the first one, at most GAP
TRIES = 12  # places tried for an event, the liveliest is taken


class Perturbed(NamedTuple):
    """A changed copy of one video."""

    frames: np.ndarray  # uint8 [T, H, W, C]
    texts: list[str] | None
    labels: np.ndarray  # uint8 [T], 1 within an event


def perturb(frames: np.ndarray, texts: Sequence[str] | None, rng: np.random.Generator) -> Perturbed:
    """Puts events into a copy of a video [T, H, W, C] (texts: one a frame), normal and abnormal
    stretches in turn.

    A video of at most FIRST + LENGTHS[0] frames stays as it is; one of more than GAP + LENGTHS[0]
    has an event for certain.
    """
    out, labels = frames.copy(), np.zeros(len(frames), np.uint8)
    said = list(texts) if texts is not None else None
    start = int(rng.integers(FIRST, GAP + 1))
    while start + LENGTHS[0] < len(frames):
        length = int(min(rng.integers(LENGTHS[0], LENGTHS[1] + 1), len(frames) - start))
        change = play_faster if KINDS[int(rng.integers(len(KINDS)))] == "pace" else cross_picture
        change(out, frames, start, length, rng)
        labels[start : start + length] = 1
        if said is not None and rng.random() < WORDED:
            clause = FOREIGN[int(rng.integers(len(FOREIGN)))]
            said[start : start + length] = [
                f"{clause.capitalize()}. {t}" for t in said[start : start + length]
            ]
        start += length + GAP
    return Perturbed(out, said, labels)


def liveliest(
    frames: np.ndarray, start: int, length: int, size: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int]:
    """(top, left) of the place, of a few tried, where most changes between the frames start ..
    start + length."""
    h, w = frames.shape[1:3]
    sample = frames[start : start + length : 5].astype(np.int16)
    change = np.abs(np.diff(sample, axis=0)).mean((0, 3)) if len(sample) > 1 else np.zeros((h, w))
    places = [
        (int(rng.integers(0, h - size[0] + 1)), int(rng.integers(0, w - size[1] + 1)))
        for _ in range(TRIES)
    ]
    return max(places, key=lambda p: change[p[0] : p[0] + size[0], p[1] : p[1] + size[1]].sum())


def play_faster(
    out: np.ndarray, frames: np.ndarray, start: int, length: int, rng: np.random.Generator
) -> None:
    """A region (a third of the picture a side) plays 2 to 3.5 times as fast, to and fro where
    the video ends. In place."""
    h, w = frames.shape[1:3]
    size = (max(h // 3, 1), max(w // 3, 1))
    top, left = liveliest(frames, start, length, size, rng)
    speed = rng.uniform(2.0, 3.5)
    ahead = start + np.round(speed * np.arange(length)).astype(int)
    period = 2 * (len(frames) - 1)
    ahead = ahead % period
    ahead = np.where(ahead < len(frames), ahead, period - ahead)
    out[start : start + length, top : top + size[0], left : left + size[1]] = frames[
        ahead, top : top + size[0], left : left + size[1]
    ]


def cross_picture(
    out: np.ndarray, frames: np.ndarray, start: int, length: int, rng: np.random.Generator
) -> None:
    """A lively piece of the video, one to 1.5 times as high and half as wide again, crosses the
    picture at 0.5 to 1 % of its width a frame.

    In place. It keeps the height it was cut out at, where things of its size are; it is an ellipse,
    so that no straight border gives it away, with an edge about two pixels wide, as things in a
    picture have.
    """
    h, w = frames.shape[1:3]
    size = (max(h // 6, 2), max(w // 12, 2))
    source = int(rng.integers(0, len(frames)))
    top, left = liveliest(frames, min(source, len(frames) - 2), 10, size, rng)
    piece = frames[source, top : top + size[0], left : left + size[1]]
    scale = rng.uniform(1.0, 1.5)
    piece = cv2.resize(
        piece,
        (min(int(size[1] * scale * 1.5), w), min(int(size[0] * scale), h)),
        interpolation=cv2.INTER_LINEAR,
    )
    piece = (piece[..., None] if piece.ndim == 2 else piece).astype(np.float32)
    ph, pw = piece.shape[:2]
    # [ph, pw, 1]: 1 inside, 0 at the edge
    across, down = np.meshgrid(np.linspace(-1, 1, pw), np.linspace(-1, 1, ph))
    cover = np.clip(0.25 * min(ph, pw) * (1.0 - np.hypot(across, down)), 0.0, 1.0)[
        ..., None
    ].astype(np.float32)
    y = min(top, h - ph)
    step, forward = rng.uniform(0.005, 0.01) * w, rng.random() < 0.5
    first = rng.uniform(0, w - pw)
    for k in range(length):
        x = int(first + (step if forward else -step) * k) % (w - pw + 1)
        place = out[start + k, y : y + ph, x : x + pw]
        place[:] = np.round(cover * piece + (1.0 - cover) * place).astype(np.uint8)
