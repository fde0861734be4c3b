"""gfvad: graph-fusion video anomaly detection in JAX."""

import sys

__version__ = "0.1.0"

# `python -m gfvad...`: a command is about to start, its libraries are read first
if sys.argv[:1] == ["-m"]:
    from gfvad.base import interrupts

    interrupts.leave_quietly()
    del interrupts
