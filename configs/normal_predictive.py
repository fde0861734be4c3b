"""Your own normal video alone, of one camera: the predictive model, without labels and without a
test part.

    gfvad train --config=normal_predictive --config.data.root=/data/normal

The folder holds normal videos (or folders of frames). A labelled test part beside a training part
is evaluated where it is there. Variants: as configs/ped2.py.
"""

from configs.predictive import get_config as defaults
from configs.predictive_variants import VARIANTS
from configs.variants import choose


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "normal"
    c.data.layout = c.data.test = "auto"
    c.model.filter.bottleneck = 8
    return choose(c, variant, VARIANTS)
