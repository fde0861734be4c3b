"""`python -m gfvad.export`: `gfvad export`."""

import sys

from gfvad.main import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
