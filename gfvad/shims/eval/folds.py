"""`python -m gfvad.eval.folds`: `gfvad compare folds`."""

from gfvad.main import console

if __name__ == "__main__":
    console("compare", "folds")
