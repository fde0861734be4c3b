"""gfvad: graph-fusion video anomaly detection in JAX."""

import sys

__version__ = "0.1.0"

if sys.argv[:1] == ["-m"]:  # `python -m gfvad...`: a command is about to start, its libraries are read first
    from gfvad.base import interrupts

    interrupts.leave_quietly()
    del interrupts
