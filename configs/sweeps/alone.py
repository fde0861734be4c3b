"""All modalities together against each by itself, without the subsets between (modalities.py).

gfvad ablate --config=own:clips --sweep=alone --workdir=runs/fights/folds/0 \\
    --config.data.root=runs/fights/features
"""

from gfvad.tasks.fusion.subsets import keep


def get_sweep(config):
    names = config.data.modalities
    parts = {name: keep(config, (place,)) for place, name in enumerate(names)}
    return {"base": "all", "settings": {"all": {}, **parts}, "seeds": 5}
