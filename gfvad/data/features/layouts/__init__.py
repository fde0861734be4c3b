"""Readers of published feature folders. `open_layout` for training and evaluation, `open_input`
for files without labels."""

from __future__ import annotations

from gfvad.base.names import nearest
from gfvad.base.types import ConfigError
from gfvad.data.features.layouts.base import Entry, Layout, Problem
from gfvad.data.features.layouts.generic import Generic
from gfvad.data.features.layouts.inputs import drop_unusable, open_input
from gfvad.data.features.layouts.ped2_weak import Ped2Weak
from gfvad.data.features.layouts.shanghaitech import ShanghaiTech
from gfvad.data.features.layouts.tevad import Tevad
from gfvad.data.features.layouts.ucf_crime import UcfCrime
from gfvad.data.features.layouts.ucf_logits import UcfLogits
from gfvad.data.features.layouts.vadclip import VadClip
from gfvad.data.features.layouts.xd_violence import XdViolence

LAYOUTS = {
    cls.kind: cls
    for cls in (XdViolence, UcfCrime, UcfLogits, ShanghaiTech, Tevad, VadClip, Ped2Weak, Generic)
}
__all__ = ["LAYOUTS", "Entry", "Layout", "Problem", "drop_unusable", "open_input", "open_layout"]


def open_layout(data_cfg) -> Layout:
    """The reader of config.data (layout, root, modalities, captions, ...).

    Raises ConfigError for an unknown layout or modality, DataError where the folder or its
    annotation files are wrong. Reads no features.
    """
    if data_cfg.layout not in LAYOUTS:
        raise ConfigError(
            "config.data.layout ="
            f" {data_cfg.layout!r}{nearest(str(data_cfg.layout), list(LAYOUTS))} (one of"
            f" {', '.join(LAYOUTS)})"
        )
    return LAYOUTS[data_cfg.layout](data_cfg)
