"""Trains a model, then evaluates it.

    gfvad train --config=xd
    gfvad train --config=ucf --config.data.root=/data/ucf_crime --workdir=runs/ucf
    gfvad train --config=ped2:small --config.data.root=/data/ped2

A config is a file of configs/ (by its name or its path), with a variant behind a colon where it has
some. The same command goes on where it was interrupted. What comes out: docs/runs.md, and
results.md in the run's folder.

  --config=NAME[:VARIANT]  what to train on what
  --config.KEY=VALUE       another value of a setting; `gfvad train --config=NAME --help` lists them
  --workdir=DIR            folder of the run (default: runs/DATASET-HASH of the config)
"""

from __future__ import annotations

from collections.abc import Sequence

from gfvad.base.errors import command
from gfvad.base.options import joined


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    return work(argv, __doc__ or "")


def work(argv: Sequence[str], about: str) -> int:
    """Trains, evaluates or scores, as --mode says; `about` is the help."""
    words = joined(argv)
    if {"-h", "--help"} & set(words):
        print(about)
        if any(word.startswith("--config=") for word in words):
            from gfvad.settings import command_line

            print(command_line.settings_text(words))
        return 0
    from gfvad.tasks import parse

    arguments = parse(words)
    # after the command line is known to be sound: these imports cost seconds
    if arguments.mode == "score":
        from gfvad.scoring import frames

        return frames.score_frames(arguments)
    from gfvad.tasks import job

    if arguments.data is not None:
        return job.evaluate_elsewhere(arguments)
    return {"train": job.train, "evaluate": job.evaluate}[arguments.mode](arguments)
