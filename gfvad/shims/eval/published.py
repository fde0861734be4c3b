"""`python -m gfvad.eval.published`: `gfvad compare published`."""

from gfvad.main import console

if __name__ == "__main__":
    console("compare", "published")
