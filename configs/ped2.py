"""UCSD Ped2: the predictive model with sparse feature filters, trained on the normal frames.

    gfvad train --config=ped2:small --config.data.root=/data/ped2
    gfvad train --config=ped2:small+frames --config.data.root=/data/ped2  (no optical flow)

Variants: small (2 CPU cores), large (our model at the authors' sizes, for a GPU), paper (the
authors' own model, training and score); small and large joined by '+' with frames (without optical
flow), no_text, no_motion, no_filter, bottleneck, memae, mnad, experts1, experts7, no_pace,
no_relations, causal.
"""

from configs.predictive import get_config as defaults
from configs.predictive_variants import VARIANTS
from configs.variants import choose


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "ped2"
    c.data.train_descriptions = "captions_gpt4o_train.jsonl"
    c.data.test_descriptions = "captions_gpt4o_test.jsonl"
    c.data.spans = "test_spans.txt"
    c.data.masks = "test_masks_packed.npz"
    c.model.filter.bottleneck = 8
    return choose(c, variant, VARIANTS)
