"""`python -m gfvad.bench NAME`: `gfvad bench NAME`."""

import sys

from gfvad.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
