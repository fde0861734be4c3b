"""`python -m gfvad.eval.summary`: `gfvad compare summary`."""

from gfvad.main import console

if __name__ == "__main__":
    console("compare", "summary")
