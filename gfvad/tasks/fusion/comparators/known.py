"""The published models by name, as gfvad/tasks/fusion/registry.py takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
from ml_collections import FrozenConfigDict

from gfvad.tasks.fusion.comparators import de_net, hl_net, macil_sd, mist, rtfm, ur_dmu
from gfvad.tasks.fusion.comparators.ranking import refuse_others
from gfvad.tasks.fusion.content import Modality

COMPARATORS: dict[str, Callable[..., nn.Module]] = {
    ur_dmu.NAME: ur_dmu.URDMU,
    rtfm.NAME: rtfm.RTFM,
    hl_net.NAME: hl_net.HLNet,
    macil_sd.NAME: macil_sd.MACILSD,
    mist.NAME: mist.MIST,
    de_net.NAME: de_net.DENet,
}


def made_and_checked(name: str) -> tuple[Callable[..., nn.Module], Callable[..., None]]:
    """(how a model is made, how its settings are checked), see `registry.Model`."""

    def build(config: Any, modalities: tuple[Modality, ...]) -> nn.Module:
        cfg = FrozenConfigDict(config.model)
        return COMPARATORS[name](cfg, modalities, config.data.standardize)

    def check(config: Any, modalities: Sequence[str]) -> None:
        refuse_others(name, config)
        if refuse := getattr(COMPARATORS[name], "refuse", None):
            refuse(config, modalities)

    return build, check
