"""One fixed camera, normal video alone: no labels, no masks, no test set.

    gfvad train --config=normal --config.data.root=/data/camera/normal --workdir=runs/camera/model

A labelled test part, where there is one, is evaluated. See docs/one_camera.md.

Variants: the comparators of configs/novelty_variants.py (memae, ...).
"""

from configs.novelty_variants import COMPARATORS
from configs.pictures import get_config as defaults
from configs.variants import choose


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "normal"
    return choose(c, variant, COMPARATORS)
