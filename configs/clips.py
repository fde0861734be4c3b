"""Own features of normal video alone (a folder of gfvad extract): graph novelty of clips.

    gfvad train --config=clips --config.data.root=runs/camera/features --workdir=runs/camera/clips

See docs/one_camera.md.

Variants: the comparators of configs/novelty_variants.py (memae, ...).
"""

from configs.novelty import get_config as defaults
from configs.novelty_variants import COMPARATORS
from configs.variants import choose


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "clips"
    c.data.layout = "features"
    c.data.modalities = ("motion", "appearance")
    c.model.terms = ("motion*appearance", "motion", "appearance")
    c.model.scales = (1.0, 1.0)
    c.model.within_camera = ()
    c.score.reach = 0
    c.score.prior = 0.0
    return choose(c, variant, COMPARATORS)
