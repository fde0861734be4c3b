"""`python -m gfvad.data.video.describe`: `gfvad extract describe`."""

import runpy
import sys

if __name__ == "__main__":  # by name: what is above data is imported by nothing below it
    sys.argv[1:1] = ["extract", "describe"]
    runpy.run_module("gfvad.main", run_name="__main__")
