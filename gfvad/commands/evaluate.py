"""Evaluates a trained run again, or on other data; or anybody's score files.

    gfvad evaluate --workdir=runs/ucf-fused/seed0
    gfvad evaluate --workdir=runs/ucf-fused/seed0 --checkpoint=best
    gfvad evaluate --workdir=runs/ucf-fused/seed0 --data=/data/ucf_crime --output=runs/elsewhere
    gfvad evaluate --scores=scores.npy --labels=/data/xd_violence
    gfvad evaluate --scores=mine.npz --scores=theirs.npz --labels=/data/xd_violence

Results go into the run's folder; those on other data (features, frames or prepared records) into a
folder of their own.

  --workdir=DIR            folder of the run
  --checkpoint=last        last, best (on validation), or a step
  --data=DIR               other data than the run's own; needs --output
  --output=DIR             with --data: where its results go
  --config=NAME[:VARIANT]  in place of the config in the run's folder

Score files (`gfvad evaluate --scores --help` lists their options) are .npy, .npz, .mat, .json or
.csv: frame or snippet scores, an array a video or one for all. See docs/compare_scores.md.

  --scores=FILE            scores of a test set; several files are compared
  --labels=PLACE           labels or spans: a file, or the folder of a set
"""

from __future__ import annotations

from collections.abc import Sequence

from gfvad.base.errors import command
from gfvad.commands import train

SCORES_ABOUT = """Anybody's frame or snippet scores under every protocol, beside floors.

    gfvad evaluate --scores=scores.npy --labels=/data/xd_violence

Files may be .npy, .npz, .mat, .json or .csv; what they may hold: docs/compare_scores.md."""


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    if any(word.split("=", 1)[0] == "--scores" for word in argv):
        from gfvad.reporting import score_files

        return score_files.evaluate(argv, SCORES_ABOUT)
    return train.work(["--mode=evaluate", *argv], __doc__ or "")
