"""Cross-validation on UCF-Crime: the training videos whose events are known, in five folds.

    gfvad ablate --config=ucf_folds --sweep=fusion --workdir=runs/ucf-folds --seeds=3

The model, its training and its variants are those of configs/ucf.py; labels of videos alone are
learnt from. Each of 1,457 videos is tested once, by a model that has seen neither it nor its
near-duplicates; frames are judged by train_spans.csv (docs/evidence.md). One fold by itself:
--config.data.fold=0. The data: --config.data.root=/data/ucf_crime.
"""

from configs import ucf
from configs.variants import choose


def get_config(variant: str | None = None):
    c = ucf.get_config()
    folded(c)
    return choose(c, variant, ucf.VARIANTS)


def folded(c):
    c.data.layout = "ucf_folds"
    c.data.test_name = "folds of the training videos with known spans"
    c.data.folds = 5
