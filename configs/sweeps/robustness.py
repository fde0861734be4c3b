"""A modality missing, noisy, shifted in time or swapped with another video's: in the test videos of
a model that was trained on sound ones, and in training.

gfvad ablate --config=ucf --sweep=robustness --workdir=runs/robustness \\
    --config.data.root=/data/ucf_crime
"""

AMOUNTS = {  # kind -> at test, in training (where half of the videos stay as they are)
    "missing": (1.0, 0.5),
    "noise": (1.0, 1.0),
    "shift": (4.0, 4.0),
    "swap": (1.0, 0.5),
}


def get_sweep(config):
    settings = {"base": {}}
    for name in config.data.modalities:
        for kind, amounts in AMOUNTS.items():
            for at, amount in zip(("test", "train"), amounts):
                settings[f"{at}-{name}-{kind}"] = {
                    "data.corruption.at": at,
                    "data.corruption.modality": name,
                    "data.corruption.kind": kind,
                    "data.corruption.amount": amount,
                }
    return {"settings": settings, "seeds": 5}
