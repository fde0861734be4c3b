"""Commands by their former names: `python -m gfvad.ablate`, `python -m gfvad.eval.summary`.

`gfvad` looks for its modules here too; nothing imports them.
"""
