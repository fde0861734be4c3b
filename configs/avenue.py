"""CUHK Avenue: the predictive model with sparse feature filters, trained on the normal frames.

    gfvad train --config=avenue:small --config.data.root=/data/avenue

Variants: as configs/ped2.py. Without descriptions on disk the model goes without text.
"""

from configs.predictive import get_config as defaults
from configs.predictive_variants import VARIANTS
from configs.variants import choose


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "avenue"
    c.data.layout = "auto"
    c.data.height, c.data.width = 120, 216
    c.data.channels = 3
    c.model.filter.bottleneck = 192
    c.score.paper_weights, c.score.paper_sigma = (0.9, 0.1), 4.0
    c.score.paper_min_max = False
    return choose(c, variant, VARIANTS)
