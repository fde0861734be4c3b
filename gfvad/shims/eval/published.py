"""`python -m gfvad.eval.published`: `gfvad compare published`."""

import sys

from gfvad.main import main

if __name__ == "__main__":
    sys.exit(main(["compare", "published", *sys.argv[1:]]))
