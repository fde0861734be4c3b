"""Kinds of synthetic events: each changes a stretch of a copy of a video in place. Called as
kind(out, frames, start, length, rng): out is the copy [T, H, W, C] that is changed in the frames
start .. start + length, frames the video as it was.

  pace      what moves in a ninth of the picture moves 2 to 3.5 times as fast: as runners and riders
            do beside people who walk
  slow      the same moves at 0.2 to 0.4 of its pace
  reversed  the same moves backwards
  object    a piece of the video, enlarged and pulled wide, crosses the picture at the height where
            it was cut out
  left      such a piece stands still where it does not belong
  place     what happens in a ninth of the picture happens elsewhere in it
  lights    the whole picture becomes darker or brighter
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

TRIES = 12  # places tried for an event, the liveliest is taken
FADE = 5  # frames that a change of the lights takes

Kind = Callable[[np.ndarray, np.ndarray, int, int, np.random.Generator], None]


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
    place = lively_region(frames, start, length, rng)
    speed = rng.uniform(2.0, 3.5)
    ahead = start + np.round(speed * np.arange(length)).astype(int)
    out[(slice(start, start + length), *place)] = frames[(to_and_fro(ahead, len(frames)), *place)]


def play_slower(
    out: np.ndarray, frames: np.ndarray, start: int, length: int, rng: np.random.Generator
) -> None:
    """The same at 0.2 to 0.4 of its pace; between two frames it shows their mixture. In place."""
    place = lively_region(frames, start, length, rng)
    at = rng.uniform(0.2, 0.4) * np.arange(length)
    below = start + at.astype(int)
    part = (at % 1.0)[:, None, None, None]
    one, two = frames[(below, *place)], frames[(np.minimum(below + 1, len(frames) - 1), *place)]
    mixed = (1.0 - part) * one + part * two
    out[(slice(start, start + length), *place)] = np.round(mixed).astype(np.uint8)


def play_backwards(
    out: np.ndarray, frames: np.ndarray, start: int, length: int, rng: np.random.Generator
) -> None:
    """The same region plays backwards, from the event's end. In place."""
    place = (slice(start, start + length), *lively_region(frames, start, length, rng))
    out[place] = frames[place][::-1]


def move_place(
    out: np.ndarray, frames: np.ndarray, start: int, length: int, rng: np.random.Generator
) -> None:
    """What happens in a region happens elsewhere too, at its own pace. In place."""
    h, w = frames.shape[1:3]
    rows, columns = lively_region(frames, start, length, rng)
    size = rows.stop - rows.start, columns.stop - columns.start
    top, left = elsewhere((rows.start, columns.start), size, (h, w), rng)
    cover = ellipse(*size)
    for t in range(start, start + length):
        paste(out[t], frames[t, rows, columns].astype(np.float32), cover, (top, left))


def leave_object(
    out: np.ndarray, frames: np.ndarray, start: int, length: int, rng: np.random.Generator
) -> None:
    """A lively piece of the video, 1 to 1.5 times as large, stands still elsewhere. In place."""
    piece, place = cut_piece(frames, rng, rng.uniform(1.0, 1.5), 1.0)
    size = piece.shape[0], piece.shape[1]
    place = elsewhere(place, size, (frames.shape[1], frames.shape[2]), rng)
    cover = ellipse(*size)
    for t in range(start, start + length):
        paste(out[t], piece, cover, place)


def change_lights(
    out: np.ndarray, frames: np.ndarray, start: int, length: int, rng: np.random.Generator
) -> None:
    """The picture gets 0.4 to 0.7 of its light, or 1.4 to 2.5 times as much. In place."""
    gain = np.exp(rng.uniform(0.35, 0.9) * (1 if rng.random() < 0.5 else -1))
    ramp = np.minimum(np.arange(1, length + 1) / FADE, 1.0)[:, None, None, None]
    lit = frames[start : start + length] * gain**ramp
    out[start : start + length] = np.clip(np.round(lit), 0, 255).astype(np.uint8)


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
    piece, (top, _) = cut_piece(frames, rng, None, 1.5)
    ph, pw = piece.shape[:2]
    cover = ellipse(ph, pw)
    y = min(top, h - ph)
    step, forward = rng.uniform(0.005, 0.01) * w, rng.random() < 0.5
    first = rng.uniform(0, w - pw)
    for k in range(length):
        x = int(first + (step if forward else -step) * k) % (w - pw + 1)
        paste(out[start + k], piece, cover, (y, x))


KINDS: dict[str, Kind] = {
    "pace": play_faster,
    "object": cross_picture,
    "left": leave_object,
    "place": move_place,
    "lights": change_lights,
    "slow": play_slower,
    "reversed": play_backwards,
}


def to_and_fro(index: np.ndarray, count: int) -> np.ndarray:
    """Numbers of frames, 0 or more -> of a video of `count` frames that runs to and fro."""
    period = max(2 * (count - 1), 1)
    index = index % period
    return np.where(index < count, index, period - index)


def lively_region(
    frames: np.ndarray, start: int, length: int, rng: np.random.Generator
) -> tuple[slice, slice]:
    """Rows and columns of a region, a third of the picture a side, where much changes."""
    h, w = frames.shape[1:3]
    size = (max(h // 3, 1), max(w // 3, 1))
    top, left = liveliest(frames, start, length, size, rng)
    return slice(top, top + size[0]), slice(left, left + size[1])


def cut_piece(
    frames: np.ndarray, rng: np.random.Generator, scale: float | None, wide: float
) -> tuple[np.ndarray, tuple[int, int]]:
    """A lively piece of the video, a sixth as high and a twelfth as wide as the picture, enlarged:
    float32 [h, w, C], and (top, left) of where it was. scale: None: 1 to 1.5, by chance; wide: so
    many times as wide beside."""
    h, w = frames.shape[1:3]
    size = (max(h // 6, 2), max(w // 12, 2))
    source = int(rng.integers(0, len(frames)))
    top, left = liveliest(frames, min(source, len(frames) - 2), 10, size, rng)
    piece = frames[source, top : top + size[0], left : left + size[1]]
    scale = rng.uniform(1.0, 1.5) if scale is None else scale
    piece = cv2.resize(
        piece,
        (min(int(size[1] * scale * wide), w), min(int(size[0] * scale), h)),
        interpolation=cv2.INTER_LINEAR,
    )
    piece = (piece[..., None] if piece.ndim == 2 else piece).astype(np.float32)
    return piece, (top, left)


def ellipse(height: int, width: int) -> np.ndarray:
    """float32 [height, width, 1]: 1 inside, 0 at the edge, which is about two pixels wide."""
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    edge = 0.25 * min(height, width) * (1.0 - np.hypot(across, down))
    return np.clip(edge, 0.0, 1.0)[..., None].astype(np.float32)


def paste(frame: np.ndarray, piece: np.ndarray, cover: np.ndarray, place: tuple[int, int]) -> None:
    """A piece float32 [h, w, C] into a frame [H, W, C] at (top, left), as far as `cover` goes. In
    place."""
    (top, left), (h, w) = place, piece.shape[:2]
    under = frame[top : top + h, left : left + w]
    under[:] = np.round(cover * piece + (1.0 - cover) * under).astype(np.uint8)


def elsewhere(
    place: tuple[int, int],
    size: tuple[int, int],
    picture: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[int, int]:
    """(top, left) for a piece of a size that lay at `place`: of a few tried, one that does not
    touch that, where there is one."""
    tried = [
        tuple(int(rng.integers(0, max(whole - part, 0) + 1)) for whole, part in zip(picture, size))
        for _ in range(TRIES)
    ]
    apart = (p for p in tried if any(abs(a - b) >= n for a, b, n in zip(p, place, size)))
    top, left = next(apart, tried[-1])
    return top, left
