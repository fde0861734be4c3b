"""Readers of feature folders. `open_layout` for training and evaluation, `open_input` for files
without labels, `register_layout` for a reader of one's own."""

from __future__ import annotations

from gfvad.base.registry import Registry
from gfvad.data.features.layouts.base import Layout
from gfvad.data.features.layouts.entries import Entry, Problem
from gfvad.data.features.layouts.generic import Generic
from gfvad.data.features.layouts.inputs import drop_unusable, open_input
from gfvad.data.features.layouts.ped2_weak import Ped2Weak
from gfvad.data.features.layouts.shanghaitech import ShanghaiTech
from gfvad.data.features.layouts.tevad import Tevad
from gfvad.data.features.layouts.ucf_crime import UcfCrime
from gfvad.data.features.layouts.ucf_logits import UcfLogits
from gfvad.data.features.layouts.vadclip import VadClip
from gfvad.data.features.layouts.xd_violence import XdViolence

BUILT_IN = (XdViolence, UcfCrime, UcfLogits, ShanghaiTech, Tevad, VadClip, Ped2Weak, Generic)
LAYOUTS: Registry[type[Layout]] = Registry("data.layout", {cls.kind: cls for cls in BUILT_IN})
__all__ = [
    "LAYOUTS",
    "Entry",
    "Layout",
    "Problem",
    "drop_unusable",
    "open_input",
    "open_layout",
    "register_layout",
]


def register_layout(reader: type[Layout]) -> type[Layout]:
    """Makes a reader known as config.data.layout = its `kind`; returns it, so that it decorates.

    A reader stands on `Layout` and gives `scan` and, for frame labels, `truth`. Raises ConfigError
    for a kind that stands for another reader.
    """
    return LAYOUTS.register(reader.kind, reader)


def open_layout(data_cfg) -> Layout:
    """The reader of config.data (layout, root, modalities, captions, ...).

    Raises ConfigError for an unknown layout or modality, DataError where the folder or its
    annotation files are wrong. Reads no features.
    """
    return LAYOUTS.find(data_cfg.layout)(data_cfg)
