"""`python -m gfvad.prepare`: `gfvad prepare`."""

import sys

from gfvad.main import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
