"""Evaluates a trained run again, or on other data.

    gfvad evaluate --workdir=runs/ucf-fused/seed0
    gfvad evaluate --workdir=runs/ucf-fused/seed0 --checkpoint=best
    gfvad evaluate --workdir=runs/ucf-fused/seed0 --data=/data/ucf_crime --output=runs/elsewhere

Results go into the run's folder; those on other data (features, frames or prepared records) into a
folder of their own.

  --workdir=DIR            folder of the run
  --checkpoint=last        last, best (on validation), or a step
  --data=DIR               other data than the run's own; needs --output
  --output=DIR             with --data: where its results go
  --config=NAME[:VARIANT]  in place of the config in the run's folder
"""

from __future__ import annotations

from collections.abc import Sequence

from gfvad.base.errors import command
from gfvad.commands import train


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    return train.work(["--mode=evaluate", *argv], __doc__ or "")
