"""Graph novelty: joint relations, feature sets, the bank and what passes along tracks.

gfvad ablate --config=avenue_tracks --sweep=novelty --workdir=runs/novelty-parts \\
    --config.data.root=/data/tracks
"""


def get_sweep(config):
    terms, scales = config.model.terms, dict(zip(config.data.modalities, config.model.scales))
    alone = {
        f"only-{name}": {
            "data.modalities": (name,),
            "model.terms": (name,),
            "model.scales": (scales[name],),
        }
        for name in config.data.modalities
        if len(config.data.modalities) > 1
    }
    terms = {
        f"without-{term.replace('*', '+')}": {
            "model.terms": tuple(other for other in terms if other != term)
        }
        for term in terms
        if len(terms) > 1
    }
    return {
        "base": "all",
        "settings": {
            "all": {},
            **alone,
            **terms,
            "one-relation": {"model.terms": ("*".join(config.data.modalities),)},
            "unfitted": {"train.steps": 1, "optim.learning_rate": 1e-9},
            "no-messages": {"score.reach": 0, "score.prior": 0.0},
            "no-prior": {"score.prior": 0.0},
        },
        "axes": {"model.bank": (max(config.model.bank // 8, 16), config.model.bank // 2)},
        "seeds": 5,
    }
