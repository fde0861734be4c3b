"""A room seen by one camera, normal video alone: the predictive model with sparse feature filters.

    gfvad train --config=room_predictive --config.data.root=/data/room

Variants: as configs/ped2.py.
"""

from configs.predictive import get_config as defaults
from configs.predictive_variants import VARIANTS
from configs.variants import choose


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "room"
    c.data.layout = "auto"
    c.data.height, c.data.width = 64, 128
    c.model.patch = 8
    c.model.filter.bottleneck = 8
    return choose(c, variant, VARIANTS)
