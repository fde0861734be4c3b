"""UCSD Ped2: graph novelty of visual tokens, places of a frozen network's map.

    gfvad ablate --config=ped2_tokens --sweep=levels --workdir=runs/levels-tokens \\
        --config.data.root=/data/ped2

The network is EfficientNet-Lite0 (gfvad/encoders/efficientnet.py). See docs/levels.md.
"""

from configs.pictures import get_config as defaults


def get_config():
    c = defaults()
    c.data.dataset = "ped2_tokens"
    c.data.fps = 10.0
    c.data.pictures_a_second = 5.0
    c.data.height, c.data.width = 224, 224
    c.data.grids = ("14x14",)
    c.data.modalities = ("tokens", "speed")
    c.model.terms = ("tokens", "tokens*speed", "speed")
    c.model.scales = (1.0, 1.0)
    c.model.within_camera = ()
    c.model.bank = 4096
    c.score.highest = 0.0125
    c.score.reach = 4
    c.score.calibration_units = 200_000
    return c
