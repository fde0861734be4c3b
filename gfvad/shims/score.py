"""`python -m gfvad.score`: `gfvad score`."""

from gfvad.main import console

if __name__ == "__main__":
    console("score")
