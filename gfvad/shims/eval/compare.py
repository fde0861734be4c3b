"""`python -m gfvad.eval.compare`: `gfvad compare`."""

from gfvad.main import console

if __name__ == "__main__":
    console("compare")
