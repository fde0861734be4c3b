"""`python -m gfvad.ablate`: `gfvad ablate`."""

from gfvad.main import console

if __name__ == "__main__":
    console("ablate")
