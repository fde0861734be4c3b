"""Graph novelty of pictures: what the configs of fixed cameras have in common. A unit is a patch of
a picture, compared with normal pictures of the same place.

See docs/novelty.md.
"""

from configs.novelty import get_config as defaults


def get_config():
    c = defaults()
    c.data.dataset = "pictures"
    c.data.layout = "pictures"
    c.data.test = "auto"
    c.data.modalities = ("grey", "contrast", "texture")
    c.model.terms = ("grey*contrast*texture",)
    c.model.scales = (1.0, 0.5, 0.35)
    c.model.within_camera = ("grey", "contrast", "texture")
    c.model.bank = 2000
    c.model.softness = 0.2
    c.score.highest = 0.25
    c.score.reach = 10
    c.score.prior = 0.0
    c.score.calibration_units = 2_000_000
    return c
