"""`python -m gfvad.eval.compare`: `gfvad compare`."""

import sys

from gfvad.main import main

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
