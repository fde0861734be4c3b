"""What damage to the sentences of training videos does to a model: one kind at a time, and several.

gfvad ablate --config=ucf:near --sweep=damage --workdir=runs/ucf-damage --seeds=3 \\
    --config.data.root=/data/ucf_crime

Of sets with sentences; where there is no `text`, the last feature set is damaged.
"""

KINDS = {
    "dropped": {"dropped": 0.3},
    "mild": {"dropped": 0.2, "generic": 0.1, "late": 0.2, "silent": 0.1},
    "silent": {"silent": 0.3},
    "generic": {"generic": 0.3},
    "late": {"late": 0.3},
    "filled": {"filled": 0.5},
    "noise": {"noise": 1.0},
    "style": {"style": 1.0},
}


def get_sweep(config):
    names = config.data.modalities
    of = {"data.damage.modality": "text" if "text" in names else names[-1]}
    damaged = {
        name: {**of, **{f"data.damage.{kind}": x for kind, x in amounts.items()}}
        for name, amounts in KINDS.items()
    }
    return {"settings": {"none": {}, **damaged}, "base": "none", "seeds": 5}
