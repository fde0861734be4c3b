"""What each part of the model with branches is worth, one taken away at a time.

gfvad ablate --config=ucf --sweep=parts --workdir=runs/parts --config.data.root=/data/ucf_crime
"""


def get_sweep(config):
    return {
        "base": "all",
        "settings": {
            "all": {},
            "no-graph": {"model.head.mix": 0.0},  # evidence is not diffused over the fused graph
            "no-consistency": {"loss.consistency": 0.0},
            "no-graph-no-consistency": {"model.head.mix": 0.0, "loss.consistency": 0.0},
            "one-member": {"train.members": 1},
            # a unit that does not count is given the branch's own constant
            "own-constant": {"model.head.absent": 0.0},
            "time-in-units": {
                "model.relation.temporal_seconds": 0.0,
                "model.relation.temporal_tau": 4.0,
            },
            "no-branch-loss": {"loss.branch": 0.0},
            "no-unit-losses": {"loss.unit_normal": 0.0, "loss.unit_abnormal": 0.0},
        },
        "seeds": 5,
    }
