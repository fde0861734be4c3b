"""`python -m gfvad.report`: `gfvad report`."""

import sys

from gfvad.main import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
