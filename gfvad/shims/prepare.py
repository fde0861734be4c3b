"""`python -m gfvad.prepare`: `gfvad prepare`."""

from gfvad.main import console

if __name__ == "__main__":
    console("prepare")
