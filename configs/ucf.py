"""UCF-Crime: I3D class scores and sentences fused as graphs.

    python -m gfvad.main --config=configs/ucf.py --config.data.root=/data/ucf_crime

Variants: scores_text (default: i3d_logits_train.npz and captions.json), scores, text, i3d (2048-d or 1024-d I3D features in the published layouts), paper.
"""
from configs.common import get_config as defaults
from configs.variants import choose, paper


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "ucf_crime"
    c.data.layout = "ucf_logits"
    c.data.test_name = "dev (60 of the 290 official test videos)"
    c.data.modalities = ("i3d_logits", "text")
    c.data.captions = "captions.json"
    c.data.train_units = 40
    c.data.eval_lengths = (40,)
    c.eval.metric = "auc"
    return choose(c, variant, VARIANTS)


def _scores_text(c):
    c.data.modalities = ("i3d_logits", "text")


def _scores(c):
    c.data.modalities = ("i3d_logits",)


def _text(c):
    c.data.modalities = ("text",)


def _i3d(c):
    c.data.layout = "ucf_crime"
    c.data.test_name = "test"
    c.data.modalities = ("i3d",)
    c.data.train_units = 200
    c.data.eval_lengths = (200, 400, 800)


VARIANTS = {"scores_text": _scores_text, "scores": _scores, "text": _text, "i3d": _i3d, "paper": paper}
