"""What graph fusion is worth: against fusions of features (the foils) and each modality by itself.

gfvad ablate --config=ucf --sweep=fusion --workdir=runs/fusion --config.data.root=/data/ucf_crime
"""

from gfvad.tasks.fusion.subsets import keep

FOILS = (
    "concat",
    "add",
    "product",
    "gated",
    "bilinear",
    "cross_attention",
    "mtn_concat",
    "mtn_add",
    "late",
)


def get_sweep(config):
    alone = {f"only-{name}": keep(config, (i,)) for i, name in enumerate(config.data.modalities)}
    foils = {f"foil-{name}": {"variant": f"foil_{name}"} for name in FOILS}
    return {"base": "graph", "settings": {"graph": {}, **foils, **alone}, "seeds": 5}
