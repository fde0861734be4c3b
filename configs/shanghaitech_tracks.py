"""ShanghaiTech as tracked people: graph novelty from normal video alone.

    gfvad train --config=shanghaitech_tracks --config.data.root=/data/tracks

The first two characters of a video's name say its camera. See docs/sets/tracks.md.

Variants: the comparators of configs/novelty_variants.py (memae, ...).
"""

from configs.novelty import get_config as defaults
from configs.novelty_variants import COMPARATORS
from configs.variants import choose


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "shanghaitech_tracks"
    c.data.camera_characters = 2
    c.data.fps = 24.0
    return choose(c, variant, COMPARATORS)
