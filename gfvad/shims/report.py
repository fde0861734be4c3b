"""`python -m gfvad.report`: `gfvad report`."""

from gfvad.main import console

if __name__ == "__main__":
    console("report")
