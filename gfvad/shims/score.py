"""`python -m gfvad.score`: `gfvad score`."""

import sys

from gfvad.main import main

if __name__ == "__main__":
    sys.exit(main(["score", *sys.argv[1:]]))
