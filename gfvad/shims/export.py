"""`python -m gfvad.export`: `gfvad export`."""

from gfvad.main import console

if __name__ == "__main__":
    console("export")
