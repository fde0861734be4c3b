"""`python -m gfvad.extract`: `gfvad extract`."""

import sys

from gfvad.main import main

if __name__ == "__main__":
    sys.exit(main(["extract", *sys.argv[1:]]))
