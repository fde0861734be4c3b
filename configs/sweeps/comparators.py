"""Graph fusion against published models by their own losses, and against late fusion.

gfvad ablate --config=ucf --sweep=comparators --workdir=runs/comparators \\
    --config.data.root=/data/ucf_crime

Each model has its published steps, batch size and learning rate. On a processor these are hours:
--config.train.steps=N and --config.train.batch_size=N hold for all of them.
"""

from configs.variants import COMPARATORS


def get_sweep(config):
    others = {name.replace("_", "-"): {"variant": name} for name in COMPARATORS}
    late = {"foil-late": {"variant": "foil_late"}}
    return {"base": "graph", "settings": {"graph": {}, **others, **late}, "seeds": 5}
