"""`python -m gfvad.eval.summary`: `gfvad compare summary`."""

import sys

from gfvad.main import main

if __name__ == "__main__":
    sys.exit(main(["compare", "summary", *sys.argv[1:]]))
