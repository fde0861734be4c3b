"""MSAD: what a vision-language model says of the same events at two scales, fused as graphs.

    gfvad ablate --config=msad --sweep=alone --workdir=runs/msad --config.data.root=/data/msad

123 of the 240 test videos, their labels for training, their frames for judging (docs/sets/msad.md).
One fold by itself: --config.data.fold=0. Variants: paper, foil_KIND.
"""

from configs import ucf
from configs.common import get_config as defaults
from configs.variants import FOILS, choose, paper


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "msad"
    c.data.layout = "msad_text"
    c.data.test_name = "folds of 123 of the 240 official test videos"
    c.data.modalities = ("coarse", "fine")
    c.data.folds = 5
    c.data.train_units = 32
    c.data.eval_lengths = (32,)
    c.eval.metric = "auc"
    ucf.side_by_side(c)
    c.data.text_assign = "nearest"
    c.model.confidence = ()
    c.model.head.gates = ()
    return choose(c, variant, VARIANTS)


VARIANTS = {"paper": paper, **FOILS}
