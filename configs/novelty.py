"""Defaults of graph novelty (a bank of normal units): every setting, with its meaning, is declared
in gfvad/settings and listed in docs/settings.md. A dataset's file states only what differs."""

from ml_collections import ConfigDict

from gfvad.settings.kinds import default_config


def get_config() -> ConfigDict:
    return default_config("novelty")
