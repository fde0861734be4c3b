"""CUHK Avenue as tracked people: graph novelty from normal video alone.

    gfvad train --config=avenue_tracks --config.data.root=/data/tracks

See docs/sets/tracks.md.

Variants: the comparators of configs/novelty_variants.py (memae, ...).
"""

from configs.novelty import get_config as defaults
from configs.novelty_variants import COMPARATORS
from configs.variants import choose


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "avenue_tracks"
    c.data.fps = 25.0
    return choose(c, variant, COMPARATORS)
