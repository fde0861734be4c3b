"""The model of a config against those that a user would pick instead: what `gfvad compare --config`
trains.

gfvad compare --config=ucf --models=all --seeds=5 --workdir=runs/compare \\
    --config.data.root=/data/ucf_crime

Every model learns from the same batches as ours, as many of them, by its own losses and at its
published learning rate and weight decay. Published schedules, which take hours on a processor:
--sweep=comparators.
"""

from configs.variants import COMPARATORS
from gfvad.tasks.fusion.foils import KINDS

FEATURES = [kind for kind in KINDS if kind != "transformer"]  # fusions that a user would pick


def get_sweep(config):
    alike = {"train.steps": config.train.steps, "train.batch_size": config.train.batch_size}
    others = {n.replace("_", "-"): {"variant": n, **alike} for n in COMPARATORS}
    foils = {f"foil-{kind}": {"variant": f"foil_{kind}"} for kind in FEATURES}
    settings = {"graph": {}, **others, **foils}
    # some need two feature sets
    return {"base": "graph", "settings": settings, "optional": tuple(settings)[1:], "seeds": 5}
