"""What the page is told of one scored video: its units, alarms, truth, and the arrays of its
details, all of it JSON.

A clip is a dict, read by report.js:
  name, unit ('s' or 'frame': what times are counted in), duration, bounded (scores in [0, 1])
  start, end, score [N]   contributions {name: [N]}   alarms [{start, end, peak, peak_time}]   spans
  [[start, end], ..] or null   label 0, 1 or null descriptions [[time, text], ..]   missing
  [modality]   notes [text: what could not be shown] graph {size, units, low, high, data} or
  null   heat {rows, columns, time [H], data} or null   (data: base64 of bytes 0 .. 255, row by row)
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.arrays import load_npz
from gfvad.base.errors import DataError
from gfvad.measure.alarms import find_alarms
from gfvad.measure.score_result import VideoScores

Clip = dict[str, Any]
GRAPH_SIDE = 256  # cells; a larger graph is shown by the means of blocks
HEAT_BYTES = 4_000_000  # of a video's heat maps; more of them are thinned out in time
SPARKS = 64  # points of a sparkline
ALARM = ("start", "end", "peak", "peak_time")
DIGITS = 5  # significant ones of scores and contributions


def clip_of(v: VideoScores, threshold: float | None, bounded: bool, unit: str = "s") -> Clip:
    """The clip of a video's scores; no alarms without a threshold."""
    alarms = [] if threshold is None else find_alarms(v, threshold)
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


def packed(x: np.ndarray) -> str:
    """Values 0 .. 255 as base64."""
    return base64.b64encode(np.ascontiguousarray(x, np.uint8).tobytes()).decode()


def read_details(path: Path) -> tuple[Mapping[str, np.ndarray], str]:
    """(arrays, '') of details/NAME.npz, or ({}, why not)."""
    try:
        return load_npz(path), ""
    except DataError as error:
        return {}, f"Graph and heat maps are missing: {path.name} cannot be read ({error})."
