"""Former `python -m gfvad.eval.NAME`, now `gfvad compare`."""
