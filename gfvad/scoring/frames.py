"""`--mode=score`: frame scores of videos without labels as one file, in bulk on all devices."""

from __future__ import annotations

from gfvad.base import run_files
from gfvad.measure import finite
from gfvad.settings.command_line import Arguments
from gfvad.tasks import task_of


@run_files.claims_output
def score_frames(arguments: Arguments) -> int:
    """Scores arguments.input by a checkpoint of a run into arguments.output. Returns the exit
    code."""
    assert arguments.output is not None  # the command line asks for it
    found = task_of(arguments.config).frame_scores(arguments)
    return finite.write_usable(arguments.output, found.videos, found.lost, found.missing)
