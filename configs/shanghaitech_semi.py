"""ShanghaiTech Campus, semi-supervised split: the predictive model with sparse feature filters,
trained on the normal videos.

    gfvad train --config=shanghaitech_semi:small --config.data.root=/data/shanghaitech

Variants: as configs/ped2.py. Without descriptions on disk the model goes without text.
"""

from configs.predictive import get_config as defaults
from configs.predictive_variants import VARIANTS
from configs.variants import choose


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "shanghaitech_semi"
    c.data.layout = "auto"
    c.data.height, c.data.width = 120, 216
    c.data.channels = 3
    c.model.filter.bottleneck = 16
    c.score.paper_weights, c.score.paper_sigma = (0.2, 0.8), 13.0
    return choose(c, variant, VARIANTS)
