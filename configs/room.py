"""A fixed camera in a room: graph novelty from normal video alone.

    gfvad train --config=room --config.data.root=/data/room

See docs/sets/room.md.

Variants: the comparators of configs/novelty_variants.py (memae, ...).
"""

from configs.novelty_variants import COMPARATORS
from configs.pictures import get_config as defaults
from configs.variants import choose


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "room"
    return choose(c, variant, COMPARATORS)
