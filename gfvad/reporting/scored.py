"""The output of scoring, for a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.files import read_json
from gfvad.base.types import DataError
from gfvad.measure.alarms import GAP
from gfvad.measure.score_result import Boxes, VideoScores
from gfvad.reporting.clips import Clip, Raised, clip_of, read_details
from gfvad.reporting.contents import DAMAGED, Contents, require_shown, whole
from gfvad.reporting.videos import Source, size_of
from gfvad.scoring.files import BOXES, FORMAT, SCORES_JSON

NEEDED = ("name", "start", "end", "score")  # of a video in scores.json


def scored(folder: Path, found: Mapping[str, Path | None]) -> Contents:
    """The output of scoring."""
    path = folder / SCORES_JSON
    # one damaged entry does not stop the others
    tree = read_json(path, "what gfvad score wrote", finite=False)
    if tree.get("format") != FORMAT:
        raise DataError(
            f"{path}: format {tree.get('format')!r}, expected {FORMAT}: score again with this"
            " version"
        )
    with whole(path, "score again"):
        model, threshold = dict(tree["model"]), float(tree["threshold"])
        raised = Raised(threshold, float(model.get("alarm_gap", GAP)))
        entries = list(tree["videos"])
        rule = filter(None, [str(model.get("threshold_rule") or "")])
        created = str(tree.get("created", "")).replace("T", " ").replace("+00:00", " UTC")
        facts = [
            ("model", str(model.get("name", ""))),
            ("modalities", ", ".join(model.get("modalities", ()))),
            ("scored", created),
            ("threshold", ": ".join([f"{threshold:.3g}", *rule])),
        ]
        failed = [(str(f["path"]), str(f["reason"])) for f in tree.get("failed", ())]
    # files of earlier versions do not say it
    bounded = bool(model["bounded"]) if "bounded" in model else all(map(in_unit_interval, entries))
    clips, sources, damaged = [], [], []
    for number, entry in enumerate(entries):
        name = f"video {number}"
        if isinstance(entry, dict):
            name = str(entry.get("name", name))
        try:
            with whole(path, "score again", f"video {name!r}"):
                clip, source = scored_clip(path, entry, raised, bounded, found)
                require_shown(clip)
        except DataError as error:
            damaged.append((name, str(error)))
            continue
        damaged += [(name, note) for note in clip["notes"]]
        clips.append(clip)
        sources.append(source)
    if damaged and not clips:
        others = f" (and so for all {len(entries)} videos)" if len(entries) > 1 else ""
        raise DataError(damaged[0][1] + others)
    facts = [(name, value) for name, value in facts if value]
    return Contents(
        "scores", "Anomaly scores", facts, threshold, clips, sources, failed, [], [], damaged
    )


def in_unit_interval(entry: Any) -> bool:
    """Whether the scores of an entry lie in [0, 1]; one that is damaged says nothing against it."""
    try:
        score = np.asarray(entry["score"], np.float64)
    except DAMAGED:
        return True
    return not ((score < 0) | (score > 1)).any()


def scored_clip(
    path: Path,
    entry: Mapping[str, Any],
    alarm: Raised,
    bounded: bool,
    found: Mapping[str, Path | None],
) -> tuple[Clip, Source]:
    """One entry of scores.json. Raises DataError where it lacks something or its lists differ in
    length."""
    if missing := [key for key in NEEDED if key not in entry]:
        raise DataError(
            f"{path}: video {entry.get('name', '?')!r} lacks {', '.join(missing)}; expected"
            f" {', '.join(NEEDED)} of every video: score again"
        )
    kinds = (("name", str), ("path", str | None), ("label", int | None))
    if wrong := [key for key, kind in kinds if not isinstance(entry.get(key), kind)]:
        odd = ", ".join(f"{key} {entry[key]!r}" for key in wrong)
        raise DataError(
            f"{path}: video {entry['name']!r} has {odd}; expected text, text, and 0 or 1: score"
            " again"
        )
    parts = entry.get("contributions", {}).items()
    contributions = {k: np.asarray(x, np.float64) for k, x in parts}
    start, end, score = (np.asarray(entry[key], np.float64) for key in ("start", "end", "score"))
    beside = {"start": start, "end": end, **contributions}
    lengths = {k: len(x) for k, x in beside.items()}
    if wrong := {k: n for k, n in lengths.items() if n != len(score)}:
        raise DataError(
            f"{path}: video {entry['name']!r} has {len(score)} scores but {wrong}; expected one of"
            " each a unit: score again"
        )
    if not all(np.isfinite(x).all() and x.ndim == 1 for x in (score, *beside.values())):
        raise DataError(
            f"{path}: video {entry['name']!r} has numbers that are not finite, or lists in lists;"
            " expected one finite number a unit: score again"
        )
    details = entry.get("details")
    arrays, note = read_details(path.parent / details) if details else ({}, "")
    spans, label = entry.get("spans"), entry.get("label")
    descriptions = tuple((float(t), str(text)) for t, text in entry.get("descriptions", ()))
    spans = None if spans is None else tuple(map(tuple, spans))
    fps, frames = float(entry.get("fps") or 0), int(entry.get("frames") or 0)
    name, place, missing = entry["name"], entry.get("path") or "", tuple(entry.get("missing", ()))
    video = VideoScores(name, place, fps, frames, start, end, score, contributions)
    video = video._replace(missing=missing, descriptions=descriptions, spans=spans, label=label)
    video = video._replace(**{key: arrays.get(key) for key in ("graph", "heat", "heat_time")})
    known = Path(video.path) if video.path else None
    if known is None or not known.exists():
        known = found.get(video.name) or known
    if all(key in arrays for key in BOXES.values()):
        video = video._replace(boxes=boxes_of_details(arrays, known))
    clip = clip_of(video, alarm, bounded)
    clip["notes"] += [note] if note else []
    return clip, Source(known, video.fps)


def boxes_of_details(arrays: Mapping[str, np.ndarray], video: Path | None) -> Boxes:
    """Boxes out of the arrays of details; where those do not say how large the pictures are, the
    video does."""
    width, height = (int(x) for x in np.resize(arrays[BOXES["size"]], 2))
    found = {field: arrays[key] for field, key in BOXES.items() if field != "size"}
    return Boxes((width, height) if width and height else size_of(video), **found)
