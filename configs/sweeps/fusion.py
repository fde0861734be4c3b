"""What graph fusion is worth: against fusions of features (the foils), each modality by itself, and
the same with its coefficients left as they start.

gfvad ablate --config=ucf --sweep=fusion --workdir=runs/fusion --config.data.root=/data/ucf_crime
"""

from gfvad.tasks.fusion.foils import KINDS
from gfvad.tasks.fusion.subsets import keep


def get_sweep(config):
    alone = {f"only-{name}": keep(config, (i,)) for i, name in enumerate(config.data.modalities)}
    foils = {f"foil-{name}": {"variant": f"foil_{name}"} for name in KINDS}
    still = {"graph-frozen": {"optim.graph_rate": 0.0}}
    return {"base": "graph", "settings": {"graph": {}, **still, **foils, **alone}, "seeds": 5}
