"""XD-Violence: RGB and audio features fused as graphs.

    python -m gfvad.main --config=configs/xd.py                                       (no features: the simulated set)
    python -m gfvad.main --config=configs/xd.py --config.data.root=/data/xd_violence  (the real features, see docs/data.md)

Variants: audio_visual (default), rgb, audio, flow, audio_visual_text, no_cross_terms, filter, paper; joined by '+', as in configs/xd.py:rgb+filter.
"""
from configs.common import get_config as defaults
from configs.variants import choose, paper


def get_config(variant: str | None = None):
    c = defaults()
    c.data.dataset = "xd_violence"
    c.data.layout = "xd_violence"
    c.data.modalities = ("rgb", "audio")
    c.data.train_units = 200
    c.eval.metric = "ap"
    return choose(c, variant, VARIANTS)


def _modalities(*names):
    def apply(c):
        c.data.modalities = names
        if "text" in names:
            c.data.captions = "captions.json"

    return apply


def _no_cross_terms(c):
    c.model.fusion.cross_terms = False


def _filter(c):
    c.model.filter.modalities = c.data.modalities
    c.model.relation.sources = ("raw", "residual")


VARIANTS = {
    "audio_visual": _modalities("rgb", "audio"),
    "rgb": _modalities("rgb"),
    "audio": _modalities("audio"),
    "flow": _modalities("rgb", "flow", "audio"),
    "audio_visual_text": _modalities("rgb", "audio", "text"),
    "no_cross_terms": _no_cross_terms,
    "filter": _filter,
    "paper": paper,
}
