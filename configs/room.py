"""A fixed camera in a room: graph novelty from normal video alone.

    gfvad train --config=room --config.data.root=/data/room

See docs/sets/room.md.
"""

from configs.pictures import get_config as defaults


def get_config():
    c = defaults()
    c.data.dataset = "room"
    return c
