"""Scores of videos in one go, by a run or an artefact of any task, written as `files.py` says. Its
command line: `gfvad score`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.base.errors import EXIT_SOME_FAILED, DataError, cannot_read
from gfvad.base.progress import Progress
from gfvad.base.secrets import redact
from gfvad.measure import finite
from gfvad.measure.alarms import Alarm, find_alarms
from gfvad.measure.score_result import VideoScores
from gfvad.scoring import files
from gfvad.scoring.log import says
from gfvad.tasks import task_of_folder
from gfvad.tasks.scoring import Request, Scorer

SHOWN = 20  # alarms on the terminal


def score(request: Request) -> int:
    """Scores videos and writes the files of `scoring/files.py`; returns the exit code: 0 done, 1
    some files gave no scores, 130 / 143 interrupted."""
    if request.out is None:
        raise DataError("no folder for the scores; expected one: give --out=DIR")
    with files.owned(request.out).locked("folder of scores", files.NAMES):
        return _score(open_scorer(request), request, request.out)


def open_scorer(request: Request) -> Scorer:
    """The model of a request. Raises ConfigError and DataError."""
    return task_of_folder(request.model).open_scorer(request.model, request.checkpoint)


def _score(scorer: Scorer, request: Request, out: Path) -> int:
    def claim(names: Iterable[str]) -> None:
        files.owned(out).claim(map(files.details_of, names))

    given = scorer.find(request, claim)
    if given.interrupted:
        return given.interrupted
    videos, failed = [], list(given.failed)
    count = len(given.videos)
    with Progress(count, "scoring", "videos") if count != 1 else nullcontext() as progress:
        for video in given.videos:
            try:
                found = video.score()
                if not np.isfinite(found.score).all():
                    raise DataError(f"{video.path}: {finite.reason(found.score, {})}")
                videos.append(found)
            except DataError as error:
                failed.append((video.path, str(error)))
            except (OSError, MemoryError) as error:
                failed.append((video.path, reason_of(error)))
            if progress:
                progress.advance()
    threshold = scorer.threshold if request.threshold is None else request.threshold
    model = model_of(scorer, request)
    with files.owned(out).staged(last=files.SCORES_JSON) as folder:
        files.write_scores(folder, model, threshold, videos, failed)
    if given.note:
        print(given.note, file=sys.stderr)
    alarms = [a for v in videos for a in find_alarms(v, threshold, scorer.alarm_gap)]
    say(out, f"{threshold:.4g} ({model['threshold_rule']})", videos, alarms)
    return complain(failed, len(videos))


def model_of(scorer: Scorer, request: Request) -> dict[str, Any]:
    """What scores.json says of the model."""
    return {
        "kind": scorer.kind,
        "name": scorer.name,
        "path": scorer.path,
        "modalities": list(scorer.contributors),
        "bounded": scorer.bounded,
        "threshold_rule": scorer.threshold_rule if request.threshold is None else "given",
        "alarm_gap": scorer.alarm_gap,
    }


def reason_of(error: OSError | MemoryError) -> str:
    """Why a video gave no scores, where the system says so."""
    if isinstance(error, MemoryError):
        return (
            f"too large for the memory of this machine ({error or 'no size given'}); expected a"
            " video that fits: cut it into parts, and extract them"
        )
    return str(cannot_read(error.filename or "a file", error, "its features or its frames"))


def say(out: Path, rule: str, videos: Sequence[VideoScores], alarms: Iterable[Alarm]) -> None:
    """What matters of the scores, on the terminal."""
    alarms = sorted(alarms, key=lambda a: -a.peak)
    units = sum(len(v.score) for v in videos)
    print(f"scores   {out / files.SCORES_CSV}: {len(videos)} videos, {units:,} units")
    print(f"alarms   {out / files.ALARMS_CSV}: {len(alarms)} at or above {rule}")
    for a in alarms[:SHOWN]:
        span = f"{a.start:.1f} to {a.end:.1f} s"
        peak = f"peak {a.peak:.3f} at {a.peak_time:.1f} s ({says(a.contributions)})"
        print(f"  {a.video}: {span}, {peak}")
    if len(alarms) > SHOWN:
        print(f"  and {len(alarms) - SHOWN} more")
    print(f"report   gfvad report {out}")


def complain(failed: Sequence[tuple[str, str]], scored: int) -> int:
    """Says what gave no scores and why; returns the exit code."""
    if failed:
        total = len(failed) + scored
        print(f"{len(failed)} of {total} files gave no scores:", file=sys.stderr)
    for file, reason in failed:
        line = reason if reason.startswith(str(file)) else f"{file}: {reason}"
        print(redact(f"  {line}"), file=sys.stderr)
    return EXIT_SOME_FAILED if failed else 0
