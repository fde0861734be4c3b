"""`python -m gfvad.eval.breakdown`: `gfvad compare breakdown`."""

import sys

from gfvad.main import main

if __name__ == "__main__":
    sys.exit(main(["compare", "breakdown", *sys.argv[1:]]))
