"""What it is worth that evidence spreads over units near in time that are alike in the first
feature set, how far it should spread, and along which relations.

gfvad ablate --config=ucf_folds --sweep=spread --workdir=runs/ucf-folds --seeds=3
"""

from gfvad.tasks.fusion.foils import KINDS
from gfvad.tasks.fusion.subsets import keep


def get_sweep(config):
    names = config.data.modalities
    near = {
        "model.relation.modalities": names[:1],
        "model.relation.temporal_seconds": 0.0,
        "model.relation.temporal_tau": 1.0,
        "model.head.mix": 1.0,
        "model.head.spread_trained": False,
    }
    settings = {
        "near": {},
        # and what was said of units alike in the last set in other, training videos
        "near-bank": {"model.bank.modality": names[-1]},
        "near-time": {"model.relation.modalities": ("none",)},
        "near-all": {"model.relation.modalities": ()},  # alike in every feature set
        "near-trained": {"model.head.spread_trained": True},
        # further, and a part over the whole video
        "wide": {
            "model.relation.temporal_tau": 3.0,
            "model.head.mix": 0.8,
            "model.head.whole": 0.3,
        },
        # the mean of the video alone, without a graph
        "whole": {"model.head.mix": 0.0, "model.head.whole": 0.5},
    }
    if gates := config.model.head.gates:  # evidence of the last set alone, over the same graph
        last = (*(0.0,) * (len(gates) - 1), gates[-1])
        settings[f"near-{names[-1]}"] = {"model.head.gates": last}
    if "text" in names:  # related to events in words; these alone, without a graph; the graph alone
        further, words = {"model.relation.temporal_tau": 2.0}, {"model.events.modality": "text"}
        settings["events"] = {**further, **words}
        settings |= {"events-alone": {"model.head.mix": 0.0, **words}, "near-two": further}
    settings = {name: {**near, **differs} for name, differs in settings.items()}
    settings |= {"graph": {}, "graph-frozen": {"optim.graph_rate": 0.0}}
    settings |= {f"foil-{name}": {"variant": f"foil_{name}"} for name in KINDS}
    settings |= {f"only-{name}": keep(config, (i,)) for i, name in enumerate(names)}
    return {"base": "near", "settings": settings, "seeds": 5}
