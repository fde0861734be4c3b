"""What the page is told of one scored video: its units, alarms, truth, and the arrays of its
details, all of it JSON.

A clip is a dict, read by report.js:
  name, unit ('s' or 'frame': what times are counted in), duration, bounded (scores in [0, 1])
  start, end, score [N]   contributions {name: [N]}   alarms [{start, end, peak, peak_time}]   spans
  [[start, end], ..] or null   label 0, 1 or null descriptions [[time, text], ..]   missing
  [modality]   notes [text: what could not be shown] graph {size, units, low, high, data} or
  null   heat {rows, columns, time [H], data} or null   (data: base64 of bytes 0 .. 255, row by row)
  boxes {size [width, height], first [N + 1], highest [N], track [M], level (base64 of a byte a box:
  how unusual), data (base64 of int16 x1, y1, x2, y2)} or null
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.arrays import load_npz
from gfvad.base.errors import DataError
from gfvad.measure.alarms import GAP, find_alarms
from gfvad.measure.score_result import Boxes, VideoScores

Clip = dict[str, Any]
GRAPH_SIDE = 256  # cells; a larger graph is shown by the means of blocks
MOST_BOXES = 400_000  # of a video; of more of them those alone that scores come from
HEAT_BYTES = 4_000_000  # of a video's heat maps; more of them are thinned out in time
SPARKS = 64  # points of a sparkline
ALARM = ("start", "end", "peak", "peak_time")
DIGITS = 5  # significant ones of scores and contributions


class Raised(NamedTuple):
    """From which score on there is an alarm, and how long a pause does not end it."""

    threshold: float
    gap: float = GAP  # seconds


def clip_of(v: VideoScores, alarm: Raised | None, bounded: bool, unit: str = "s") -> Clip:
    """The clip of a video's scores; no alarms without a threshold."""
    alarms = [] if alarm is None else find_alarms(v, *alarm)
    duration = max(float(v.end[-1]) if len(v.end) else 0.0, 1e-3)
    return {
        "name": v.name,
        "unit": unit,
        "duration": duration,
        "bounded": bounded,
        "start": numbers(v.start, 7),
        "end": numbers(v.end, 7),
        "score": numbers(v.score),
        "contributions": {name: numbers(x) for name, x in v.contributions.items()},
        "alarms": [{key: getattr(alarm, key) for key in ALARM} for alarm in alarms],
        "spans": None if v.spans is None else [[float(s), float(e)] for s, e in v.spans],
        "label": v.label,
        "descriptions": [[float(t), text] for t, text in sorted(v.descriptions)],
        "missing": list(v.missing),
        "notes": [],
        "graph": None if v.graph is None else graph_of(v.graph),
        "heat": None if v.heat is None else heat_of(v.heat, v.heat_time),
        "boxes": None if v.boxes is None else boxes_of(v.boxes),
    }


def line_of(clip: Clip) -> dict[str, Any]:
    """A clip's line in the list of videos: what it is sorted, filtered and drawn by."""
    score = np.asarray(clip["score"], np.float64)
    peak = int(np.argmax(score)) if len(score) else 0
    middle = (clip["start"][peak] + clip["end"][peak]) / 2 if len(score) else 0.0
    return {
        "name": clip["name"],
        "unit": clip["unit"],
        "duration": clip["duration"],
        "label": clip["label"],
        "peak": float(score[peak]) if len(score) else 0.0,
        "peak_time": middle,
        "alarms": len(clip["alarms"]),
        "spark": numbers(pooled(score, clip["start"], clip["end"]), 3),
    }


def pooled(score: np.ndarray, start: Sequence[float], end: Sequence[float]) -> np.ndarray:
    """Scores [N] of units -> their highest in each of at most SPARKS equal parts of the video:
    no peak is lost."""
    if not len(score):
        return score
    parts = min(SPARKS, len(score) * 4)
    whole = max(end[-1], 1e-9)
    first = np.clip((np.asarray(start) / whole * parts).astype(int), 0, parts - 1)
    last = np.clip(np.ceil(np.asarray(end) / whole * parts).astype(int), first + 1, parts)
    found = np.zeros(parts)
    for a, b, value in zip(first, last, score, strict=True):
        found[a:b] = np.maximum(found[a:b], value)
    return found


def numbers(x: Any, digits: int = DIGITS) -> list[float]:
    """Numbers of so many significant digits, for JSON; what is not finite becomes 0."""
    finite = np.nan_to_num(np.asarray(x, np.float64), posinf=0.0, neginf=0.0)
    return [float(f"{value:.{digits}g}") for value in finite.tolist()]


def graph_of(graph: np.ndarray) -> dict[str, Any] | None:
    """Relations [N, N] -> bytes of their own range, at most GRAPH_SIDE a side; None for an empty
    one."""
    graph = np.nan_to_num(np.asarray(graph, np.float64))
    units = len(graph)
    if graph.ndim != 2 or not units or graph.shape[1] != units:
        return None
    if units > GRAPH_SIDE:
        edges = np.linspace(0, units, GRAPH_SIDE + 1).astype(int)
        sums = np.add.reduceat(np.add.reduceat(graph, edges[:-1], 0), edges[:-1], 1)
        graph = sums / np.outer(np.diff(edges), np.diff(edges))
    low, high = float(graph.min()), float(graph.max())
    level = (graph - low) / (high - low) if high > low else np.zeros_like(graph)
    data = packed(np.round(255 * level))
    return {"size": len(graph), "units": units, "low": low, "high": high, "data": data}


def heat_of(heat: np.ndarray, time: np.ndarray | None) -> dict[str, Any] | None:
    """Maps [H, g, g'] at their times [H] -> bytes, every k-th map where all would be too much;
    None where there is none."""
    if heat.ndim != 3 or time is None or not heat.size or len(time) != len(heat):
        return None
    step = -(-heat.size // HEAT_BYTES)
    heat, time = heat[::step], np.asarray(time)[::step]
    _, rows, columns = heat.shape
    return {"rows": rows, "columns": columns, "time": numbers(time, 7), "data": packed(heat)}


def boxes_of(boxes: Boxes) -> dict[str, Any] | None:
    """Boxes of the units -> whole pixels; where all would be too many, those alone that scores come
    from. None where there is none, or the arrays do not fit each other."""
    first, highest, box = (np.asarray(x) for x in (boxes.first, boxes.highest, boxes.box))
    count = len(box)
    fits = box.shape == (count, 4) and len(boxes.track) == len(boxes.score) == count > 0
    fits = fits and len(first) == len(highest) + 1 and first[0] == 0 and first[-1] == count
    if not fits or np.any(np.diff(first) < 0) or np.any(highest >= count):
        return None
    track, score = np.asarray(boxes.track), np.nan_to_num(np.asarray(boxes.score, np.float64))
    if count > MOST_BOXES:
        kept, seen = np.flatnonzero(highest >= 0), highest[highest >= 0]
        first = np.concatenate([[0], np.cumsum(highest >= 0)])
        box, track, score = box[seen], track[seen], score[seen]
        highest = np.full(len(highest), -1)
        highest[kept] = np.arange(len(kept))
    low, high = np.quantile(score, (0.5, 1.0)) if len(score) else (0.0, 1.0)
    level = np.clip((score - low) / max(high - low, 1e-9), 0, 1)
    width, height = (int(x) for x in boxes.size)
    if width <= 0 or height <= 0:  # what is known of the picture
        width, height = (int(np.ceil(x)) for x in box[:, 2:].max(0))
    whole = np.clip(np.round(np.nan_to_num(box)), -32768, 32767).astype("<i2")
    return {
        "size": [max(width, 1), max(height, 1)],
        "first": first.tolist(),
        "highest": highest.tolist(),
        "track": track.tolist(),
        "level": packed(np.round(255 * level)),
        "data": base64.b64encode(np.ascontiguousarray(whole).tobytes()).decode(),
    }


def packed(x: np.ndarray) -> str:
    """Values 0 .. 255 as base64."""
    return base64.b64encode(np.ascontiguousarray(x, np.uint8).tobytes()).decode()


def read_details(path: Path) -> tuple[Mapping[str, np.ndarray], str]:
    """(arrays, '') of details/NAME.npz, or ({}, why not)."""
    try:
        return load_npz(path), ""
    except DataError as error:
        return {}, f"Graph, heat maps and boxes are missing: {path.name} cannot be read ({error})."
