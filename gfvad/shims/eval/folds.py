"""`python -m gfvad.eval.folds`: `gfvad compare folds`."""

import sys

from gfvad.main import main

if __name__ == "__main__":
    sys.exit(main(["compare", "folds", *sys.argv[1:]]))
