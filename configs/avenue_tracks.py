"""CUHK Avenue as tracked people: graph novelty from normal video alone.

    gfvad train --config=avenue_tracks --config.data.root=/data/tracks

See docs/sets/tracks.md.
"""

from configs.novelty import get_config as defaults


def get_config():
    c = defaults()
    c.data.dataset = "avenue_tracks"
    c.data.fps = 25.0
    return c
