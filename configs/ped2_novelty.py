"""UCSD Ped2: graph novelty of patches, by their speed and texture.

    gfvad train --config=ped2_novelty --config.data.root=/data/ped2

See docs/novelty.md.

Variants: the comparators of configs/novelty_variants.py (memae, ...).
"""

from configs.novelty_variants import COMPARATORS
from configs.pictures import get_config as defaults
from configs.variants import choose


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "ped2_novelty"
    c.data.fps = 10.0
    c.data.pictures_a_second = 10.0
    c.data.height, c.data.width = 240, 352
    c.data.grids = ("15x22",)
    c.data.modalities = ("speed", "texture")
    c.model.terms = ("speed", "speed*texture")
    c.model.scales = (1.0, 0.25)
    c.model.within_camera = ()
    c.model.bank = 4096
    c.score.highest = 0.0125
    c.score.reach = 4
    c.score.calibration_units = 400_000
    return choose(c, variant, COMPARATORS)
