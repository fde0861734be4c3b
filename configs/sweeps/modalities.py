"""Every subset of the modalities.

gfvad ablate --config=ucf --sweep=modalities --workdir=runs/modalities \\
    --config.data.root=/data/ucf_crime
"""

from itertools import combinations

from gfvad.tasks.fusion.subsets import keep


def get_sweep(config):
    names = config.data.modalities
    subsets = [
        places
        for count in range(1, len(names))
        for places in combinations(range(len(names)), count)
    ]
    parts = {"+".join(names[i] for i in places): keep(config, places) for places in subsets}
    return {"base": "all", "settings": {"all": {}, **parts}, "seeds": 5}
