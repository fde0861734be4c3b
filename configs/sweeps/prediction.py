"""The predictive model: each part of it taken away or exchanged, other filters, weights of its
losses.

gfvad ablate --config=ped2:small --sweep=prediction --workdir=runs/parts \\
    --config.data.root=/data/ped2
"""

PARTS = ("frames", "no_text", "no_motion", "no_pace", "no_relations", "causal")
FILTERS = ("no_filter", "bottleneck", "memae", "mnad", "experts1", "experts7")


def get_sweep(config):
    return {
        "base": "all",
        "settings": {"all": {}} | {name: {"variant": name} for name in (*PARTS, *FILTERS)},
        "axes": {
            "loss.contrast": (0.0, config.loss.contrast),
            "model.skip": ("patch", "frame", "none"),
            "model.flow_from": ("frame", "joint"),
        },
        "seeds": 5,
    }
