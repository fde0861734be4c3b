"""What scoring leaves behind: scores.csv and alarms.csv to read, scores.json and details/ for the report; each whole or not at all.

scores.csv    video, unit, start, end (seconds), score, alarm (0 or 1), a column a modality or term: what the score (weak models: its logit) would lack without it
alarms.csv    video, start, end, peak, peak_time (seconds), the same columns at the peak
scores.json   the same and what a report needs besides: model, threshold and how it was made, lengths, true spans where known, descriptions, files that failed
details/      VIDEO.npz: graph float16 [N, N], heat uint8 [H, g, g'] with heat_time [H], where there are such
"""
from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.scoring.alarms import find_alarms
from gfvad.scoring.result import VideoScores
from gfvad.types import DataError

FORMAT = 1
SCORES_CSV, ALARMS_CSV, SCORES_JSON, DETAILS = "scores.csv", "alarms.csv", "scores.json", "details"


def write_scores(out: Path, model: Mapping[str, Any], threshold: float, videos: Sequence[VideoScores], failed: Iterable[tuple[str, str]] = ()) -> Path:
    """Writes all of it; returns the path of scores.json, which comes last.

    model: kind ('weak' | 'predictive'), name, path, modalities, threshold_rule; failed: (path, reason) of files that gave no scores.
    Raises DataError where the folder cannot be written to.
    """
    names = list(dict.fromkeys(name for v in videos for name in v.contributions))
    try:
        out.mkdir(parents=True, exist_ok=True)
        rows = [[v.name, i, f"{v.start[i]:.3f}", f"{v.end[i]:.3f}", f"{v.score[i]:.6g}", int(v.score[i] >= threshold), *parts(v, names, i)]
                for v in videos for i in range(len(v.score))]  # fmt: skip
        write_csv(out / SCORES_CSV, ["video", "unit", "start", "end", "score", "alarm", *names], rows)
        alarms = [a for v in videos for a in find_alarms(v, threshold)]
        rows = [[a.video, f"{a.start:.3f}", f"{a.end:.3f}", f"{a.peak:.6g}", f"{a.peak_time:.3f}", *(f"{a.contributions.get(n, 0.0):.6g}" for n in names)] for a in alarms]
        write_csv(out / ALARMS_CSV, ["video", "start", "end", "peak", "peak_time", *names], rows)
        entries = [entry(out, v) for v in videos]
        tree = {"format": FORMAT, "model": dict(model), "threshold": threshold, "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "videos": entries, "failed": [{"path": str(path), "reason": reason} for path, reason in failed]}  # fmt: skip
        atomically(out / SCORES_JSON, json.dumps(tree, allow_nan=False).encode())
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be written ({error.strerror}); expected room and permission there: give another --out, or make room") from None
    return out / SCORES_JSON


def parts(video: VideoScores, names: Sequence[str], i: int) -> list[str]:
    """Contributions of unit i in the order of the columns."""
    return [f"{video.contributions[n][i]:.6g}" if n in video.contributions else "" for n in names]


def entry(out: Path, v: VideoScores) -> dict[str, Any]:
    """A video in scores.json; writes its details."""
    details = {k: x for k, x in (("graph", None if v.graph is None else v.graph.astype(np.float16)), ("heat", v.heat), ("heat_time", v.heat_time)) if x is not None}
    path = None
    if details:
        (out / DETAILS).mkdir(exist_ok=True)
        path = f"{DETAILS}/{v.name.replace('/', '__')}.npz"
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **details)
        atomically(out / path, buffer.getvalue())
    duration = float(v.end[-1]) if len(v.end) else 0.0
    return {"name": v.name, "path": v.path, "fps": float(v.fps), "frames": int(v.frames), "duration": duration, "start": rounded(v.start, 3), "end": rounded(v.end, 3),
            "score": rounded(v.score, 6), "contributions": {name: rounded(x, 5) for name, x in v.contributions.items()},
            "spans": None if v.spans is None else [list(map(float, s)) for s in v.spans], "label": v.label,
            "descriptions": [[float(t), text] for t, text in v.descriptions], "details": path, "missing": list(v.missing)}  # fmt: skip


def rounded(x: np.ndarray, digits: int) -> list[float]:
    """Numbers for JSON."""
    return np.round(np.asarray(x, np.float64), digits).tolist()


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """One table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    atomically(path, text.getvalue().encode())


def atomically(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
