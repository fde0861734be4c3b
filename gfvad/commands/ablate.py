"""Trains the settings of a sweep side by side over several seeds, and says what they are worth.

    gfvad ablate --config=xd --sweep=operator --workdir=runs/operator
    gfvad ablate --config=xd:audio_visual_text --sweep=modalities --workdir=runs/modalities
    gfvad ablate --config=xd --sweep=losses --workdir=runs/losses --seeds=10 --at-once=16

What a sweep is, what is trained together and what comes out: docs/ablation.md. The same command
goes on where it stopped.

  --config=NAME[:VARIANT]  what the settings have in common
  --config.KEY=VALUE       another value of a setting, for all of them
  --sweep=NAME             a sweep of configs/sweeps/, by its name or its path
  --workdir=DIR            folder of the ablation
  --models=A,B             only these settings (and the base); also variants of the config, and
                           paths of files of further sweeps
  --against=NAME           another base
  --seeds=N                seeds of each setting, in place of the sweep's
  --at-once=32             most runs (settings times seeds) trained in one program: memory
  --processes=N            groups that do not share a program trained at the same time (default: one
                           on 2 cores or fewer and on accelerators, else cores / 4)
  --resamples=2000         of the test videos, for the paired bootstrap
"""

from __future__ import annotations

from collections.abc import Sequence

from gfvad.base.errors import command
from gfvad.base.options import joined


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code."""
    words = joined(argv)
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return 0
    from gfvad.ablation.arguments import parse_sweep

    arguments = parse_sweep(words)
    # after the command line and the sweep are known to be sound: these imports cost seconds
    from gfvad.ablation import run

    return run.ablate(arguments)
