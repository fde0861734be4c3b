"""No score that is not finite is written: which videos have such, of which modality, and what is
done about it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from gfvad.base import run_files
from gfvad.base.errors import EXIT_SOME_FAILED, DataError
from gfvad.base.names import some
from gfvad.base.types import ScoredVideo
from gfvad.measure import results

Features = Callable[[int], Mapping[str, np.ndarray]]  # index of a video -> {modality: its features}


def reason(scores: np.ndarray, features: Mapping[str, np.ndarray]) -> str:
    """Why a video's scores are left out, with the modality that has the largest values first."""
    bad = int((~np.isfinite(scores)).sum())
    found = f"{bad:,} of {len(scores):,} scores are not finite numbers"
    if not features:
        return f"{found}; expected all of them finite: train the model again, it is damaged"
    peak = lambda x: float(np.abs(np.asarray(x, np.float64)).max(initial=0.0))
    peaks = sorted(((m, peak(x)) for m, x in features.items()), key=lambda item: -item[1])
    reached = ", ".join(f"{m} {top:.3g}" for m, top in peaks)
    return (
        f"{found}; its features reach {reached}; expected all scores finite: extract the first of"
        " these modalities again, on the scale of training"
    )


def divide(
    videos: Sequence[ScoredVideo], features: Features = lambda i: {}
) -> tuple[list[ScoredVideo], dict[str, str]]:
    """(videos whose scores are all finite, {name of another: why}). features: of the video at an
    index of `videos`."""
    lost = {
        v.name: reason(v.scores, features(i))
        for i, v in enumerate(videos)
        if not np.isfinite(v.scores).all()
    }
    return [v for v in videos if v.name not in lost], lost


def require(path: Path, videos: Sequence[ScoredVideo], features: Features = lambda i: {}) -> None:
    """Raises DataError where a score is not finite: results over fewer videos would lie. Scores of
    the others are written to `path` before.

    Not where results.json of an earlier evaluation lies beside it, to which scores.npz belongs.
    """
    kept, lost = divide(videos, features)
    if not lost:
        return
    written = ""
    if kept and not (path.parent / "results.json").exists():
        results.write_scores(path, kept)
        written = f"; scores of the other {len(kept)} are in {path}"
    name = next(iter(lost))
    raise DataError(
        f"{len(lost)} of {len(videos)} videos have no usable scores ({some(lost)}): {name}:"
        f" {lost[name]}. No results are written{written}"
    )


def write_usable(
    path: Path,
    scored: Sequence[ScoredVideo],
    lost: Mapping[str, str],
    missing: Mapping[str, Sequence[str]] = {},
) -> int:
    """Writes scores.npz of what could be scored and says what could not, {name: why}; returns
    the exit code. Raises DataError where nothing could."""
    if not scored:
        raise DataError("; ".join(f"{name}: {why}" for name, why in list(lost.items())[:3]))
    run_files.publish(path, lambda path: results.write_scores(path, scored, missing=missing))
    print(f"scores   {path}: {len(scored)} videos, {sum(len(v.scores) for v in scored):,} frames")
    for name, why in lost.items():
        print(f"no scores of {name}: {why}", file=sys.stderr)
    return EXIT_SOME_FAILED if lost else 0
