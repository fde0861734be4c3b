"""One fixed camera, normal video alone: no labels, no masks, no test set.

    gfvad train --config=normal --config.data.root=/data/camera/normal --workdir=runs/camera/model

A labelled test part, where there is one, is evaluated. See docs/one_camera.md.
"""

from configs.pictures import get_config as defaults


def get_config():
    c = defaults()
    c.data.dataset = "normal"
    return c
