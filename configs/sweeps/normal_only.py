"""Graph novelty against published models of normal video, on the same units.

gfvad ablate --config=avenue_tracks --sweep=normal_only --workdir=runs/normal-only \\
    --config.data.root=/data/tracks

The comparators have one schedule, whatever the set (configs/novelty_variants.py).
"""

from configs.novelty_variants import COMPARATORS


def get_sweep(config):
    others = {name.replace("_", "-"): {"variant": name} for name in COMPARATORS}
    return {"base": "graph-novelty", "settings": {"graph-novelty": {}, **others}, "seeds": 5}
