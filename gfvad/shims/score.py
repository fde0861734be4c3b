"""`python -m gfvad.score`: `gfvad score`."""

import sys

from gfvad.main import main

if __name__ == "__main__":
    sys.exit(main(["score", *sys.argv[1:]]))
elif __name__ == "gfvad.score":  # imported: `gfvad.score` stays the library's function
    import gfvad.library

    sys.modules[__name__] = gfvad.library.score
