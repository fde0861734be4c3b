"""gfvad: graph-fusion video anomaly detection in JAX."""

import sys

__version__ = "0.1.0"

# commands by their former names, as `python -m gfvad.ablate`
__path__.append(f"{__path__[0]}/shims")

# `gfvad ...` and `python -m gfvad...`: a command is about to start, its libraries are read first
if sys.argv and (sys.argv[0] == "-m" or sys.argv[0].endswith(("/gfvad", "gfvad.exe"))):
    from gfvad.base import interrupts

    interrupts.leave_quietly()
    del interrupts
