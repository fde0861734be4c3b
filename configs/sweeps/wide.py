"""What spreading evidence over the whole of a video is worth, and which relations it needs: over
units near in time that are alike in the first feature set, a part over all units.

gfvad ablate --config=ucf_folds --sweep=wide --workdir=runs/ucf-folds --seeds=3
"""

from gfvad.tasks.fusion.foils import KINDS
from gfvad.tasks.fusion.subsets import keep


def get_sweep(config):
    names = config.data.modalities
    wide = {
        "model.relation.modalities": names[:1],
        "model.relation.temporal_seconds": 0.0,
        "model.relation.temporal_tau": 3.0,
        "model.head.mix": 0.8,
        "model.head.whole": 0.3,
        "model.head.spread_trained": False,
    }
    settings = {
        "wide": {},
        # late fusion of the same branches, a part of it the mean over the video: no graph
        "wide-whole": {"model.head.mix": 0.0, "model.head.whole": 0.5},
        # near in time alone
        "wide-time": {"model.relation.modalities": ("none",)},
        # alike in every feature set
        "wide-all": {"model.relation.modalities": ()},
        "wide-seconds": {
            "model.relation.temporal_tau": 0.0,
            "model.relation.temporal_seconds": 10.0,
            "data.clock": True,
        },
        "wide-trained": {"model.head.spread_trained": True},
    }
    if gates := config.model.head.gates:  # evidence of the last set alone, over the same graph
        settings[f"wide-{names[-1]}"] = {
            "model.head.gates": (*(0.0,) * (len(gates) - 1), gates[-1])
        }
    settings = {name: {**wide, **differs} for name, differs in settings.items()}
    settings |= {"graph": {}, "graph-frozen": {"optim.graph_rate": 0.0}}
    settings |= {f"foil-{name}": {"variant": f"foil_{name}"} for name in KINDS}
    settings |= {f"only-{name}": keep(config, (i,)) for i, name in enumerate(names)}
    return {"base": "wide", "settings": settings, "seeds": 5}
