"""Your own videos: features of `gfvad extract`, labels of whole videos. The way there,
and what to expect: docs/your_own_video.md.

gfvad train --config=own:clips --config.data.root=runs/fights/features --workdir=runs/fights/model

Variants: all (default: motion, appearance, audio) or any of them joined by _ (motion_audio); clips,
for videos that are wholly of one kind; paper; foil_KIND. They go
together: clips+motion_audio.

With few training videos (model.few_videos) each feature set has a linear branch, which sources that
it did not see have judged (gfvad/tasks/fusion/evidence.py); with more, branches are trained, and
then these settings of clips count: chosen by five-fold cross-validation on the 80 training clips of
the page's example with the features of before (AUC of clips, one seed): weight decay 0.05 to 30,
learning rate 0.002 and 0.005, cross entropy of normal units 0 and 1.
"""

from configs.common import get_config as defaults
from configs.ucf import side_by_side
from configs.variants import FOILS, choose, modalities, paper

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
    # no text that fades, no modality is known to be the better one
    c.model.confidence, c.model.head.gates, c.model.head.absent = (), (), 0.0
    c.model.head.prior = 0.5
    c.loss.consistency = 0.0
    c.model.evidence = "auto"
    c.loss.topk_divisor = 4
    c.train.steps = 200
    c.train.batch_size = 32
    return choose(c, variant, VARIANTS)


def _clips(c):
    c.loss.topk_divisor = 1  # the score of a video is the mean of all its units
    c.loss.unit_normal = 0.0  # which says the same of normal videos
    c.model.head.whole = 1.0  # what one unit shows is true of the whole video
    c.optim.learning_rate, c.optim.weight_decay = 5e-3, 3.0
    c.train.steps = 100


SUBSETS = ("motion", "appearance", "audio", "motion_appearance", "motion_audio", "appearance_audio")
VARIANTS = {name: modalities(*name.split("_")) for name in SUBSETS} | {
    "all": modalities(*MODALITIES),
    "clips": _clips,
    "paper": paper,
    **FOILS,
}
