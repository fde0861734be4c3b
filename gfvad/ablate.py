"""Functional ablations: the settings of a sweep, trained side by side over several seeds, and what
they are worth.

    python -m gfvad.ablate --config=configs/ucf.py --sweep=configs/sweeps/losses.py --workdir=runs/losses --config.data.root=/data/ucf_crime

What a sweep is, what is trained together and what comes out: docs/ablation.md. The same command
goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gfvad.base.errors import command


@command
def main(argv: Sequence[str]) -> int:
    """Runs one command line; returns the exit code: 0 done, 2 bad input, 130 / 143 interrupted
    and saved."""
    from gfvad.ablation.arguments import parse

    arguments = parse(argv)
    if arguments is None:
        return 0
    # after the command line and the sweep are known to be sound: these imports cost seconds
    from gfvad.ablation import run

    return run.ablate(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
