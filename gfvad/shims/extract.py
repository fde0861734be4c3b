"""`python -m gfvad.extract`: `gfvad extract`."""

from gfvad.main import console

if __name__ == "__main__":
    console("extract")
