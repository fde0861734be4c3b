"""`python -m gfvad.ablate`: `gfvad ablate`."""

import sys

from gfvad.main import main

if __name__ == "__main__":
    sys.exit(main(["ablate", *sys.argv[1:]]))
