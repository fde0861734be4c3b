"""`python -m gfvad.bench NAME`: `gfvad bench NAME`."""

from gfvad.main import console

if __name__ == "__main__":
    console("bench")
