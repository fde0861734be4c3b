"""What relations between units add at one level (objects, patches, tokens, frames, clips): those to
the other units of the same frame, those over time, and both.

gfvad ablate --config=avenue_tracks --sweep=levels --workdir=runs/levels-avenue \\
    --config.data.root=/data/tracks

The level is that of the config; --config.data.grids=1x1 makes a whole picture a unit, and then
nothing is in its frame besides. Of graph novelty a unit is compared with a bank of normal units in
every setting; of clips with labels (--config=own:clips) scores are spread over a video.
"""

OVER_TIME = 100  # frames, where the config passes no messages over time
BESIDE = 2.0  # heights of a box


def get_sweep(config):
    return of_clips(config) if "head" in config.model else of_units(config)


def of_clips(config):
    """Labelled videos cut into clips (a config of weak fusion with branches)."""
    alone = {"model.head.mix": 0.0, "model.head.whole": 0.0}
    spread = alone | {"model.head.mix": 1.0}
    settings = {
        "alone": alone,
        "time": spread | {"model.relation.modalities": ("none",)},
        "both": spread,  # near in time and alike in every feature set
        "whole": alone | {"model.head.whole": 1.0},  # the mean over a video's clips
        "late": {"variant": "foil_late"},
    }
    return {"base": "alone", "settings": settings, "seeds": 5}


def of_units(config):
    """Normal video alone: graph novelty."""
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
