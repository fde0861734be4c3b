"""Your own videos: features of `python -m gfvad.extract`, labels of whole videos. The way there: docs/your_own_video.md.

    python -m gfvad.extract /data/videos --out=/data/features --normal=normal --abnormal=abnormal
    python -m gfvad.main --config=configs/own.py --config.data.root=/data/features

Variants: all (default: motion, appearance, audio), any of them joined by _ (motion_audio), and paper, which goes with each.
"""
from configs.common import get_config as defaults
from configs.ucf import side_by_side
from configs.variants import FOILS, choose, paper

MODALITIES = ("motion", "appearance", "audio")


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "own"
    c.data.layout = "generic"
    c.data.require_real = True
    c.data.modalities = MODALITIES
    c.data.train_units = 32
    c.data.eval_lengths = (32, 128, 512)
    c.data.validation_fraction = 0.0  # few videos: none to spare; the last checkpoint counts
    c.eval.metric = "auc"
    side_by_side(c)
    c.model.confidence, c.model.head.gates, c.model.head.absent = (), (), 0.0  # no text that fades, no modality is known to be the better one
    c.model.head.prior = 0.5
    c.loss.consistency = 0.0
    c.loss.topk_divisor = 4
    c.train.steps = 200
    c.train.batch_size = 32
    return choose(c, variant, VARIANTS)


def _subset(*modalities: str):
    def change(c):
        c.data.modalities = modalities

    return change


SUBSETS = ("motion", "appearance", "audio", "motion_appearance", "motion_audio", "appearance_audio")
VARIANTS = {name: _subset(*name.split("_")) for name in SUBSETS} | {"all": _subset(*MODALITIES), "paper": paper, **FOILS}
