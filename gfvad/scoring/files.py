"""What scoring leaves behind: scores.csv and alarms.csv to read, scores.json and details/ for the
report; each whole or not at all.

scores.csv    video, unit, start, end (seconds), score, alarm (0 or 1), a column a modality or term:
              what the score (weak models: its logit) would lack without it
alarms.csv    video, start, end, peak, peak_time (seconds), the same columns at the peak
scores.json   the same and what a report needs besides: model, threshold and how it was made,
              lengths, true spans where known, descriptions, files that failed
details/      VIDEO.npz: graph float16 [N, N], heat uint8 [H, g, g'] with heat_time [H], where there
              are such
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.files import atomically, read_json, write_json, write_table
from gfvad.base.owned import Owned
from gfvad.base.secrets import redact
from gfvad.measure.alarms import find_alarms
from gfvad.measure.score_result import VideoScores

FORMAT = 1
SCORES_CSV, ALARMS_CSV, SCORES_JSON, DETAILS = "scores.csv", "alarms.csv", "scores.json", "details"
NAMES = (SCORES_CSV, ALARMS_CSV, SCORES_JSON)
COLUMNS = ("video", "unit", "start", "end", "score", "alarm")
ALARM_COLUMNS = ("video", "start", "end", "peak", "peak_time")


def owned(out: Path) -> Owned:
    """What scoring wrote into a folder, by a file or a stream."""
    return Owned(out, "scores", "python -m gfvad.score", is_ours)


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
    if path.parent.name == DETAILS and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return bool(archive.namelist()) and set(archive.namelist()) <= {
                "graph.npy",
                "heat.npy",
                "heat_time.npy",
            }
    return False


def details_of(name: str) -> str:
    """Where the details of a video lie below the folder."""
    return f"{DETAILS}/{name.replace('/', '__')}.npz"


def write_scores(
    out: Path,
    model: Mapping[str, Any],
    threshold: float,
    videos: Sequence[VideoScores],
    failed: Iterable[tuple[str, str]] = (),
) -> Path:
    """Writes all of it; returns the path of scores.json, which comes last.

    model: kind ('weak' | 'predictive'), name, path, modalities, threshold_rule; failed: (path,
    reason) of files that gave no scores.
    Raises DataError where the folder cannot be written to.
    """
    names = list(dict.fromkeys(name for v in videos for name in v.contributions))
    rows = [
        [
            v.name,
            i,
            f"{v.start[i]:.3f}",
            f"{v.end[i]:.3f}",
            f"{v.score[i]:.6g}",
            int(v.score[i] >= threshold),
            *parts(v, names, i),
        ]
        for v in videos
        for i in range(len(v.score))
    ]
    write_table(out / SCORES_CSV, [*COLUMNS, *names], rows)
    alarms = [a for v in videos for a in find_alarms(v, threshold)]
    rows = [
        [
            a.video,
            f"{a.start:.3f}",
            f"{a.end:.3f}",
            f"{a.peak:.6g}",
            f"{a.peak_time:.3f}",
            *(f"{a.contributions.get(n, 0.0):.6g}" for n in names),
        ]
        for a in alarms
    ]
    write_table(out / ALARMS_CSV, [*ALARM_COLUMNS, *names], rows)
    entries = [entry(out, v) for v in videos]
    tree = {
        "format": FORMAT,
        "model": dict(model),
        "threshold": threshold,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "videos": entries,
        "failed": [
            {"path": redact(str(path)), "reason": redact(reason)} for path, reason in failed
        ],
    }
    return write_json(out / SCORES_JSON, tree, indent=None)


def parts(video: VideoScores, names: Sequence[str], i: int) -> list[str]:
    """Contributions of unit i in the order of the columns."""
    return [f"{video.contributions[n][i]:.6g}" if n in video.contributions else "" for n in names]


def entry(out: Path, v: VideoScores) -> dict[str, Any]:
    """A video in scores.json; writes its details."""
    details = {
        k: x
        for k, x in (
            ("graph", None if v.graph is None else v.graph.astype(np.float16)),
            ("heat", v.heat),
            ("heat_time", v.heat_time),
        )
        if x is not None
    }
    path = None
    if details:
        path, buffer = details_of(v.name), io.BytesIO()
        np.savez_compressed(buffer, **details)
        atomically(out / path, lambda file: file.write(buffer.getvalue()))
    duration = float(v.end[-1]) if len(v.end) else 0.0
    return {
        "name": v.name,
        "path": v.path,
        "fps": float(v.fps),
        "frames": int(v.frames),
        "duration": duration,
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
