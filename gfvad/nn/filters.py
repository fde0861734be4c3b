"""Filters by name: what stands between features and relationship graphs, all behind one interface.

module(x [N, D], mask bool [N]) -> (y [N, D], FilterStats), so that "memory instead of experts", or
no filter at all, is one setting.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn

from gfvad.base.names import nearest
from gfvad.base.types import ConfigError
from gfvad.nn.filter import SparseFeatureFilter
from gfvad.nn.memory import MNAD, Bottleneck, MemAE, NoFilter

# kind -> module, and which settings it has
FILTERS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "none": (NoFilter, ()),
    "bottleneck": (Bottleneck, ("bottleneck",)),
    "sffm": (SparseFeatureFilter, ("experts", "topk", "bottleneck", "scale", "form")),
    "memae": (MemAE, ("items", "shrink")),
    "mnad": (MNAD, ("items",)),
}


def make_filter(
    kind: str,
    *,
    experts: int = 63,
    topk: int = 7,
    bottleneck: int = 8,
    scale: float = 2.0,
    form: str = "auto",
    items: int = 0,
    shrink: float = 1.0,
    name: str | None = None,
) -> nn.Module:
    """The filter of one kind; settings that this kind does not have are ignored.

    Args: items: memory items, 0 for the number of the kind's own paper (memae 2000, mnad 10); name:
    of the module in its parent.
    Raises ConfigError for an unknown kind, with the nearest one.
    """
    if kind not in FILTERS:
        raise ConfigError(
            f"config.model.filter.kind = {kind!r}{nearest(kind, tuple(FILTERS))} (one of"
            f" {', '.join(FILTERS)})"
        )
    module, fields = FILTERS[kind]
    given: dict[str, Any] = {
        "experts": experts,
        "topk": topk,
        "bottleneck": bottleneck,
        "scale": scale,
        "form": form,
        "shrink": shrink,
    }
    if items:
        given["items"] = items
    return module(**{field: given[field] for field in fields if field in given}, name=name)
