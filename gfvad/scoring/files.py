"""What scoring leaves behind, of files and of a stream: tables to read, scores.json and details/
for the report, scores.npz for other programs; each whole or not at all.

scores.csv    video, unit, start, end (seconds), score, alarm (0 or 1), a column a modality or term:
              what the score (weak models: its logit) would lack without it; of models that look
              at things in the picture: object, x1, y1, x2, y2 (pixels) of what the score comes from
alarms.csv    video, start, end, peak, peak_time (seconds), the same columns at the peak
scores.npz    VIDEO: float32 [T], the score of each frame (of its unit)
scores.json   the tables and what a report needs besides: model, threshold and how it was made,
              lengths, true spans where known, descriptions, files that failed
details/      VIDEO.npz: graph float16 [N, N]; heat uint8 [H, g, g'] with heat_time [H]; boxes (the
              fields of `Boxes`: box_size, box_first, box, box_track, box_score, box_highest); where
              there are such
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.files import atomically, read_json, write_json, write_table
from gfvad.base.owned import Owned
from gfvad.base.run_files import is_no_runs_scores
from gfvad.base.secrets import redact
from gfvad.measure import results
from gfvad.measure.alarms import GAP, Alarm, find_alarms
from gfvad.measure.score_result import Boxes, Culprit, UnitScore, VideoScores

FORMAT = 1
SCORES_CSV, ALARMS_CSV, SCORES_JSON, DETAILS = "scores.csv", "alarms.csv", "scores.json", "details"
SCORES_NPZ = "scores.npz"
NAMES = (SCORES_CSV, ALARMS_CSV, SCORES_NPZ, SCORES_JSON)
COLUMNS = ("video", "unit", "start", "end", "score", "alarm")
CULPRIT = ("object", "x1", "y1", "x2", "y2")
ARRAYS = ("graph", "heat", "heat_time")
BOXES = {name: "box" if name == "box" else f"box_{name}" for name in Boxes._fields}
ALARM_COLUMNS = ("video", "start", "end", "peak", "peak_time")


def owned(out: Path) -> Owned:
    """What scoring wrote into a folder, by a file or a stream."""
    return Owned(out, "scores", "gfvad score", is_ours)


def is_ours(path: Path) -> bool:
    """Whether a file is of scoring by its content (of versions that kept no record, or of a
    stream that was killed)."""
    if path.name in (SCORES_CSV, ALARMS_CSV):
        with open(path, encoding="utf-8") as file:
            return file.readline(4096).startswith(
                ",".join(COLUMNS if path.name == SCORES_CSV else ALARM_COLUMNS)
            )
    if path.name == SCORES_JSON:
        tree = read_json(path, "scores")
        return tree["format"] == FORMAT and {"model", "threshold", "videos"} <= set(tree)
    if path.name == SCORES_NPZ:
        return is_no_runs_scores(path)
    if path.parent.name == DETAILS and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inside = set(archive.namelist())
        return bool(inside) and inside <= {f"{name}.npy" for name in (*ARRAYS, *BOXES.values())}
    return False


def details_of(name: str) -> str:
    """Where the details of a video lie below the folder."""
    return f"{DETAILS}/{name.replace('/', '__')}.npz"


class Columns(NamedTuple):
    """Columns of both tables behind those that every model has."""

    names: Sequence[str]  # of contributions
    culprit: bool = False  # whether the model knows what in the picture a score comes from

    @property
    def header(self) -> list[str]:
        """What they are called."""
        return [*self.names, *(CULPRIT if self.culprit else ())]

    def cells(self, contributions: Mapping[str, float], culprit: Culprit | None) -> list[str]:
        """A line of them; '' for what is not there."""
        known = [f"{contributions[n]:.6g}" if n in contributions else "" for n in self.names]
        if not self.culprit:
            return known
        if culprit is None:
            return known + [""] * len(CULPRIT)
        return [*known, str(culprit.track), *(f"{x:.6g}" for x in culprit.box)]


def score_row(
    video: str, number: int, unit: UnitScore, threshold: float, columns: Columns
) -> list[Any]:
    """A unit's line of scores.csv."""
    place = [video, number, f"{unit.start:.3f}", f"{unit.end:.3f}"]
    cells = columns.cells(unit.contributions, unit.culprit)
    return [*place, f"{unit.score:.6g}", int(unit.score >= threshold), *cells]


def alarm_row(alarm: Alarm, columns: Columns) -> list[Any]:
    """A line of alarms.csv; what a peak has no contribution of is 0."""
    when = [alarm.video, f"{alarm.start:.3f}", f"{alarm.end:.3f}"]
    known = {n: alarm.contributions.get(n, 0.0) for n in columns.names}
    cells = columns.cells(known, alarm.culprit)
    return [*when, f"{alarm.peak:.6g}", f"{alarm.peak_time:.3f}", *cells]


def write_scores(
    out: Path,
    model: Mapping[str, Any],
    threshold: float,
    videos: Sequence[VideoScores],
    failed: Iterable[tuple[str, str]] = (),
    tables: bool = True,
) -> Path:
    """Writes all of it; returns the path of scores.json, which comes last.

    model: kind (the task's), name, path, modalities, threshold_rule, alarm_gap (seconds; 1 where
    it says none), bounded (scores in [0, 1]);
    failed: (path, reason) of files that gave no scores; tables: False where a stream has written
    them. Raises DataError where the folder cannot be written to.
    """
    names = list(dict.fromkeys(name for v in videos for name in v.contributions))
    columns = Columns(names, any(v.boxes is not None for v in videos))
    units = ((v, i) for v in videos for i in range(len(v.score)))
    if tables:
        rows = [score_row(v.name, i, v.unit(i), threshold, columns) for v, i in units]
        write_table(out / SCORES_CSV, [*COLUMNS, *columns.header], rows)
        gap = float(model.get("alarm_gap", GAP))
        alarms = [alarm_row(a, columns) for v in videos for a in find_alarms(v, threshold, gap)]
        write_table(out / ALARMS_CSV, [*ALARM_COLUMNS, *columns.header], alarms)
    results.write_scores(out / SCORES_NPZ, {v.name: v.frame_scores() for v in videos})
    entries = [entry(out, v) for v in videos]
    tree = {
        "format": FORMAT,
        "model": dict(model),
        "threshold": threshold,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "videos": entries,
        "failed": [{"path": redact(str(path)), "reason": redact(why)} for path, why in failed],
    }
    return write_json(out / SCORES_JSON, tree, indent=None)


def entry(out: Path, v: VideoScores) -> dict[str, Any]:
    """A video in scores.json; writes its details."""
    details: dict[str, Any] = {} if v.graph is None else {"graph": v.graph.astype(np.float16)}
    if v.heat is not None:
        details |= {"heat": v.heat, "heat_time": v.heat_time}
    if v.boxes is not None:
        details |= {BOXES[name]: np.asarray(x) for name, x in v.boxes._asdict().items()}
    path = None
    if details:
        path, buffer = details_of(v.name), io.BytesIO()
        np.savez_compressed(buffer, **details)
        atomically(out / path, lambda file: file.write(buffer.getvalue()))
    return {
        "name": v.name,
        "path": v.path,
        "fps": float(v.fps),
        "frames": int(v.frames),
        "duration": float(v.end[-1]) if len(v.end) else 0.0,
        "start": rounded(v.start, 3),
        "end": rounded(v.end, 3),
        "score": rounded(v.score, 6),
        "contributions": {name: rounded(x, 5) for name, x in v.contributions.items()},
        "spans": None if v.spans is None else [list(map(float, s)) for s in v.spans],
        "label": v.label,
        "descriptions": [[float(t), text] for t, text in v.descriptions],
        "details": path,
        "missing": list(v.missing),
    }


def rounded(x: np.ndarray, digits: int) -> list[float]:
    """Numbers for JSON."""
    return np.round(np.asarray(x, np.float64), digits).tolist()


def read_stream(out: Path, names: Sequence[str]) -> tuple[np.ndarray, ...]:
    """(start, end, score, contributions [names, N]) of the one video in a folder's scores.csv, as
    they stand there."""
    with open(out / SCORES_CSV, encoding="utf-8", newline="") as file:
        end = len(COLUMNS) + len(names)
        rows = [[*row[2:5], *row[len(COLUMNS) : end]] for row in csv.reader(file)][1:]
    columns = np.array(rows, np.float64).reshape(-1, 3 + len(names)).T
    return columns[0], columns[1], columns[2], columns[3:]
