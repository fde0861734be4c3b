"""`python -m gfvad.eval.breakdown`: `gfvad compare breakdown`."""

from gfvad.main import console

if __name__ == "__main__":
    console("compare", "breakdown")
