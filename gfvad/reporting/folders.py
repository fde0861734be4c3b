"""What a folder to report on holds: scores of videos, a run, or several runs."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.files import lies_at, read_json, require_regular
from gfvad.base.types import ConfigError, DataError
from gfvad.data.annotations import spans_of
from gfvad.data.frames.decode import DEFAULT_FPS
from gfvad.data.frames.finding import is_video, suffix_of
from gfvad.data.frames.layouts import IMAGES
from gfvad.measure import summary, tables
from gfvad.measure.results import find_results, left_out, read_results, read_scores
from gfvad.measure.score_result import VideoScores
from gfvad.reporting.clips import Clip, clip_of, line_of, read_details
from gfvad.reporting.videos import Source, rate_of
from gfvad.scoring.files import FORMAT, SCORES_JSON

RESULTS, RUN_SCORES, CALIBRATION = "results.json", "scores.npz", "calibration.json"
DAMAGED = (
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    MemoryError,
    EOFError,
    RuntimeError,
    OSError,
    zipfile.BadZipFile,
    zlib.error,
)
NEEDED = ("name", "start", "end", "score")  # of a video in scores.json


class Contents(NamedTuple):
    """What a page is made of."""

    kind: str  # 'scores' | 'run' | 'runs'
    title: str
    facts: list[tuple[str, str]]  # (name, value), the line below the title
    threshold: float | None
    clips: list[Clip]
    sources: list[Source]  # of the clips, in their order
    failed: list[tuple[str, str]]  # (path, reason)
    tables: list[dict[str, Any]]  # {title, header, rows, marked}
    settings: list[dict[str, Any]]  # of several runs: {label, dataset, metric, seeds, values}
    damaged: list[tuple[str, str]] = []  # (what, reason) of what could not be read, or not wholly


def read_folder(folder: Path, video_root: Path | None = None) -> Contents:
    """Raises DataError where the folder holds nothing to report on, or what it holds is damaged."""
    if not folder.is_dir():
        raise DataError(
            f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}; expected one"
            f" with scores ({SCORES_JSON}), a run ({RESULTS}) or several runs"
        )
    found = names_below(video_root) if video_root else {}
    if lies_at(folder / SCORES_JSON):
        return scored(folder, found)
    if lies_at(folder / RESULTS):
        return one_run(folder, found)
    paths, without = find_results(folder)
    if paths:
        several = several_runs(folder, paths)
        return (
            several._replace(facts=[*several.facts, ("left out", left_out(without))])
            if without
            else several
        )
    inside = sorted(path.name for path in folder.iterdir())
    raise DataError(
        f"{folder}: no {SCORES_JSON} (of python -m gfvad.score), no {RESULTS} (of a run) and none"
        " in its folders; found"
        f" {', '.join(inside[:8]) + (' ...' if len(inside) > 8 else '') or 'nothing'}: give the"
        " folder of one of them"
    )


def names_below(root: Path) -> dict[str, Path | None]:
    """Name -> video file or folder of frames below `root`: by its path with '__' for '/', and by
    its own name (None: several have it)."""
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; expected the one that holds the videos: give another"
            " --video-root"
        )
    paths = []
    for place, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        paths += [
            Path(place, f)
            for f in sorted(files)
            if not f.startswith(".") and is_video(Path(place, f))
        ]
        if any(Path(f).suffix.lower() in IMAGES for f in files):
            paths.append(Path(place))
    found: dict[str, Path | None] = {}
    for path in paths:
        name = path.name.removesuffix(suffix_of(path.name)) if path.is_file() else path.name
        found[name] = None if name in found else path
    for path in paths:
        inside = path.relative_to(root)
        text = str(inside)
        found[
            "__".join(Path(text.removesuffix(suffix_of(text)) if path.is_file() else text).parts)
        ] = path
    return found


def scored(folder: Path, found: Mapping[str, Path | None]) -> Contents:
    """The output of scoring."""
    path = folder / SCORES_JSON
    # one damaged entry does not stop the others
    tree = read_json(path, "what python -m gfvad.score wrote", finite=False)
    if tree.get("format") != FORMAT:
        raise DataError(
            f"{path}: format {tree.get('format')!r}, expected {FORMAT}: score again with this"
            " version"
        )
    with whole(path, "score again"):
        model, threshold, entries = (
            dict(tree["model"]),
            float(tree["threshold"]),
            list(tree["videos"]),
        )
        created = str(tree.get("created", "")).replace("T", " ").replace("+00:00", " UTC")
        facts = [
            ("model", str(model.get("name", ""))),
            ("modalities", ", ".join(model.get("modalities", ()))),
            ("scored", created),
            (
                "threshold",
                f"{threshold:.3g}"
                + (f": {model['threshold_rule']}" if model.get("threshold_rule") else ""),
            ),
        ]
        failed = [(str(f["path"]), str(f["reason"])) for f in tree.get("failed", ())]
    clips, sources, damaged = [], [], []
    for number, entry in enumerate(entries):
        name = (
            str(entry.get("name", f"video {number}"))
            if isinstance(entry, dict)
            else f"video {number}"
        )
        try:
            with whole(path, "score again", f"video {name!r}"):
                clip, source = scored_clip(
                    path, folder, entry, threshold, model.get("kind") == "weak", found
                )
                require_shown(clip)
        except DataError as error:
            damaged.append((name, str(error)))
            continue
        damaged += [(name, note) for note in clip["notes"]]
        clips.append(clip)
        sources.append(source)
    if damaged and not clips:
        raise DataError(
            damaged[0][1] + (f" (and so for all {len(entries)} videos)" if len(entries) > 1 else "")
        )
    return Contents(
        "scores",
        "Anomaly scores",
        [(k, v) for k, v in facts if v],
        threshold,
        clips,
        sources,
        failed,
        [],
        [],
        damaged,
    )


def require_shown(clip: Clip) -> None:
    """Raises ValueError or TypeError for a clip that a page cannot hold: a number in it is not
    finite, or a thing is no text."""
    json.dumps([clip, line_of(clip)], allow_nan=False)


@contextlib.contextmanager
def whole(path: Path, redo: str, what: str = "it") -> Iterator[None]:
    """Turns what a damaged tree leads to into a DataError that names the file."""
    try:
        yield
    except DataError:
        raise
    except DAMAGED as error:
        raise DataError(
            f"{path}: {what} is damaged ({type(error).__name__}: {error}); expected what this"
            f" project wrote: {redo}"
        ) from None


def scored_clip(
    path: Path,
    folder: Path,
    entry: Mapping[str, Any],
    threshold: float,
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
    if wrong := [
        key
        for key, kind in (("name", str), ("path", (str, type(None))), ("label", (int, type(None))))
        if not isinstance(entry.get(key), kind)
    ]:
        raise DataError(
            f"{path}: video {entry['name']!r} has"
            f" {', '.join(f'{key} {entry[key]!r}' for key in wrong)}; expected text, text, and 0 or"
            " 1: score again"
        )
    contributions = {
        k: np.asarray(x, np.float64) for k, x in entry.get("contributions", {}).items()
    }
    start, end, score = (np.asarray(entry[key], np.float64) for key in ("start", "end", "score"))
    lengths = {
        "start": len(start),
        "end": len(end),
        **{k: len(x) for k, x in contributions.items()},
    }
    if wrong := {k: n for k, n in lengths.items() if n != len(score)}:
        raise DataError(
            f"{path}: video {entry['name']!r} has {len(score)} scores but {wrong}; expected one of"
            " each a unit: score again"
        )
    if not all(
        np.isfinite(x).all() and x.ndim == 1 for x in (start, end, score, *contributions.values())
    ):
        raise DataError(
            f"{path}: video {entry['name']!r} has numbers that are not finite, or lists in lists;"
            " expected one finite number a unit: score again"
        )
    arrays, note = read_details(folder / entry["details"]) if entry.get("details") else ({}, "")
    spans, label = entry.get("spans"), entry.get("label")
    descriptions = tuple((float(t), str(text)) for t, text in entry.get("descriptions", ()))
    spans = None if spans is None else tuple(map(tuple, spans))
    video = VideoScores(
        entry["name"],
        entry.get("path") or "",
        float(entry.get("fps") or 0),
        int(entry.get("frames") or 0),
        start,
        end,
        score,
        contributions,
        arrays.get("graph"),
        arrays.get("heat"),
        arrays.get("heat_time"),
        tuple(entry.get("missing", ())),
        descriptions,
        spans,
        label,
    )
    clip = clip_of(video, threshold, bounded)
    clip["notes"] += [note] if note else []
    known = Path(video.path) if video.path else None
    if known is None or not known.exists():
        known = found.get(video.name) or known
    return clip, Source(known, video.fps)


def one_run(folder: Path, found: Mapping[str, Path | None]) -> Contents:
    """A trained run: protocol numbers, and the frame scores of its test videos with their truth
    where the run's data is at hand."""
    with whole(folder / RESULTS, "evaluate the run again (--mode=evaluate)"):
        results, damaged = read_results(folder / RESULTS), []
    scores, threshold, rule = {}, None, ""
    try:
        if os.path.lexists(folder / RUN_SCORES):
            with whole(folder / RUN_SCORES, "evaluate the run again (--mode=evaluate)"):
                scores = read_scores(folder / RUN_SCORES)
    except DataError as error:
        damaged.append((RUN_SCORES, str(error)))
    try:
        threshold, rule = calibration_of(folder)
    except DataError as error:
        damaged.append((CALIBRATION, str(error)))
    counted = results.get("n_videos")
    if scores and isinstance(counted, int) and len(scores) < counted:
        note = (
            f"{folder / RUN_SCORES}: scores of {len(scores)} videos, {RESULTS} is of {counted};"
            " expected all of them: evaluate the run again (--mode=evaluate)"
        )
        damaged.append((RUN_SCORES, note))
    truth = truth_of(folder) if scores else {}
    bounded = all(
        not s.size or (s.dtype.kind == "f" and s.min() >= 0 and s.max() <= 1)
        for s in scores.values()
    )
    clips, sources = [], []
    for name, score in scores.items():
        path = found.get(name)
        fps = rate_of(path)
        try:
            with whole(
                folder / RUN_SCORES, "evaluate the run again (--mode=evaluate)", f"video {name!r}"
            ):
                clip = frames_clip(name, score, truth.get(name), fps, threshold, bounded)
                require_shown(clip)
        except DataError as error:
            damaged.append((name, str(error)))
            continue
        clips.append(clip)
        sources.append(Source(path, fps or DEFAULT_FPS))
    with whole(folder / RESULTS, "evaluate the run again (--mode=evaluate)"):
        shown = [s._asdict() for s in tables.sections(results)]
        first, *rest = tables.headline_lines(results)
    facts = [("", first.removeprefix("HEADLINE").strip()), *(("", line) for line in rest)]
    facts += (
        [("threshold", f"{threshold:.3g}" + (f": {rule}" if rule else ""))]
        if threshold is not None
        else []
    )
    return Contents(
        "run",
        str(results.get("label") or folder.name),
        facts,
        threshold,
        clips,
        sources,
        [],
        shown,
        [],
        damaged,
    )


def frames_clip(
    name: str,
    score: np.ndarray,
    labels: np.ndarray | None,
    fps: float,
    threshold: float | None,
    bounded: bool,
) -> Clip:
    """Scores [T] of frames as units of equal scores; labels [T] or None; in seconds where fps is
    above 0, else in frames."""
    score = np.asarray(score, np.float64)
    edges = (
        np.r_[0, np.flatnonzero(np.diff(score)) + 1, len(score)] if len(score) else np.zeros(1, int)
    )
    rate = fps if fps > 0 else 1.0
    spans = None if labels is None else tuple((s / rate, e / rate) for s, e in spans_of(labels))
    label = None if labels is None else int(np.any(labels))
    video = VideoScores(
        name,
        "",
        fps,
        len(score),
        edges[:-1] / rate,
        edges[1:] / rate,
        score[edges[:-1]],
        {},
        spans=spans,
        label=label,
    )
    return clip_of(video, threshold, bounded, "s" if fps > 0 else "frame")


def calibration_of(folder: Path) -> tuple[float | None, str]:
    """(threshold, how it was made) of a run; (None, '') where it has none. Raises DataError for
    a damaged one."""
    path = folder / CALIBRATION
    if not lies_at(path):
        return None, ""
    with whole(path, "evaluate the run again (--mode=evaluate)"):
        tree = read_json(path, "the threshold of a run's alarms")
        return float(tree["threshold"]), str(tree.get("rule", ""))


def truth_of(folder: Path) -> dict[str, np.ndarray]:
    """Frame labels of a run's test videos; {} where its data is not at hand."""
    if not (folder / "config.json").is_file():
        return {}
    from gfvad.tasks import frame_labels

    try:
        return dict(frame_labels(folder))
    except (ConfigError, DataError, OSError):
        return {}


def several_runs(folder: Path, paths: Sequence[Path]) -> Contents:
    """Several runs: a table of settings with mean and spread over seeds, and one of the runs.
    Raises DataError as `summary.summarise`, and where all are damaged."""
    sound, damaged = [], []
    for path in paths:
        try:
            with whole(path, "evaluate the run again (--mode=evaluate)"):
                require_regular(path, "results.json of a run")
                summary.summarise([path])
                headline_cells(summary.read(path).get("headline") or {})
            sound.append(path)
        except DataError as error:
            damaged.append((path.parent.name, str(error)))
    if not sound:
        raise DataError(
            f"{damaged[0][1]} (and so for all {len(paths)} runs)"
            if len(paths) > 1
            else damaged[0][1]
        )
    paths, rows = sound, summary.summarise(sound)
    metrics = [m for m in summary.COLUMNS if any(not np.isnan(row.values[m]).all() for row in rows)]
    header = ["dataset", "setting", "seeds", *(f"{tables.title(m)}, mean ± sd" for m in metrics)]
    cells = [
        [
            row.dataset,
            row.label,
            str(len(row.seeds)),
            *(summary.cell(row.values[m]) for m in metrics),
        ]
        for row in rows
    ]
    found = [
        {
            "title": (
                "Settings: micro frame metrics, last checkpoint, no normalisation, no smoothing"
            ),
            "header": header,
            "rows": cells,
            "marked": -1,
        }
    ]
    beside = [row for row in rows if row.beside]
    for row in beside:
        values = [[name, summary.cell(v)] for name, v in row.beside.items()]
        found.append(
            {
                "title": f"{row.dataset}, {row.label}: besides",
                "header": ["value", "mean ± sd"],
                "rows": values,
                "marked": -1,
            }
        )
    runs = [(path, summary.read(path)) for path in paths]
    lines = [
        [
            path.parent.name,
            str(r["dataset"]),
            str(r.get("label", "")),
            str(r["seed"]),
            *headline_cells(r.get("headline") or {}),
        ]
        for path, r in runs
    ]
    found.append(
        {
            "title": "Runs: headline of each",
            "header": ["folder", "dataset", "setting", "seed", "metric", "value", "95 % interval"],
            "rows": lines,
            "marked": -1,
        }
    )
    settings = [
        {
            "label": row.label,
            "dataset": row.dataset,
            "metric": tables.title(m),
            "seeds": list(row.seeds),
            "values": [None if np.isnan(v) else float(v) for v in row.values[m]],
        }
        for row in rows
        for m in metrics
    ]
    facts = [
        ("runs", str(len(paths))),
        ("settings", str(len(rows))),
        ("datasets", ", ".join(dict.fromkeys(row.dataset for row in rows))),
    ]
    return Contents(
        "runs",
        f"Runs in {folder.resolve().name}",
        facts,
        None,
        [],
        [],
        [],
        found,
        settings,
        damaged,
    )


def headline_cells(headline: Mapping[str, Any]) -> list[str]:
    """Metric, value and interval of a run's headline; dashes for what it lacks."""
    value, interval = headline.get("value"), headline.get("ci95")
    return [
        tables.title(headline.get("metric", "-")),
        "-" if value is None else f"{value:.4f}",
        f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "-",
    ]
