"""What relations between units add at one level (objects, patches, tokens, frames, clips): those to
the other units of the same frame, those over time, and both.

gfvad ablate --config=avenue_tracks --sweep=levels --workdir=runs/levels-avenue \\
    --config.data.root=/data/tracks

The level is that of the config; --config.data.grids=1x1 makes a whole picture a unit, and then
nothing is in its frame besides. In every setting a unit is compared with a bank of normal units.
"""

OVER_TIME = 100  # frames, where the config passes no messages over time
BESIDE = 2.0  # heights of a box


def get_sweep(config):
    data, model = config.data, config.model
    first, sets = data.modalities[0], tuple(data.modalities)
    among = data.layout != "features" and data.grids != ("1x1",)
    time = {"score.reach": config.score.reach or OVER_TIME, "score.prior": config.score.prior}
    alone = {"score.reach": 0, "score.prior": 0.0, "score.beside": 0.0, "score.alike": 0.0}
    messages = {"score.beside": BESIDE}
    among_alike = messages | {"score.alike": config.data.alike}
    settings = {"alone": alone, "time": alone | time}
    # every set by itself, added: late fusion of the same sets
    added = {"model.terms": sets}
    if among:
        both = (*sets, "company", "relative")
        joint = (*model.terms, f"{first}*company", f"{first}*relative")
        features = {
            "data.modalities": both,
            "model.scales": (*model.scales, 1.0, 1.0),
            "model.terms": joint,
        }
        settings |= {
            "frame": alone | features,
            "frame-messages": alone | messages,
            "frame-alike": alone | among_alike,
            "both": alone | time | features,
            "both-messages": alone | time | messages,
            "both-alike": alone | time | among_alike,
            "both-all": alone | time | among_alike | features,
        }
        added = features | {"model.terms": both}
    settings |= {"added": alone | time | added}
    quick = {"train.steps": 30}  # of the fit of a few numbers
    return {"base": "alone", "settings": settings, "seeds": 5, "overrides": quick}
