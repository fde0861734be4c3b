"""From which score on it is an alarm: by the scores of normal training videos, never of test
videos. Kept beside a run's results."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from gfvad.base.files import lies_at
from gfvad.base.seals import read_sealed, write_sealed
from gfvad.base.types import DataError, ScoredVideo

CALIBRATION = "calibration.json"
QUANTILE = 0.95  # of the highest scores of normal videos
DEFAULT = 0.5
ENOUGH = 10  # normal videos that were held out of training, to go by them


def threshold(videos: Sequence[ScoredVideo], held_out: Collection[str] = ()) -> tuple[float, str]:
    """(threshold, how it was made): the QUANTILE of the peaks of normal videos that were held out
    of training (names `held_out`), where they are ENOUGH.

    Else that of the normal videos it was trained on, but at least DEFAULT: a model is surer of what
    it has seen than of anything new. DEFAULT without any.
    """
    normal = [(v.name, float(v.scores.max())) for v in videos if v.label == 0]
    peaks = [peak for name, peak in normal if name in held_out]
    if len(peaks) >= ENOUGH:
        rule = f"{QUANTILE:.0%} of {len(peaks)} normal videos held out of training stay below"
        return float(np.quantile(peaks, QUANTILE)), rule
    if not normal:
        return DEFAULT, f"{DEFAULT}: no normal training video was scored"
    value = float(np.quantile([peak for _, peak in normal], QUANTILE))
    return max(value, DEFAULT), (
        f"{DEFAULT}, or what {QUANTILE:.0%} of {len(normal)} normal training videos stay below"
        f" ({value:.3g}), whichever is higher; none was held out"
    )


def write_calibration(
    folder: Path, step: int, videos: Sequence[ScoredVideo], held_out: Collection[str] = ()
) -> Path:
    """Writes calibration.json of a checkpoint, whole or not at all; arguments as `threshold`."""
    value, rule = threshold(videos, held_out)
    return write_sealed(folder / CALIBRATION, {"step": step, "threshold": value, "rule": rule})


def read_calibration(folder: Path, step: int) -> tuple[float, str]:
    """(threshold, how it was made) of a run's checkpoint; DEFAULT where it was not calibrated.
    Raises DataError for a damaged file."""
    path = folder / CALIBRATION
    if not lies_at(path):
        return DEFAULT, f"{DEFAULT}: {CALIBRATION} is not there"
    try:
        found = read_sealed(path, "a calibration")
        value, rule = float(found["threshold"]), str(found["rule"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not a calibration ({error}); expected what an evaluation writes: evaluate the"
            " run again (gfvad evaluate)"
        ) from None
    if found.get("step") == step:
        return value, rule
    own = step if step >= 0 else "of these weights"
    return DEFAULT, f"{DEFAULT}: {CALIBRATION} is of step {found.get('step')}, not {own}"
