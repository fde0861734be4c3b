"""ShanghaiTech, weakly supervised split: I3D features, with sentence features beside them (TEVAD).

    gfvad train --config=shanghaitech --config.data.root=/data/shanghaitech

Variants: i3d (default), i3d_text (a folder of TEVAD text features beside the I3D ones), paper,
foil_KIND (fusion of features in place of graphs, KIND as in model.foil.kind).
"""

from configs.common import get_config as defaults
from configs.variants import FOILS, choose, paper


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "shanghaitech"
    c.data.layout = "shanghaitech"
    c.data.modalities = ("i3d",)
    c.data.train_units = 32
    c.data.train_sampling = "mean"
    c.eval.metric = "auc"
    return choose(c, variant, VARIANTS)


def _i3d(c):
    c.data.modalities = ("i3d",)


def _i3d_text(c):
    c.data.layout = "tevad"
    c.data.modalities = ("i3d", "text")


VARIANTS = {"i3d": _i3d, "i3d_text": _i3d_text, "paper": paper, **FOILS}
