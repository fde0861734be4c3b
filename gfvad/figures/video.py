"""A clip with what a model thought of it, as a short mp4: frames under their score maps, and below
them the score and its terms over time.

Needs the video extra (launch/requirements-video.txt): PyAV to encode, OpenCV to draw. Colours as in
heatmaps.py: the truth is RED.
From top to bottom: the frame, at least SCALE times as large, with a red border where the truth is
abnormal; the score up to this frame with a red mark below it for every abnormal frame; a bar a
term.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np
from matplotlib.colors import to_rgb

from gfvad.base.types import DataError
from gfvad.figures.curves import RED, shorten
from gfvad.figures.heatmaps import TERM_COLOURS, ScoredFrames, overlay, rgb
from gfvad.measure.frames import labels_from_spans
from gfvad.measure.results import atomically

SCALE = 2  # least enlargement of a frame
MIN_WIDTH = 640  # pixels; smaller frames are enlarged until text beside them has room
# pixels: height of the score's panel, of a term's row, space around them
CURVE, ROW, MARGIN = 130, 26, 12
LABEL = 210  # pixels left of a term's bar for its name
CRF = 20  # constant quality of x264: lower is better and larger
INK, PAPER, GRID = (30, 30, 30), (255, 255, 255), (225, 225, 225)


def _colour(name: str) -> tuple[int, int, int]:
    """Okabe-Ito colour '#RRGGBB' -> (R, G, B) in 0 .. 255."""
    red, green, blue = (round(255 * v) for v in to_rgb(name))
    return red, green, blue


def _text(canvas: np.ndarray, text: str, x: int, y: int, colour=INK, size: float = 0.55) -> None:
    """Writes ASCII text with its base line at (x, y). Other characters become '?': OpenCV has no
    glyphs for them."""
    plain, font = text.encode("ascii", "replace").decode(), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(canvas, plain, (x, y), font, size, colour, 1, cv2.LINE_AA)


def _tag(
    canvas: np.ndarray, text: str, x: int, colour: tuple[int, int, int], right: bool = False
) -> None:
    """White text on a filled box at the top, readable on any picture; x is its left or, with
    `right`, its right end."""
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
    x = x - width - 16 if right else x
    cv2.rectangle(canvas, (x, 10), (x + width + 16, 36), colour, -1)
    _text(canvas, text, x + 8, 29, PAPER, 0.6)


def scale_of(width: int) -> int:
    """Whole enlargement of frames `width` pixels wide."""
    return max(SCALE, -(-MIN_WIDTH // width))


def size_of(height: int, width: int, n_terms: int) -> tuple[int, int]:
    """(height, width) of the video in pixels, both even as yuv420p asks for."""
    scale = scale_of(width)
    below = CURVE + n_terms * ROW + (MARGIN if n_terms else 0)
    even = lambda side: -(-side // 2) * 2
    return even(height * scale + below), even(width * scale)


def _draw_frame(
    canvas: np.ndarray, picture: np.ndarray, t: int, fps: float, abnormal: bool
) -> None:
    """Puts the enlarged picture [H, W, 3] at the top, with its time and, where the truth is
    abnormal, the red border and a word."""
    scale = scale_of(picture.shape[1])
    height, width = picture.shape[0] * scale, picture.shape[1] * scale
    canvas[:height, :width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
    _tag(canvas, f"frame {t}   {t / fps:.1f} s", MARGIN, INK)
    if abnormal:
        cv2.rectangle(canvas, (2, 2), (width - 3, height - 3), _colour(RED), 5)
        _tag(canvas, "true event", width - MARGIN, _colour(RED), right=True)


def _draw_curve(
    canvas: np.ndarray, top: int, scores: np.ndarray, labels: np.ndarray, t: int
) -> None:
    """The score [T] up to frame t in the panel that starts at row `top`; the whole clip is as
    wide as the panel."""
    low, high = float(scores.min()), float(scores.max())
    high = high if high > low else low + 1
    left, right = MARGIN, canvas.shape[1] - MARGIN
    upper, lower = top + 34, top + CURVE - 24  # room for the number above and the marks below
    column = lambda i: np.round(left + i / len(scores) * (right - left)).astype(np.int32)
    x = column(np.arange(len(scores)) + 0.5)
    y = np.round(lower - (scores - low) / (high - low) * (lower - upper)).astype(np.int32)
    for level in (upper, (upper + lower) // 2, lower):
        cv2.line(canvas, (left, level), (right, level), GRID, 1)
    edges = column(np.arange(len(scores) + 1))
    for i in np.flatnonzero(labels[: t + 1]):
        canvas[lower + 6 : lower + 16, edges[i] : max(edges[i + 1], edges[i] + 1)] = _colour(RED)
    cv2.polylines(canvas, [np.stack([x, y], axis=1)[: t + 1]], False, INK, 2, cv2.LINE_AA)
    cv2.circle(canvas, (int(x[t]), int(y[t])), 5, INK, -1, cv2.LINE_AA)
    _text(canvas, f"score {scores[t]:.3g}", left, top + 22)
    about = f"range of the clip {low:.3g} to {high:.3g}; red: true event"
    _text(canvas, about, left + 140, top + 22, (110, 110, 110), 0.45)


def _draw_terms(
    canvas: np.ndarray, top: int, terms: Mapping[str, np.ndarray], t: int, reach: float
) -> None:
    """A bar a term at frame t, of one scale: `reach` is the whole width on either side of 0."""
    left, right = LABEL, canvas.shape[1] - 90
    signed = any(np.min(v) < 0 for v in terms.values())
    zero = (left + right) // 2 if signed else left
    for i, (name, values) in enumerate(terms.items()):
        y = top + i * ROW
        end = zero + round(float(values[t]) / reach * (right - zero))
        cv2.rectangle(canvas, (left, y + 4), (right, y + ROW - 6), (240, 240, 240), -1)
        colour = _colour(TERM_COLOURS[i % len(TERM_COLOURS)])
        first, last = sorted((zero, end))
        cv2.rectangle(canvas, (first, y + 4), (last, y + ROW - 6), colour, -1)
        cv2.line(canvas, (zero, y + 1), (zero, y + ROW - 3), INK, 1)
        _text(canvas, shorten(name, 22).replace("…", ".."), MARGIN, y + ROW - 8, size=0.5)
        _text(canvas, f"{values[t]:.3g}", right + 10, y + ROW - 8, size=0.5)


def write_annotated(
    path: str | Path, clip: ScoredFrames, spans: np.ndarray, fps: float = 10.0
) -> Path:
    """Writes the annotated clip (h264, yuv420p, even sides) and returns its path; nobody ever sees
    half a file.

    clip: terms of [T] parts in the score; spans [S, 2] abnormal frames, half-open; fps of the clip.
    Raises DataError for lengths that differ.
    """
    clip.require_equal_lengths(str(path))
    if not fps > 0:
        raise DataError(
            f"{path}: {fps} frames a second, expected a number above 0; give the rate the clip is"
            " to be shown at"
        )
    frames, maps = clip.frames, clip.maps
    terms = {name: np.asarray(values, np.float64) for name, values in clip.terms.items()}
    scores = np.asarray(clip.scores, np.float64)
    labels = labels_from_spans(spans, len(frames)).astype(bool)
    height, width = rgb(frames[0]).shape[:2]
    low, high = clip.ends()
    reach = max((float(np.abs(v).max()) for v in terms.values()), default=1.0) or 1.0
    rows, columns = size_of(height, width, len(terms))

    def picture(t: int) -> np.ndarray:
        """uint8 [rows, columns, 3] of frame t."""
        canvas = np.full((rows, columns, 3), PAPER, np.uint8)
        below = height * scale_of(width)
        _draw_frame(canvas, overlay(frames[t], maps[t], low, high), t, fps, bool(labels[t]))
        _draw_curve(canvas, below, scores, labels, t)
        _draw_terms(canvas, below + CURVE, terms, t, reach)
        return canvas

    def write(file: BinaryIO) -> None:
        """Encodes every picture into the open file."""
        with av.open(file, "w", format="mp4") as container:
            rate, options = Fraction(fps).limit_denominator(1001), {"crf": str(CRF)}
            options["preset"] = "veryfast"
            stream = container.add_stream("libx264", rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = columns, rows, "yuv420p"
            for t in range(len(frames)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(t), format="rgb24")))
            container.mux(stream.encode())

    return atomically(path, write)
